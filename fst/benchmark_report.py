"""The picture of ``fst benchmark``: time and peak memory of a single pass against its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fst.timing import Row


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
