"""How fast a trained style is on a GPU: single passes in every form it ships in, folders of photos.

All of it runs on a CPU too, at small sizes, which is how it is tested.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fst.benchmark.loading import new_net, sample_folder
from fst.benchmark.photos import folder_row
from fst.benchmark.plain import plain_stylized
from fst.benchmark.step import arithmetic, failures, least_bytes, peak_mb
from fst.benchmark.timing import Contestant, Machine, Row, attempted, count_flops, race, that_work
from fst.inference.graph_file import aoti_package, program_of
from fst.inference.pixel_net import PixelNet
from fst.inference.stylizer import Stylizer
from fst.nets.transformer_net import TransformerNet
from fst.pictures.image import read_picture, to_array

Pass = Callable[[Tensor], Tensor]
FORMS = (
    "plain",
    "plain, no TF32",
    "fst, float32",
    "fst, half",
    "fst, half, channels last",
    "fst, half, compiled",
    "fst, half, CUDA graphs",
    ".pt2, half",
    "AOTInductor, half",
)
COMPILED = ("compiled", "graphs", "AOTInductor, half")  # how the names end of what takes a minute


class PlainPixels(nn.Module):
    """``fst.benchmark.plain`` from 8-bit pixels to 8-bit pixels."""

    def __init__(self, net: TransformerNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels (B, 3, H, W) uint8 RGB -> stylized, the same shape and type."""
        return (plain_stylized(self.net, pixels.float() / 255) * 255).round().to(torch.uint8)


def form_of(name: str, net: TransformerNet, device: str, folder: Path) -> Pass:
    """One of ``FORMS`` of a net, ready to run on ``device``."""
    if name.startswith("plain"):
        return _switched(PlainPixels(net).to(device), tf32="no TF32" not in name, ours=False)
    if "half" not in name:
        return _switched(PixelNet(net).to(device), tf32=True, ours=True)
    half = PixelNet(copy.deepcopy(net).half()).to(device).eval()
    if name == "fst, half":
        return _switched(half, tf32=True, ours=True)
    if name == ".pt2, half":
        return _switched(program_of(half).module(), tf32=True, ours=True)
    if name == "AOTInductor, half":
        path = folder / "net.pt2"
        return _switched(aoti_package(program_of(half), path), tf32=True, ours=True)
    last: Any = half.to(memory_format=torch.channels_last)
    modes = {"fst, half, compiled": "default", "fst, half, CUDA graphs": "reduce-overhead"}
    if name in modes:
        last = torch.compile(last, mode=modes[name], dynamic=False)
    return _switched(lambda pixels: last(_channels_last(pixels)), tf32=True, ours=True)


def _channels_last(pixels: Tensor) -> Tensor:
    return pixels.contiguous(memory_format=torch.channels_last)


def _switched(run: Any, *, tf32: bool, ours: bool) -> Pass:
    def work(pixels: Tensor) -> Tensor:
        with torch.no_grad(), arithmetic(tf32=tf32, benchmark=ours):
            if ours:
                torch.compiler.cudagraph_mark_step_begin()
            return run(pixels)

    return work


def benchmark_device_pass(
    *,
    machine: Machine,
    device: str,
    shapes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    width: int,
    warm_up: int,
    repetitions: int,
    forms: Sequence[str] = FORMS,
) -> Iterator[Row]:
    """Pixels on the device to pixels on the device, (height, width) each; untrained weights.

    The floor is the longer of operations over the measured half-precision rate and of bytes over
    the measured bandwidth; the note has both, and how far the pixels are from float32 without TF32.
    """
    torch.manual_seed(0)
    net = new_net(width).to(device).eval()
    exact = form_of("plain, no TF32", net, device, Path())
    with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
        runs, broken = attempted(
            {name: partial(form_of, name, net, device, Path(folder)) for name in forms}
        )
        for height, across in shapes:
            small = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, device=device)
            flops = count_flops(lambda small=small: exact(small)) * height * across / 64**2  # type: ignore[misc]
            moved = least_bytes(net, height, across)
            for batch in batches:
                torch.compiler.reset()  # else another shape is compiled for any
                shape = (batch, 3, height, across)
                pixels = photo_like(shape).to(device)
                contestants: dict[str, Contestant] = {
                    name: partial(run, pixels) for name, run in runs.items()
                }
                contestants, failed = that_work(contestants)
                timings = race(contestants, warm_up=warm_up, repetitions=repetitions, device=device)
                floors = batch * flops / machine.flops, batch * moved / machine.bandwidth
                reference = _attempt(exact, pixels)
                for name, timing in timings.items():
                    off = _difference(reference, _attempt(runs[name], pixels))
                    yield Row.of(
                        "single pass",
                        name,
                        timing,
                        against=timings.get("plain"),
                        size=height,
                        batch=batch,
                        device=device,
                        dtype="float16" if "half" in name else "float32",
                        floor_s=max(floors),
                        peak_mb=peak_mb(contestants[name], device),
                        note=f"{across}x{height}; {timing.median_s / max(floors):.1f} floors "
                        f"(operations {1e3 * floors[0]:.2f} ms, bytes {1e3 * floors[1]:.2f} ms)"
                        + off,
                    )
                for name, error in {**broken, **failed}.items():
                    yield from failures(
                        "single pass", {name: error}, device=device, size=height, batch=batch
                    )


def photo_like(shape: tuple[int, int, int, int]) -> Tensor:
    """Ramps and noise (B, 3, H, W), uint8: neither flat nor noise alone."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 96, shape, generator=generator, dtype=torch.uint8)
    ramp = torch.linspace(0, 159, shape[-1]).to(torch.uint8)
    return noise + ramp


def _attempt(run: Pass, pixels: Tensor) -> Tensor | None:
    """A photo's pixels by one form, on the CPU; None where a batch does not fit."""
    try:
        return run(pixels[:1] if len(pixels) > 1 else pixels).cpu()
    except RuntimeError:
        return None


def _difference(reference: Tensor | None, got: Tensor | None) -> str:
    if reference is None or got is None:
        return ""
    off = (reference.int() - got.int()).abs()
    return f"; from float32 at most {int(off.max())} of 255, {off.float().mean():.3f} on average"


def benchmark_device_folder(
    photos: Sequence[Path], *, style: str, device: str, shapes: Sequence[int], count: int
) -> Iterator[Row]:
    """``fst stylize`` of ``count`` JPEG photos, from file to file, by shorter side."""
    for size in shapes:
        with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
            files = sample_folder(Path(folder), photos, size, count)
            stylizer = Stylizer(style, device=device, backend="torch")
            stylizer.pixels(to_array(read_picture(files[0]).rgb))
            yield folder_row(stylizer, files, name="torch", size=size, device=device)
