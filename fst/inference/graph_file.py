"""One file is one exported graph: uint8 pixels in, uint8 pixels out, any batch, height and width.

``.pt2`` is torch.export's program, ``.onnx`` runs in ONNX Runtime and its kin. Both carry the
style's card and the parity that was measured on the file itself.
"""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim

from fst.errors import FstError, pip_install
from fst.inference.backends import OnnxBackend
from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.inference.pixel_net import PixelNet
from fst.nets.style_card import Card
from fst.nets.style_file import MIN_SIDE, load_style, read_checked
from fst.system.files import write_whole
from fst.system.machine import cpu_threads

FORMATS = ("pt2", "onnx")
MAX_SIDE = 16384  # pixels
MAX_BATCH = 1024
# batch, height, width: the least, odd ones, more than one picture
PARITY_SHAPES = ((1, MIN_SIDE, MIN_SIDE), (1, 17, 31), (2, 65, 48), (3, 33, 129), (1, 255, 339))

Run = Callable[[Tensor], Tensor]


def export_graph(
    style: Path, card: Card, path: Path, *, file_format: str, options: GraphOptions | None = None
) -> dict[str, Any]:
    """Write the graph of a style, run the written file at several odd sizes, return the parity.

    The file appears only if no pixel is off by more than 1 of 255, or 2 in half precision, from
    eager PyTorch in float32; else ``FstError`` is raised and nothing is left behind.
    """
    options = options or GraphOptions()
    if file_format not in FORMATS:
        raise FstError(f"--format {file_format} is unknown; use one of {', '.join(FORMATS)}")
    if file_format == "pt2" and options != GraphOptions(half=options.half):
        raise FstError("--opset and --size are for --format onnx; leave them out")
    net, _ = load_style(style)
    pixel_net = PixelNet(net).eval()
    written_net = PixelNet(copy.deepcopy(net).half()).eval() if options.half else pixel_net
    most = 2 if options.half else 1
    pack = _pack_pt2(written_net) if file_format == "pt2" else partial(_pack_onnx, style, options)

    def parity_of(data: bytes) -> dict[str, Any]:
        run = load_pt2(data) if file_format == "pt2" else load_onnx(data)
        shapes = [(1, *options.size)] if options.size else PARITY_SHAPES
        parity = measure_parity(pixel_net, run, shapes)
        if file_format == "onnx" and options.half:
            # ONNX Runtime computes in float32 on a CPU, which says nothing of float16
            rounded = measure_parity(pixel_net, written_net, shapes)
            parity = max(parity, rounded, key=lambda one: one["max_difference"])
        return parity

    with _quiet():
        parity = parity_of(pack({}))
        card.export[file_format] = parity
        data = pack({"card": json.dumps(asdict(card), ensure_ascii=False)})

        def check(written: Path) -> None:
            again = parity_of(written.read_bytes())
            worst = max(again["max_difference"], parity["max_difference"])
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
    pixel_net: PixelNet, run: Run, shapes: Sequence[tuple[int, int, int]] = PARITY_SHAPES
) -> dict[str, Any]:
    """The largest and mean difference between a graph and eager PyTorch, in levels of 255.

    ``shapes`` (batch, height, width) are those of the pixels that both are given.
    """
    generator = torch.Generator().manual_seed(0)
    largest, total, count = 0, 0.0, 0
    for batch, height, width in shapes:
        noise = torch.rand(batch, 3, height, width, generator=generator)
        ramp = torch.linspace(0, 1, width).expand(batch, 3, height, width)
        pixels = ((noise * 0.3 + ramp * 0.7) * 255).to(torch.uint8)
        with torch.inference_mode():
            expected = pixel_net(pixels)
            got = run(pixels)
        if got.shape != expected.shape or got.dtype != torch.uint8:
            raise FstError(
                f"the exported graph returned {tuple(got.shape)} for {tuple(pixels.shape)}; "
                "please report this with your torch version"
            )
        difference = (got.int() - expected.int()).abs()
        largest = max(largest, int(difference.max()))
        total += float(difference.sum())
        count += difference.numel()
    return {
        "max_difference": largest,
        "mean_difference": total / count,
        "shapes": ["x".join(map(str, shape)) for shape in shapes],
        "torch": torch.__version__,
    }


def load_pt2(data: bytes) -> Run:
    """The bytes of a ``.pt2`` file -> a function of pixels (B, 3, H, W) uint8 to the same."""
    module = torch.export.load(io.BytesIO(data)).module()

    def run(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            return module(pixels)

    return run


def load_onnx(data: bytes) -> Run:
    """The bytes of an ``.onnx`` file -> the same function, run by ONNX Runtime."""
    if find_spec("onnxruntime") is None:
        raise FstError(f"--format onnx needs onnxruntime; {pip_install('onnx')}")
    backend = OnnxBackend(data, threads=cpu_threads())
    return lambda pixels: torch.from_numpy(backend(np.ascontiguousarray(pixels.numpy())))


def _dynamic() -> dict[str, dict[int, Any]]:
    return {
        "pixels": {
            0: Dim("batch", min=1, max=MAX_BATCH),
            2: Dim("height", min=MIN_SIDE, max=MAX_SIDE),
            3: Dim("width", min=MIN_SIDE, max=MAX_SIDE),
        }
    }


def _example() -> tuple[Tensor]:
    # a batch of 2 and unlike sides: torch.export freezes a dimension of 1 and merges equal ones
    return (torch.zeros(2, 3, 70, 93, dtype=torch.uint8),)


def program_of(pixel_net: PixelNet) -> torch.export.ExportedProgram:
    """torch.export's program of the whole pass, for any size, on the net's device and in its
    precision."""
    pixels = _example()[0].to(pixel_net.net.conv1.conv.weight.device)
    with _quiet():
        return torch.export.export(pixel_net, (pixels,), dynamic_shapes=_dynamic())


def aoti_package(program: torch.export.ExportedProgram, path: Path) -> Run:
    """Compile a program ahead of time (AOTInductor) into ``path``, a .pt2 package, and load it.

    The package needs no Python to run. It is for the device, the processor and the PyTorch it was
    made with, and a C++ compiler must be there to make it.
    """
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    with _quiet():
        return aoti_load_package(aoti_compile_and_package(program, package_path=str(path)))


def _pack_pt2(pixel_net: PixelNet) -> Callable[[dict[str, str]], bytes]:
    program = program_of(pixel_net)

    def pack(metadata: dict[str, str]) -> bytes:
        buffer = io.BytesIO()
        extra = {f"{key}.json": value for key, value in metadata.items()}
        torch.export.save(program, buffer, extra_files=extra)
        return buffer.getvalue()

    return pack


def _pack_onnx(style: Path, options: GraphOptions, metadata: dict[str, str]) -> bytes:
    card, data = read_checked(style)
    return onnx_graph(card, data, options, metadata)


class _quiet(warnings.catch_warnings):
    """Keep the exporters' notes to themselves, not to us, out of the output."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered
