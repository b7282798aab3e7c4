"""Fair timings: contestants take turns in one process; whole processes are timed from outside."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch

from fst.benchmark.own_process import status_mb

Contestant = Callable[[], object]
T = TypeVar("T")


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


def attempted(makers: Mapping[str, Callable[[], T]]) -> tuple[dict[str, T], dict[str, str]]:
    """Call each: (what was returned, and of those that failed what was raised, in a line).

    What does not fit into a GPU, or does not compile for it, must not cost the rest of the results.
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


def failures(
    part: str, failed: dict[str, str], *, device: str, size: int, batch: int
) -> Iterator[Row]:
    """A row for what could not be timed, with what was raised."""
    for name, error in failed.items():
        yield Row(
            part, name, device, "", size, batch, 0, 0, 0.0, 0.0, 0.0, note=f"not timed: {error}"
        )


def peak_mb(work: Contestant, device: str) -> float | None:
    """The device's memory at its fullest during one call, in MB; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 1e6


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
            # what the system says at its end has its parent's memory in it
            peak_mb = status_mb("VmHWM", child.pid) or peak_mb
            time.sleep(0.002)
        seconds = time.perf_counter() - started
        stderr.seek(0)
        return Finished(child.returncode, seconds, peak_mb, stderr.read())
