"""What runs a style's single pass: PyTorch, ONNX Runtime or OpenVINO, behind one call.

A backend maps pixels (B, 3, H, W) uint8 RGB to stylized pixels of the same shape and type, within
one gray level of eager PyTorch. The last two run a graph that PyTorch exports once and the user's
cache keeps; with a cached one, torch is never imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np

from fst.errors import FstError, pip_install
from fst.inference.graph_cache import forget_graph, keep_graph, load_graph
from fst.nets.style_card import Card, net_width
from fst.nets.style_file import load_style, read_checked
from fst.system.machine import check_device_name, choose_device, cpu_threads, stays_on_cpu

if TYPE_CHECKING:
    import torch

BACKENDS = ("auto", "torch", "onnx", "openvino")
PACKAGE = {"torch": "torch", "openvino": "openvino", "onnx": "onnxruntime"}
BY_SPEED = ("openvino", "onnx")  # on a CPU, the fastest first; torch comes after both
EXPORTERS = ("onnx", "onnxscript")
# An export takes about 10 s. Pixels to stylize, at width 32, from which the faster passes win
# that back; a narrower net has less to win.
EXPORT_PAYS_FROM = 10e6
FIXED_MEMORY = 64e6  # bytes in reserve, whatever the photo

Say = Callable[[str], None]


class PassMemory(NamedTuple):
    """The most memory that a pass takes, in bytes, as ``scripts/proofs/memory_table.py`` measures.

    Each pixel takes ``pixel`` and, for each channel of the net's width, ``channel``. In addition
    ``FIXED_MEMORY`` is kept in reserve: the runtime's own, at its first pass, and the threads'.
    """

    pixel: float
    channel: float

    def needed(self, pixels: int, width: int) -> float:
        """Bytes for a pass of so many pixels by a net of this width, with the reserve."""
        return FIXED_MEMORY + pixels * (self.pixel + self.channel * width)


class Backend(Protocol):
    """A style, ready to run, and the ``memory`` that its passes take."""

    name: ClassVar[str]
    memory: ClassVar[PassMemory]
    device: str

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """pixels (B, 3, H, W) uint8 RGB -> stylized, the same shape and type."""


class TorchBackend:
    """Eager PyTorch, on any device; in half precision on a GPU, in single on a CPU."""

    name: ClassVar[str] = "torch"
    memory: ClassVar[PassMemory] = PassMemory(pixel=200, channel=40)

    def __init__(self, path: Path, *, device: torch.device) -> None:
        from fst.inference.pixel_net import PixelNet

        net, _ = load_style(path)
        if device.type != "cpu":
            net = net.half()
        self.device = str(device)
        self._net = PixelNet(net).to(device).eval()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self._net(torch.from_numpy(pixels).to(self.device)).cpu().numpy()


class OnnxBackend:
    """ONNX Runtime on the CPU."""

    name: ClassVar[str] = "onnx"
    memory: ClassVar[PassMemory] = PassMemory(pixel=200, channel=29)
    device = "cpu"

    def __init__(self, graph: bytes, *, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.enable_cpu_mem_arena = False  # the arena keeps 11 GB after one 2048 px photo
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        (stylized,) = self._session.run(None, {"pixels": pixels})
        return stylized


class OpenVinoBackend:
    """OpenVINO on the CPU, in single precision."""

    name: ClassVar[str] = "openvino"
    memory: ClassVar[PassMemory] = PassMemory(pixel=40, channel=27)
    device = "cpu"

    def __init__(self, graph: bytes, *, threads: int) -> None:
        import openvino

        core = openvino.Core()
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # newer processors would take bfloat16
        }
        self._run = core.compile_model(core.read_model(graph), "CPU", settings)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return self._run([pixels])[0]


RUNTIMES: dict[str, Callable[..., Backend]] = {"onnx": OnnxBackend, "openvino": OpenVinoBackend}


def installed(backend: str) -> bool:
    """Whether a backend's package is there; it is not imported."""
    return find_spec(PACKAGE[backend]) is not None


def choose_backends(*, pixels: int, width: float, cached: bool) -> list[str]:
    """What ``auto`` tries on a CPU, the best first.

    The fastest that is installed, if the style's graph is cached or ``pixels`` to come (in all
    pictures together) are worth the time of an export; else torch. The last is always torch.
    """
    pays = pixels * width / 32 >= EXPORT_PAYS_FROM and all(map(find_spec, EXPORTERS))
    fast = [name for name in BY_SPEED if installed(name)] if cached or pays else []
    return [*fast, "torch"]


def open_backend(
    name: str, path: Path, *, device: str = "auto", pixels: int = 0, say: Say = lambda line: None
) -> Backend:
    """The backend ``name`` for a style file, ``auto`` being the best for ``pixels`` to come.

    ``say`` is told what takes long or goes wrong on the way. Raises ``FstError`` for a backend
    that is unknown, not installed or not for this device.
    """
    if name not in BACKENDS:
        raise FstError(f"--backend {name} is unknown; use one of {', '.join(BACKENDS)}")
    check_device_name(device)
    if name in RUNTIMES and device not in ("auto", "cpu"):
        raise FstError(f"--backend {name} runs on the CPU; use --device cpu or --backend torch")
    if name == "torch" or (name == "auto" and not stays_on_cpu(device)):
        return TorchBackend(path, device=choose_device(device))
    card, _ = read_checked(path)
    if name != "auto":
        return _open_runtime(name, path, card, say=say, may_export=True)
    cached, width = load_graph(card) is not None, net_width(card)
    pays = len(choose_backends(pixels=pixels, width=width, cached=False)) > 1
    *fast, _ = choose_backends(pixels=pixels, width=width, cached=cached)
    for candidate in fast:
        try:
            return _open_runtime(candidate, path, card, say=say, may_export=pays)
        except FstError as error:
            say(f"{error}; continuing without it")
    if fast:
        forget_graph(card)  # nothing here can run it
    return TorchBackend(path, device=choose_device("cpu"))


def _open_runtime(name: str, path: Path, card: Card, *, say: Say, may_export: bool) -> Backend:
    if not installed(name):
        raise FstError(
            f"--backend {name} needs {PACKAGE[name]}; {pip_install(name)}, or use --backend torch"
        )
    graph = load_graph(card)
    if graph is not None:
        try:
            return RUNTIMES[name](graph, threads=cpu_threads())
        except Exception as error:  # whatever a runtime raises for a graph it cannot use
            sentence = f"the cached graph of {card.name} cannot be used by {name}"
            sentence += f" ({_first_line(error)})"
            if not may_export:
                raise FstError(sentence) from None
            say(sentence)
    return make_graph(name, path, say=say)


def make_graph(name: str, path: Path, *, say: Say = lambda line: None) -> Backend:
    """Export a style, prove the graph in the backend ``name``, keep it, and return the backend.

    Raises ``FstError`` if the graph cannot be made or is off by more than one of 255 levels. A
    cache that cannot be written is not an error: ``say`` is told.
    """
    missing = [package for package in EXPORTERS if find_spec(package) is None]
    if missing:
        raise FstError(
            f"the graph for --backend {name} is made with {' and '.join(missing)}; "
            f"{pip_install(name)}, or use --backend torch"
        )
    import torch

    from fst.inference.graph_file import measure_parity, onnx_bytes
    from fst.inference.pixel_net import PixelNet

    net, card = load_style(path)
    say(f"exporting {card.name} for {name}, once: about 10 s")
    try:
        graph = onnx_bytes(net)
        backend = RUNTIMES[name](graph, threads=cpu_threads())
        parity = measure_parity(
            PixelNet(net).eval(), lambda pixels: torch.from_numpy(backend(pixels.numpy()))
        )
    except FstError:
        raise
    except Exception as error:  # exporters and runtimes raise nearly anything
        raise FstError(
            f"{card.name} cannot be exported for {name} ({_first_line(error)}); use --backend torch"
        ) from None
    if parity["max_difference"] > 1:
        raise FstError(
            f"the graph of {card.name} in {name} is off by {parity['max_difference']} of 255 "
            "levels; use --backend torch"
        )
    try:
        keep_graph(card, graph)
    except FstError as error:
        say(f"the graph is not kept for the next time: {error}")
    return backend


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:150]


def is_out_of_memory(error: Exception) -> bool:
    """Whether a backend's own kind of error says that there is not enough memory."""
    words: Any = re.compile("memory|alloc|create a primitive", re.IGNORECASE)
    return isinstance(error, MemoryError) or bool(words.search(str(error)))
