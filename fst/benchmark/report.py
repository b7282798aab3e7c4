"""What ``fst benchmark`` shows and leaves behind: tables, and a plot of single passes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch takes seconds
    from fst.benchmark.floors import Machine
    from fst.benchmark.kernel_classes import KernelClass
    from fst.benchmark.timing import Row

MEGAPIXELS = "single pass by megapixels"
Line = tuple[str, dict[str, Any]]  # for people and, as JSON, for machines

HEADER = (
    f"{'':<32}{'size':>6}{'batch':>6}{'runs':>6}{'median ms':>12}{'p95 ms':>12}{'ratio':>8}"
    f"{'floor ms':>11}{'peak MB':>9}  "
)


def line_of(row: object) -> str:
    """A row of the table for people."""
    values = asdict(row)  # type: ignore[call-overload]

    def shown(key: str, form: str, width: int) -> str:
        value = values[key]
        return f"{'' if value is None else format(value, form):>{width}}"

    return (
        f"{values['name']:<32}{shown('size', 'd', 6)}{shown('batch', 'd', 6)}"
        f"{shown('repetitions', 'd', 6)}{shown('median_ms', '.1f', 12)}{shown('p95_ms', '.1f', 12)}"
        f"{shown('ratio', '.2f', 8)}{shown('floor_ms', '.1f', 11)}{shown('peak_mb', 'd', 9)}  "
        f"{values['note']}"
    ).rstrip()


def rows_and_lines(rows: Iterable[Row]) -> Iterator[Line]:
    """A table's lines, as its rows come."""
    for number, row in enumerate(rows):
        yield (f"{HEADER}\n" if number == 0 else "") + line_of(row), asdict(row)


def shares(profiles: Iterable[tuple[str, Sequence[KernelClass]]]) -> Iterator[Line]:
    """Of each profile the classes of kernels, and what they took of a step."""
    for name, classes in profiles:
        total = sum(found.milliseconds for found in classes)
        yield f"{name}: {total:.3f} ms of kernels a step", {"part": "profile", "name": name}
        for found in classes:
            yield (
                f"  {found.name:<24}{found.milliseconds:>10.3f} ms{found.share:>8.1%}"
                f"{found.calls:>8.0f} calls  {found.largest[:60]}",
                {"part": "profile", "recipe": name, **found._asdict()},
            )


def counted(size: int, operations: Mapping[str, int], machine: Machine) -> Iterator[Line]:
    """Operations for one photo, and the least time they take at the machine's rate."""
    for name, flops in operations.items():
        least_ms = 1e3 * flops / machine.flops
        yield (
            f"{name:<32}{size:>6}{flops / 1e9:>12.2f} GFLOP{least_ms:>12.4f} ms at least",
            {"part": "count", "name": name, "size": size, "flops": flops, "floor_ms": least_ms},
        )


COLUMNS = {
    "name": "",
    "size": "px",
    "batch": "batch",
    "median_ms": "median ms",
    "p95_ms": "p95 ms",
    "ratio": "times as fast",
    "floor_ms": "floor ms",
    "peak_mb": "peak MB",
    "note": "",
}


TIMES = ("median_ms", "p95_ms")  # which what was not timed has not


def tables(rows: Sequence[Row]) -> str:
    """One table a part, with the columns that say something."""
    parts = []
    for part in dict.fromkeys(row.part for row in rows):
        own = [row for row in rows if row.part == part]
        columns = [
            key for key in COLUMNS if any(getattr(row, key) not in (None, "") for row in own)
        ]
        lines = [[COLUMNS[key] for key in columns], ["---"] * len(columns)]
        lines += [
            [
                _cell(key, getattr(row, key)) if row.repetitions or key not in TIMES else ""
                for key in columns
            ]
            for row in own
        ]
        runs = sorted({(row.warm_up, row.repetitions) for row in own if row.repetitions})
        said = ", ".join(f"{count} after {warm} to warm up" for warm, count in runs)
        title = f"**{part}**, {own[0].device}, {own[0].dtype}; repetitions: {said}"
        parts.append("\n".join([title, "", *("| " + " | ".join(x) + " |" for x in lines)]))
    return "\n\n".join(parts) + "\n"


def _cell(key: str, value: object) -> str:
    if value is None:
        return ""
    if key in ("median_ms", "p95_ms", "floor_ms"):
        return f"{value:.0f}" if float(str(value)) >= 100 else f"{value:.1f}"
    return f"{value:.2f}" if key == "ratio" else str(value)


def plot_passes(rows: Sequence[Row], kind: str) -> bytes:
    """A line a contestant of the passes by megapixels, as a file of ``kind``: png, svg or pdf.

    All axes are logarithmic. What was not timed has no point.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    passes = [row for row in rows if row.part == MEGAPIXELS and row.repetitions]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in dict.fromkeys(row.name for row in passes):
        own = [row for row in passes if row.name == name]
        megapixels = [(row.size or 0) ** 2 / 1e6 for row in own]
        left.plot(megapixels, [row.median_ms / 1e3 for row in own], "o-", label=name)
        right.plot(megapixels, [(row.peak_mb or 0) / 1e3 for row in own], "o-", label=name)
    for axes, label in ((left, "seconds a photo"), (right, "peak memory of the process, GB")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("megapixels")
        axes.set_ylabel(label)
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend()
    made = io.BytesIO()
    figure.savefig(made, format=kind, dpi=110)
    return made.getvalue()
