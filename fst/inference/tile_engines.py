"""What computes the pieces of a tiled pass, for each backend."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fst.inference.backends import Backend
from fst.inference.runtimes import onnx_model, openvino_model
from fst.inference.tile_graph import GraphEngine, RunGraph
from fst.inference.tiled_pass import Engine
from fst.system.machine import cpu_threads


def tile_engine(backend: Backend) -> Engine:
    """The engine that computes where and in what precision ``backend`` does."""
    if backend.name == "torch":
        import torch

        from fst.inference.tile_torch import TorchEngine

        dtype = torch.float16 if backend.precision == "float16" else torch.float32
        return TorchEngine(torch.device(backend.device), dtype)
    if backend.name == "onnx":
        return GraphEngine(_in_onnx_runtime)
    bfloat16 = backend.precision == "bfloat16"
    return GraphEngine(lambda graph: _in_openvino(graph, bfloat16=bfloat16))


def _in_onnx_runtime(graph: bytes) -> RunGraph:
    return onnx_model(graph, threads=cpu_threads(), kept=math.inf)


def _in_openvino(graph: bytes, *, bfloat16: bool) -> RunGraph:
    model: Any = openvino_model(graph, threads=cpu_threads(), bfloat16=bfloat16)

    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        made = model(inputs)
        return [made[number] for number in range(len(made))]

    return run
