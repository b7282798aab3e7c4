"""Fair timings: contestants take turns in one process, and floors say what the machine allows."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

Contestant = Callable[[], object]
T = TypeVar("T")
SETTLED_TURNS, MOST_TURNS = 4, 24


class Timing(NamedTuple):
    """Seconds a call, over ``repetitions`` after ``warm_up`` calls that do not count."""

    median_s: float
    p95_s: float
    best_s: float
    warm_up: int
    repetitions: int


@dataclass(frozen=True)
class Row:
    """One line of a table: ``ratio`` is how many times faster than the contestant compared with.

    ``best_ratio`` compares the fastest calls, which other work on the machine disturbs least.
    ``floor_ms`` is the least time the machine's measured rates allow for the arithmetic.
    """

    part: str
    name: str
    device: str
    dtype: str
    size: int | None  # pixels, the side
    batch: int | None
    warm_up: int
    repetitions: int
    median_ms: float
    p95_ms: float
    best_ms: float
    ratio: float | None = None
    best_ratio: float | None = None
    floor_ms: float | None = None
    peak_mb: float | None = None
    note: str = ""

    @classmethod
    def of(
        cls,
        part: str,
        name: str,
        timing: Timing,
        *,
        against: Timing | None = None,
        size: int | None = None,
        batch: int | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        floor_s: float | None = None,
        peak_mb: float | None = None,
        note: str = "",
    ) -> Row:
        """From a timing, rounded to what can be read."""
        return cls(
            part=part,
            name=name,
            device=device,
            dtype=dtype,
            size=size,
            batch=batch,
            warm_up=timing.warm_up,
            repetitions=timing.repetitions,
            median_ms=round(1e3 * timing.median_s, 3),
            p95_ms=round(1e3 * timing.p95_s, 3),
            best_ms=round(1e3 * timing.best_s, 3),
            ratio=None if against is None else round(against.median_s / timing.median_s, 3),
            best_ratio=None if against is None else round(against.best_s / timing.best_s, 3),
            floor_ms=None if floor_s is None else round(1e3 * floor_s, 3),
            peak_mb=None if peak_mb is None else round(peak_mb),
            note=note,
        )


class Machine(NamedTuple):
    """What a device can do at most, measured."""

    flops: float  # multiplications and additions a second, of a large product or convolution
    bandwidth: float  # bytes a second, read and written, of a large copy


def race(
    contestants: Mapping[str, Contestant],
    *,
    repetitions: int,
    warm_up: int,
    device: str = "cpu",
    calls: int = 1,
) -> dict[str, Timing]:
    """Time each contestant, in turns, so that a machine that slows down slows all of them.

    ``calls`` are timed as one, and divided: a GPU works on while the CPU prepares the next.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(warm_up + repetitions):
        for name, contestant in contestants.items():
            synchronize(device)
            started = time.perf_counter()
            for _ in range(calls):
                contestant()
            synchronize(device)
            if turn >= warm_up:
                seconds[name].append((time.perf_counter() - started) / calls)
    return {name: summary(values, warm_up) for name, values in seconds.items()}


def summary(seconds: Sequence[float], warm_up: int) -> Timing:
    """Median and 95th percentile (of few values: the largest)."""
    ordered = sorted(seconds)
    p95 = ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)]
    return Timing(statistics.median(ordered), p95, ordered[0], warm_up, len(ordered))


def synchronize(device: str) -> None:
    """Wait until a GPU has done what it was given; a CPU has."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def measure_machine(device: str = "cpu", *, side: int = 3072, dtype: str = "float32") -> Machine:
    """The best of several products of (side, side) matrices and convolutions, and of copies.

    They are repeated until none has been faster for ``SETTLED_TURNS``, ``MOST_TURNS`` at most.
    On some processors the library for convolutions is faster than that for products.
    """
    kind = getattr(torch, dtype)
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    picture = torch.randn(4, 256, 64, 64, device=device).to(kind)
    kernels = torch.randn(256, 256, 3, 3, device=device).to(kind)
    flops = {"product": 2 * side**3, "convolution": 2 * 9 * 256 * picture.numel()}
    source = torch.zeros(64 * 2**20, device=device)  # 256 MB: no cache holds it
    target = torch.empty_like(source)
    contestants: dict[str, Contestant] = {
        "product": lambda: a @ b,
        "convolution": lambda: F.conv2d(picture, kernels, padding=1),
        "copy": lambda: target.copy_(source),
    }
    best: dict[str, float] = {}
    turns = settled = 0
    while turns < MOST_TURNS and settled < SETTLED_TURNS:  # a machine may be busy for a while
        turns, settled = turns + 1, settled + 1
        for name, timing in race(contestants, repetitions=1, warm_up=1, device=device).items():
            if timing.median_s < 0.98 * best.get(name, math.inf):
                settled = 0
            best[name] = min(best.get(name, math.inf), timing.median_s)
    rate = max(count / best[name] for name, count in flops.items())
    return Machine(rate, 8 * source.numel() / best["copy"])


def attempted(makers: Mapping[str, Callable[[], T]]) -> tuple[dict[str, T], dict[str, str]]:
    """Call each: (what was returned, and of those that failed what was raised, in a line).

    What does not fit into a GPU, or does not compile for it, is no reason to lose the rest.
    """
    made, failed = {}, {}
    for name, make in makers.items():
        try:
            made[name] = make()
        except Exception as error:  # compilers and drivers raise nearly anything
            failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    return made, failed


def that_work(
    contestants: Mapping[str, Contestant],
) -> tuple[dict[str, Contestant], dict[str, str]]:
    """Call each once: (those that return, what the others raised, in a line)."""
    made, failed = attempted(contestants)
    return {name: contestants[name] for name in made}, failed


def count_flops(work: Contestant) -> int:
    """Multiplications and additions in the matrix products and convolutions of one call."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


class Finished(NamedTuple):
    """A child process that has ended: seconds from start to end, and its peak memory.

    The memory is 0 where there is no /proc to look it up in.
    """

    code: int
    seconds: float
    peak_mb: float
    stderr: str


def whole_process(command: Sequence[str], env: Mapping[str, str] | None = None) -> Finished:
    """Run a command to its end: what a user waits for, interpreter and imports included."""
    with tempfile.TemporaryFile("w+") as stderr:
        started = time.perf_counter()
        child = subprocess.Popen(
            command,
            env=None if env is None else {**os.environ, **env},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
        peak_mb = 0.0
        while child.poll() is None:
            peak_mb = _peak_mb(child.pid) or peak_mb
            time.sleep(0.002)
        seconds = time.perf_counter() - started
        stderr.seek(0)
        return Finished(child.returncode, seconds, peak_mb, stderr.read())


def _peak_mb(process: int) -> float:
    """Of a running process. What the system says at its end has its parent's memory in it."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) * 1024 / 1e6 for x in lines if x.startswith("VmHWM:")), 0.0)
