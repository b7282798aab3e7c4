"""A single pass in a process of its own: plain, and each backend as ``fst stylize`` sets it up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fst.benchmark.own_process import OwnProcess
from fst.inference.backends import (
    RUNTIMES,
    Backend,
    TorchBackend,
    installed,
    open_backend,
)
from fst.inference.runtimes import openvino_has_bfloat16
from fst.system.machine import keep_freed_memory

PLAIN = "plain"


def contestants() -> list[str]:
    """Plain, the backends that are installed, and ``openvino, fast`` where there is bfloat16."""
    fast = installed("openvino") and openvino_has_bfloat16()
    own = ["torch", *(name for name in RUNTIMES if installed(name))]
    return [PLAIN, *own, *(["openvino, fast"] if fast else [])]


def pass_process(
    name: str, *, style: Path, channels: int, height: int, width: int, keep_memory: bool = False
) -> OwnProcess:
    """The process of one of ``contestants``, for a random photo of (height, width) pixels.

    ``style`` is the file of a net of ``channels`` and the paper's depth; plain has a net of that
    size and of weights of its own. ``keep_memory`` as in ``OwnProcess``; a backend whose freed
    memory ``fst stylize`` keeps sees to that itself.
    """
    if name == PLAIN:
        maker = "fst.benchmark.plain:single_pass"
        return OwnProcess(maker, height=height, width=width, channels=channels)
    maker = "fst.benchmark.pass_processes:backend_pass"
    return OwnProcess(
        maker, keep_memory=keep_memory, name=name, style=str(style), height=height, width=width
    )


def expected_bytes(name: str, *, channels: int, pixels: int) -> float:
    """Memory for a pass of one of ``contestants``; for plain as for PyTorch."""
    backend, _ = backend_and_precision(name)
    memory = RUNTIMES[backend].memory if backend in RUNTIMES else TorchBackend.memory  # type: ignore[attr-defined]
    return memory.needed(pixels, channels)


def backend_and_precision(name: str) -> tuple[str, str]:
    """``openvino`` -> openvino, exact; ``openvino, fast`` -> openvino, fast."""
    backend, _, precision = name.partition(", ")
    return backend, precision or "exact"


def opened_as(name: str, style: Path) -> Backend:
    """The backend of one of ``contestants`` on the CPU."""
    backend, precision = backend_and_precision(name)
    return open_backend(backend, style, device="cpu", precision=precision)


def backend_pass(*, name: str, style: str, height: int, width: int) -> Callable[[], np.ndarray]:
    """In the process: the pass. torch is not imported for a backend that does without it."""
    opened = opened_as(name, Path(style))
    if opened.name == "torch":
        keep_freed_memory()
    photo = np.random.default_rng(0).integers(0, 256, (1, 3, height, width), dtype=np.uint8)
    return lambda: opened(photo)
