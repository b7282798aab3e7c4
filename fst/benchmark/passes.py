"""How fast a trained style makes one picture: each backend on a CPU, each form of a net on a GPU.

The forms run on a CPU too, at small sizes, which is how they are tested.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fst.benchmark.floors import Machine, count_flops, least_bytes
from fst.benchmark.forms import FORMS, Pass, form_of
from fst.benchmark.plain import plain_stylized
from fst.benchmark.timing import (
    Contestant,
    Row,
    attempted,
    failures,
    peak_mb,
    race,
    that_work,
    whole_process,
)
from fst.benchmark.twins import new_net
from fst.inference.backends import (
    RUNTIMES,
    Backend,
    installed,
    open_backend,
    openvino_has_bfloat16,
)
from fst.nets.style_card import Card
from fst.nets.style_file import load_style, save_style
from fst.system.machine import keep_freed_memory, keep_memory_as_usual

PROBE = "import sys; from fst.benchmark.passes import probe; probe(*sys.argv[1:])"


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


def backends() -> list[str]:
    """Those that are installed here."""
    return ["torch", *(name for name in RUNTIMES if installed(name))]


def fast_backends() -> list[str]:
    """``openvino, fast`` where OpenVINO says that this processor has bfloat16."""
    return ["openvino, fast"] if installed("openvino") and openvino_has_bfloat16() else []


def opened_as(name: str, style: Path) -> Backend:
    """A backend in float32, or with ``, fast`` after its name in bfloat16."""
    backend, _, precision = name.partition(", ")
    return open_backend(backend, style, device="cpu", precision=precision or "exact")


def benchmark_pass(
    *,
    machine: Machine,
    sizes: Sequence[int],
    width: int,
    warm_up: int,
    repetitions: int,
    memory: bool,
) -> Iterator[Row]:
    """One photo of size x size pixels, 8-bit to 8-bit, on the CPU: plain and each backend.

    The steady state, and, if ``memory`` is asked for, the peak memory of a process of its own that
    loads the style and makes one picture. Untrained weights: the time is the same.
    """
    with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
        style = untrained_style(Path(folder), width)
        net = load_style(style)[0].eval()
        opened = {name: opened_as(name, style) for name in [*backends(), *fast_backends()]}
        for size in sizes:
            pixels = np.random.default_rng(0).integers(0, 256, (1, 3, size, size), dtype=np.uint8)
            reference = plain_pass(net, pixels).astype(int)
            contestants: dict[str, Contestant] = {"plain": partial(_plain, net, pixels)}
            contestants |= {k: partial(_own, backend, pixels) for k, backend in opened.items()}
            flops = count_flops(lambda pixels=pixels: plain_pass(net, pixels))  # type: ignore[misc]
            timings = race(contestants, warm_up=warm_up, repetitions=repetitions)
            for name, timing in timings.items():
                note, peak = "", None
                if name in opened:
                    off = np.abs(opened[name](pixels).astype(int) - reference).max()
                    note = f"at most {off} of 255 from plain"
                if memory:
                    done = whole_process([sys.executable, "-c", PROBE, name, str(style), str(size)])
                    peak = done.peak_mb
                yield Row.of(
                    "single pass",
                    name,
                    timing,
                    against=timings["plain"],
                    size=size,
                    batch=1,
                    floor_s=flops / machine.flops,
                    peak_mb=peak,
                    note=note,
                )


def untrained_style(folder: Path, width: int) -> Path:
    """A style file of a net with random weights."""
    torch.manual_seed(0)
    path = folder / f"untrained_{width}.safetensors"
    net = new_net(width)
    save_style(path, net, Card(name=path.stem, net=net.arguments), half=False)
    return path


@torch.no_grad()
def plain_pass(net: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    """pixels (B, 3, H, W) uint8 RGB -> the plain net's, the same shape and type."""
    stylized = plain_stylized(net, torch.from_numpy(pixels).float() / 255)  # type: ignore[arg-type]
    return (stylized * 255).round().to(torch.uint8).numpy()


def _plain(net: torch.nn.Module, pixels: np.ndarray) -> None:
    keep_memory_as_usual()
    plain_pass(net, pixels)


def _own(backend: Backend, pixels: np.ndarray) -> None:
    if backend.name == "torch":
        keep_freed_memory()  # as fst stylize does
    backend(pixels)


def probe(name: str, style: str, size: str) -> None:
    """One picture in a process whose peak memory is looked at from outside."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, int(size), int(size)), dtype=np.uint8)
    if name == "plain":
        plain_pass(load_style(style)[0].eval(), pixels)
        return
    _own(opened_as(name, Path(style)), pixels)
