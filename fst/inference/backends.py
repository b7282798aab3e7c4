"""What runs a style's single pass: PyTorch, ONNX Runtime or OpenVINO, behind one call.

A backend maps pixels (B, 3, H, W) uint8 RGB to stylized pixels of the same shape and type, within
one gray level of eager PyTorch. The last two run a graph that is built from the style file on the
spot (``fst.inference.onnx_graph``); torch is then never imported. In bfloat16, which OpenVINO has
on some processors, the pictures are as near as the style's card says (``fst.nets.style_card``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np

from fst.errors import FstError, pip_install
from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.inference.runtimes import onnx_model, openvino_has_bfloat16, openvino_model
from fst.nets.blend import read_style
from fst.nets.style_card import Card, may_run_fast
from fst.nets.style_file import built
from fst.system.installed import is_here, require_torch
from fst.system.machine import check_device_name, choose_device, cpu_threads, stays_on_cpu

if TYPE_CHECKING:
    import torch

BACKENDS = ("auto", "torch", "onnx", "openvino")
PRECISIONS = ("auto", "exact", "fast")
PACKAGE = {"torch": "torch", "openvino": "openvino", "onnx": "onnxruntime"}
BY_SPEED = ("openvino", "onnx")  # on a CPU, the fastest first; torch comes after both
FIXED_MEMORY = 64e6  # bytes in reserve, whatever the photo
# pixels of a photo in which OpenVINO's own norm, which adds up a channel in float32, is still right
# to a level; norms of ours would take a tenth of its pass on top, and take nothing in larger ones
LARGE = 2_000_000

Say = Callable[[str], None]
Blend = Mapping[str, float] | None  # names of paintings in a file of several -> weights


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
    """A style, ready to run, and the ``memory`` that its passes take.

    ``precision`` is what the convolutions are computed in: float32, float16 or bfloat16.
    """

    name: ClassVar[str]
    memory: ClassVar[PassMemory]
    device: str
    precision: str

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """pixels (B, 3, H, W) uint8 RGB -> stylized, the same shape and type."""


class TorchBackend:
    """Eager PyTorch, on any device; in half precision on a GPU unless it is to be exact."""

    name: ClassVar[str] = "torch"
    memory: ClassVar[PassMemory] = PassMemory(pixel=200, channel=40)

    def __init__(
        self,
        path: Path,
        *,
        device: torch.device,
        exact: bool = False,
        blend: Blend = None,
        strength: float = 1.0,
    ) -> None:
        from fst.inference.pixel_net import PixelNet

        card, data = read_style(path, blend, strength)
        net = built(path, data, card.net)
        half = device.type != "cpu" and not exact
        if half:
            net = net.half()
        self.precision = "float16" if half else "float32"
        self.device = str(device)
        self._net = PixelNet(net).to(device).eval()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self._net(torch.from_numpy(pixels).to(self.device)).cpu().numpy()


class OnnxBackend:
    """ONNX Runtime on the CPU."""

    name: ClassVar[str] = "onnx"
    memory: ClassVar[PassMemory] = PassMemory(pixel=60, channel=34)
    device, precision = "cpu", "float32"

    def __init__(self, graph: bytes, *, threads: int) -> None:
        self._run = onnx_model(graph, threads=threads)

    def __call__(self, pixels: np.ndarray, **inputs: np.ndarray) -> np.ndarray:
        return self._run({"pixels": pixels, **inputs})[0]


class OpenVinoBackend:
    """OpenVINO on the CPU; ``bfloat16`` is for a processor that ``openvino_has_bfloat16`` names.

    ``large`` makes the graph for photos of more than ``LARGE`` pixels. One of the two is compiled
    at a time, as each keeps the memory of its last pass.
    """

    name: ClassVar[str] = "openvino"
    memory: ClassVar[PassMemory] = PassMemory(pixel=20, channel=30)
    device = "cpu"

    def __init__(
        self,
        graph: bytes,
        *,
        threads: int,
        bfloat16: bool = False,
        large: Callable[[], bytes] | None = None,
    ) -> None:
        self.precision = "bfloat16" if bfloat16 else "float32"
        self._graph, self._large = graph, large
        self._is_large: bool | None = False  # what is compiled; None: nothing
        self._open = partial(openvino_model, threads=threads, bfloat16=bfloat16)
        self._run = self._open(graph)

    def __call__(self, pixels: np.ndarray, **inputs: np.ndarray) -> np.ndarray:
        is_large = pixels.shape[-2] * pixels.shape[-1] > LARGE
        if self._large is not None and is_large != self._is_large:
            self._run, self._is_large = None, None
            self._run = self._open(self._large() if is_large else self._graph)
            self._is_large = is_large
        return self._run({"pixels": pixels, **inputs})[0]


RUNTIMES: dict[str, Callable[..., Backend]] = {"onnx": OnnxBackend, "openvino": OpenVinoBackend}


def installed(backend: str) -> bool:
    """Whether a backend's package is there; it is not imported."""
    return is_here(PACKAGE[backend])


def open_backend(
    name: str,
    path: Path,
    *,
    device: str = "auto",
    precision: str = "auto",
    say: Say = lambda line: None,
    blend: Blend = None,
    strength: float = 1.0,
) -> Backend:
    """The backend ``name`` for a style file.

    ``auto`` is PyTorch on a GPU, and on a CPU the fastest of those installed that can run the
    style; ``say`` is told of one that cannot. ``precision`` is ``exact``, float32; ``fast``, which
    is OpenVINO's bfloat16 on a CPU and float16 on a GPU; or ``auto``: ``fast`` on a GPU, and on a
    CPU where OpenVINO runs the style, the processor has bfloat16 and the card allows it. ``blend``
    has the weights of paintings in a file of several; ``strength`` is of a net that takes one.
    Raises ``FstError`` for a backend that is unknown, not installed or not for this device, and for
    ``fast`` where it cannot be.
    """
    if name not in BACKENDS:
        raise FstError(f"--backend {name} is unknown; use one of {', '.join(BACKENDS)}")
    if precision not in PRECISIONS:
        raise FstError(f"--precision {precision} is unknown; use one of {', '.join(PRECISIONS)}")
    check_device_name(device)
    if name in RUNTIMES and device not in ("auto", "cpu"):
        raise FstError(f"--backend {name} runs on the CPU; use --device cpu or --backend torch")
    if name == "torch" or (name == "auto" and not stays_on_cpu(device)):
        require_torch("--backend torch" if name == "torch" else f"--device {device}")
        chosen = choose_device(device)
        if chosen.type == "cpu":
            _require_not_fast(precision, name)
        exact = precision == "exact"
        return TorchBackend(path, device=chosen, exact=exact, blend=blend, strength=strength)
    if name != "auto":
        return _open_runtime(name, path, precision, blend, strength)
    if precision == "fast":
        return _open_runtime("openvino", path, precision, blend, strength)
    for candidate in BY_SPEED:
        if installed(candidate):
            try:
                return _open_runtime(candidate, path, precision, blend, strength)
            except FstError as error:
                say(f"{error}; continuing without it")
    if not is_here("torch"):
        raise FstError(f"there is nothing to run a style in; {pip_install('onnx')}")
    return TorchBackend(path, device=choose_device("cpu"), blend=blend, strength=strength)


def _open_runtime(name: str, path: Path, precision: str, blend: Blend, strength: float) -> Backend:
    if name != "openvino":
        _require_not_fast(precision, name)
    if not installed(name):
        asked = "--precision fast" if precision == "fast" else f"--backend {name}"
        raise FstError(
            f"{asked} needs {PACKAGE[name]}; {pip_install(name)}, or leave {asked.split()[0]} out"
        )
    card, data = read_style(path, blend, strength)
    try:
        options: dict[str, Any] = {}
        if name == "openvino":
            options["bfloat16"] = _in_bfloat16(card, precision)
            if not options["bfloat16"]:  # in which our own means would be rounded
                options["large"] = partial(
                    onnx_graph, card, data, GraphOptions(means=True, blocks=True)
                )
        graph = onnx_graph(card, data, GraphOptions(blocks=True))
        return RUNTIMES[name](graph, threads=cpu_threads(), **options)
    except FstError:
        raise
    except Exception as error:  # a runtime raises nearly anything for a graph it cannot use
        raise FstError(
            f"the graph of {card.name} cannot be used by {name} ({_first_line(error)})"
        ) from None


def _in_bfloat16(card: Card, precision: str) -> bool:
    """Whether OpenVINO is to run a style in bfloat16; ``FstError`` if it must and cannot."""
    if precision == "exact" or (precision == "auto" and not may_run_fast(card)):
        return False
    has = openvino_has_bfloat16()
    if precision == "fast" and not has:
        raise FstError(
            "--precision fast needs a processor with bfloat16 (AMX or avx512_bf16), and OpenVINO "
            "finds none here; leave --precision out"
        )
    return has


def _require_not_fast(precision: str, backend: str) -> None:
    if precision == "fast":
        raise FstError(
            f"--precision fast is of OpenVINO or of a GPU, and --backend {backend} computes in "
            "float32 on a CPU; leave one of the two out"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:150]


def is_out_of_memory(error: Exception) -> bool:
    """Whether a backend's own kind of error says that there is not enough memory."""
    words: Any = re.compile("memory|alloc|create a primitive", re.IGNORECASE)
    return isinstance(error, MemoryError) or bool(words.search(str(error)))
