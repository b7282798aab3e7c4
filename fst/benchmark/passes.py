"""How fast a trained style makes one picture: each backend on a CPU, each form of a net on a GPU.

Contestants on a CPU are processes of their own. The forms run on a CPU too, at small sizes, which
is how they are tested.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fst.benchmark.floors import Machine, count_flops, least_bytes
from fst.benchmark.forms import EXACT, FORMS, Pass, form_of
from fst.benchmark.pass_processes import (
    PLAIN,
    backend_and_precision,
    contestants,
    expected_bytes,
    pass_process,
)
from fst.benchmark.plain import single_pass
from fst.benchmark.report import MEGAPIXELS
from fst.benchmark.timing import (
    Contestant,
    Row,
    attempted,
    failures,
    peak_mb,
    race,
    that_work,
)
from fst.benchmark.twins import new_net
from fst.nets.style_card import Card
from fst.nets.style_file import save_style
from fst.system.memory import available_memory


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
    exact = form_of(EXACT, net, device, Path())
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
                wanted: dict[str, Contestant] = {
                    name: partial(run, pixels) for name, run in runs.items()
                }
                working, failed = that_work(wanted)
                timings = race(working, warm_up=warm_up, repetitions=repetitions, device=device)
                floors = batch * flops / machine.flops, batch * moved / machine.bandwidth
                reference = _attempt(exact, pixels)
                for name, timing in timings.items():
                    plain = name.startswith(PLAIN)  # of other weights
                    off = "" if plain else _difference(reference, _attempt(runs[name], pixels))
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
                        peak_mb=peak_mb(working[name], device),
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


def benchmark_pass(
    *, machine: Machine, sizes: Sequence[int], width: int, warm_up: int, repetitions: int
) -> Iterator[Row]:
    """One photo of size x size pixels, 8-bit to 8-bit, on the CPU: plain and each backend.

    Each contestant is a process of its own, and they take turns; the peak memory is that of the
    process since its start. Untrained weights: the time is the same.
    """
    floor_s = _floor_s(width, machine)
    with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
        style = untrained_style(Path(folder), width)
        for size in sizes:
            with ExitStack() as open_processes:
                processes = {
                    name: open_processes.enter_context(
                        pass_process(name, style=style, channels=width, height=size, width=size)
                    )
                    for name in contestants()
                }
                timings = race(processes, warm_up=warm_up, repetitions=repetitions)
                exact = processes["torch"].result().astype(int)
                for name, timing in timings.items():
                    process, note = processes[name], ""
                    if name not in (PLAIN, "torch"):
                        off = np.abs(process.result().astype(int) - exact).max()
                        note = f"at most {off} of 255 from torch"
                    yield Row.of(
                        "single pass",
                        name,
                        timing,
                        against=timings[PLAIN],
                        size=size,
                        batch=1,
                        **floor_and_type(name, floor_s * size**2),
                        peak_mb=process.peak_mb,
                        note=note,
                    )


def benchmark_megapixels(
    *, machine: Machine, megapixels: Sequence[float], width: int, repetitions: int
) -> Iterator[Row]:
    """One square photo by its number of pixels, on the CPU, each contestant alone on the machine.

    As in ``benchmark_pass``, but one process after the other, as large photos need all the memory.
    What would not fit is a row that says so.
    """
    floor_s = _floor_s(width, machine)
    with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
        style = untrained_style(Path(folder), width)
        for millions in megapixels:
            side = 4 * round((1e6 * millions) ** 0.5 / 4)
            plain = None
            for name in contestants():
                needed = expected_bytes(name, channels=width, pixels=side**2)
                free = available_memory()
                if needed > free:
                    lack = f"needs {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} are free"
                    yield from failures(MEGAPIXELS, {name: lack}, device="cpu", size=side, batch=1)
                    continue
                with pass_process(
                    name, style=style, channels=width, height=side, width=side
                ) as process:
                    timing = race({name: process}, warm_up=1, repetitions=repetitions)[name]
                    if name == PLAIN:
                        plain = timing
                    yield Row.of(
                        MEGAPIXELS,
                        name,
                        timing,
                        against=plain,
                        size=side,
                        batch=1,
                        **floor_and_type(name, floor_s * side**2),
                        peak_mb=process.peak_mb,
                        note=f"{millions:g} MP",
                    )


def floor_and_type(name: str, seconds: float) -> dict[str, Any]:
    """The type and the floor of a contestant's row: the machine's rate is that of float32."""
    fast = backend_and_precision(name)[1] == "fast"
    return {"dtype": "bfloat16"} if fast else {"floor_s": seconds}


def _floor_s(channels: int, machine: Machine) -> float:
    """The least seconds that a pixel takes, of a plain net of so many channels."""
    side = 64
    flops = count_flops(single_pass(height=side, width=side, channels=channels))
    return flops / side**2 / machine.flops


def untrained_style(folder: Path, width: int) -> Path:
    """A style file of a net with random weights."""
    torch.manual_seed(0)
    path = folder / f"untrained_{width}.safetensors"
    net = new_net(width)
    save_style(path, net, Card(name=path.stem, net=net.arguments), half=False)
    return path
