"""What ``fst benchmark`` leaves behind: tables in Markdown, and a plot of single passes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fst.timing import Row

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


def tables(rows: Sequence[Row]) -> str:
    """One table a part, with the columns that say something."""
    parts = []
    for part in dict.fromkeys(row.part for row in rows):
        own = [row for row in rows if row.part == part]
        columns = [
            key for key in COLUMNS if any(getattr(row, key) not in (None, "") for row in own)
        ]
        lines = [[COLUMNS[key] for key in columns], ["---"] * len(columns)]
        lines += [[_cell(key, getattr(row, key)) for key in columns] for row in own]
        runs = sorted({(row.warm_up, row.repetitions) for row in own})
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


def plot_passes(rows: Sequence[Row], path: Path) -> None:
    """A line a backend, both axes logarithmic, into a .png or .svg file."""
    from matplotlib.figure import Figure

    passes = [row for row in rows if row.part == "single pass"]
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
        axes.set_xlabel("megapixels")
        axes.set_ylabel(label)
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)
