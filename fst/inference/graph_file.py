"""One file is one exported graph: uint8 pixels in, uint8 pixels out, any batch, height and width.

``.pt2`` is torch.export's program, ``.onnx`` runs in ONNX Runtime and its kin. Both carry the
style's card and the parity that was measured on the file itself. torch is imported for ``.pt2`` and
for the parity; without it an ``.onnx`` file is written, run, and compared with nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fst.errors import FstError, pip_install
from fst.inference.backends import RUNTIMES, installed
from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.nets.style_card import Card
from fst.nets.style_file import MIN_SIDE, load_style, read_checked
from fst.system.files import write_whole
from fst.system.installed import is_here, require_torch
from fst.system.machine import cpu_threads

FORMATS = ("pt2", "onnx")
# batch, height, width: the least, odd ones, more than one picture
PARITY_SHAPES = ((1, MIN_SIDE, MIN_SIDE), (1, 17, 31), (2, 65, 48), (3, 33, 129), (1, 255, 339))

Run = Callable[[np.ndarray], np.ndarray]  # pixels (B, 3, H, W) uint8 -> the same


def export_graph(
    style: Path, card: Card, path: Path, *, file_format: str, options: GraphOptions | None = None
) -> dict[str, Any]:
    """Write the graph of a style, run the written file at several odd sizes, return the parity.

    The file appears only if no pixel is off by more than 1 of 255, or 2 in half precision, from
    eager PyTorch in float32; else ``FstError`` is raised and nothing is left behind. Where torch is
    not installed, ``max_difference`` is missing from what is returned.
    """
    options = options or GraphOptions()
    if file_format not in FORMATS:
        raise FstError(f"--format {file_format} is unknown; use one of {', '.join(FORMATS)}")
    if file_format == "pt2" and options != GraphOptions(half=options.half):
        raise FstError("--opset and --size are for --format onnx; leave them out")
    for word, given in (("--format pt2", file_format == "pt2"), ("--half", options.half)):
        if given:
            require_torch(word)
    eager = _eager(style) if is_here("torch") else None
    written = _eager(style, half=True) if options.half else None  # what is written, in torch
    most = 2 if options.half else 1
    shapes = [(1, *options.size)] if options.size else PARITY_SHAPES
    pack, load = _pt2(style, options) if file_format == "pt2" else _onnx(style, options)

    def parity_of(data: bytes) -> dict[str, Any]:
        parity = measure_parity(eager, load(data), shapes)
        if file_format == "onnx" and written is not None:
            # ONNX Runtime computes in float32 on a CPU, which says nothing of float16
            rounded = measure_parity(eager, written, shapes)
            parity = max(parity, rounded, key=lambda one: one["max_difference"])
        return parity

    parity = parity_of(pack({}))
    if eager is not None:
        card.export[file_format] = parity
    data = pack({"card": json.dumps(asdict(card), ensure_ascii=False)})

    def check(file: Path) -> None:
        again = parity_of(file.read_bytes())
        worst = max(one.get("max_difference", 0) for one in (again, parity))
        if worst > most:
            cure = "please report this with your torch version"
            if options.half:  # where hatching or dots are decided by a bit, rounding moves them
                cure = f"float16 is too coarse for {card.name}: leave out --half"
            raise FstError(
                f"{path} is not written: a pixel of the exported graph is off by {worst} of "
                f"255; {cure}"
            )

    write_whole(path, data, check=check)
    return parity


def measure_parity(
    eager: Run | None, run: Run, shapes: Sequence[tuple[int, int, int]] = PARITY_SHAPES
) -> dict[str, Any]:
    """The largest and mean difference between a graph and eager PyTorch, in levels of 255.

    ``shapes`` (batch, height, width) are those of the pixels that both are given. Without
    ``eager`` the graph is only run.
    """
    generator = np.random.default_rng(0)
    largest, total, count = 0, 0.0, 0
    for batch, height, width in shapes:
        noise = generator.random((batch, 3, height, width))
        pixels = ((noise * 0.3 + np.linspace(0, 1, width) * 0.7) * 255).astype(np.uint8)
        got = run(pixels)
        if got.shape != pixels.shape or got.dtype != np.uint8:
            raise FstError(
                f"the exported graph returned {got.shape} for {pixels.shape}; please report this "
                "with the versions of torch, onnxruntime and openvino"
            )
        if eager is not None:
            difference = np.abs(got.astype(int) - eager(pixels))
            largest = max(largest, int(difference.max()))
            total += float(difference.sum())
            count += difference.size
    told: dict[str, Any] = {"shapes": ["x".join(map(str, shape)) for shape in shapes]}
    if eager is None:
        return told
    return {
        "max_difference": largest,
        "mean_difference": total / count,
        **told,
        "torch": version("torch"),
    }


def load_onnx(data: bytes) -> Run:
    """The bytes of an ``.onnx`` file -> a function of pixels, in the runtime that is installed."""
    for name in ("onnx", "openvino"):
        if installed(name):
            return RUNTIMES[name](data, threads=cpu_threads())
    raise FstError(f"--format onnx needs onnxruntime; {pip_install('onnx')}")


def _eager(style: Path, *, half: bool = False) -> Run:
    """The style's pass in PyTorch on the CPU, in float32 or ``half``."""
    import torch

    from fst.inference.pixel_net import PixelNet

    net, _ = load_style(style)
    pixel_net = PixelNet(net.half() if half else net).eval()

    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return pixel_net(torch.from_numpy(pixels)).numpy()

    return run


Pack = Callable[[dict[str, str]], bytes]  # metadata -> a file


def _onnx(style: Path, options: GraphOptions) -> tuple[Pack, Callable[[bytes], Run]]:
    card, data = read_checked(style)
    return (lambda metadata: onnx_graph(card, data, options, metadata)), load_onnx


def _pt2(style: Path, options: GraphOptions) -> tuple[Pack, Callable[[bytes], Run]]:
    from fst.inference import pt2_file
    from fst.inference.pixel_net import PixelNet

    net, _ = load_style(style)
    pixel_net = PixelNet(net.half() if options.half else net).eval()
    return pt2_file.pack_pt2(pixel_net), pt2_file.load_pt2
