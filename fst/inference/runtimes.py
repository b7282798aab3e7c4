"""A graph opened in ONNX Runtime or in OpenVINO, on the CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from fst.system.signal_stack import own_signal_stack

KEPT_INPUT = 2**21  # bytes of a pass whose memory ONNX Runtime keeps for the next one


def onnx_model(
    graph: bytes, *, threads: int, kept: float = KEPT_INPUT
) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
    """A graph in ONNX Runtime on the CPU: arrays by their names -> the outputs.

    Memory comes from ONNX Runtime's arena: without it the first pass of a size maps and unmaps
    every layer's output, which at 3 megapixels takes as long again as the pass. After a pass of
    more than ``kept`` bytes of input the arena gives back what it holds. A pattern of memory is not
    kept by shape: the second pass of one would ask for all of it at once, beside what the arena
    has, and take up to a half more than the first.
    """
    # 1.31 would leave an id of this machine and a database to be sent in the home folder
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    giving_back = onnxruntime.RunOptions()
    giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        large = max(array.nbytes for array in inputs.values()) > kept
        return session.run(None, dict(inputs), giving_back if large else None)

    return run


def openvino_model(graph: bytes, *, threads: int, bfloat16: bool) -> Any:
    """An ``openvino.CompiledModel`` of a graph, on the CPU."""
    openvino = _openvino()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        # said in both cases: by itself OpenVINO takes bfloat16 on processors that have it, and
        # float32 in silence on one that is asked for bfloat16 and has none
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
    }
    with own_signal_stack():  # a plugin for the CPU is loaded
        core = openvino.Core()
        return core.compile_model(core.read_model(graph), "CPU", settings)


def _openvino() -> Any:
    """The package, without its telemetry, which would leave an id in the home folder."""
    telemetry = "openvino_telemetry"
    if telemetry in sys.modules:
        return import_module("openvino")
    sys.modules[telemetry] = None  # type: ignore[assignment]  # what cannot be imported is left out
    try:
        return import_module("openvino")
    finally:
        del sys.modules[telemetry]


def openvino_has_bfloat16() -> bool:
    """Whether OpenVINO says that this processor gains by bfloat16. Nothing is timed."""
    openvino = _openvino()
    with own_signal_stack():
        return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
