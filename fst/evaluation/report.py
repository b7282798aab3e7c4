"""What an evaluation found: a row of figures, in words, in files and in the style's card."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot as plt

from fst.evaluation.equivalent_iterations import STARTS, PhotoResult, Terms, confidence_interval
from fst.nets.style_card import read_card
from fst.nets.style_file import rewrite_card
from fst.pictures.artifacts import Artifacts
from fst.pictures.image import Picture, save_picture, to_image
from fst.pictures.lattice_lock import Lock
from fst.pictures.sheet import contact_sheet
from fst.system.console import say

matplotlib.use("Agg")


def summary(made: Sequence[PhotoResult], limit: int) -> dict[str, Any]:
    """Means over the photos; equivalent iterations with a confidence interval."""

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    row: dict[str, Any] = {
        "photos": len(made),
        "limit": limit,
        **{key: mean([getattr(m.terms, key) for m in made]) for key in Terms._fields},
        "photo_itself": mean([m.before for m in made]),
        "net_s": mean([m.net_s for m in made]),
    }
    for start in made[0].curves:
        curves = [m.curves[start] for m in made]
        counts = [float(curve.iterations) for curve in curves]
        row[f"iterations_from_{start}"] = mean(counts)
        row[f"interval_from_{start}"] = confidence_interval(counts)
        row[f"beyond_limit_from_{start}"] = sum(not curve.crossed for curve in curves)
        row[f"seconds_from_{start}"] = mean([curve.seconds for curve in curves])
        row[f"speed_up_from_{start}"] = row[f"seconds_from_{start}"] / row["net_s"]
    row["artifacts"] = {
        key: mean([getattr(m.artifacts, key) for m in made]) for key in Artifacts._fields
    }
    row["lock"] = {key: mean([getattr(m.lock, key) for m in made]) for key in Lock._fields}
    return row


def in_words(row: dict[str, Any]) -> str:
    """A row as lines for people."""
    lines = [
        f"{row['size']} px, {row['photos']} photos: total {row['total']:.4g} = content "
        f"{row['content']:.4g} + style {row['style']:.4g} + total variation "
        f"{row['total_variation']:.4g} (the photos themselves: {row['photo_itself']:.4g}); "
        f"{row['net_s']:.2f} s a pass"
    ]
    for start in STARTS:
        if f"iterations_from_{start}" not in row:
            continue
        low, high = row[f"interval_from_{start}"]
        beyond = row[f"beyond_limit_from_{start}"]
        more = f", {beyond} of them >{row['limit']}" if beyond else ""
        least = "at least " if beyond else ""
        count, seconds, speed_up = (
            row[f"{key}_from_{start}"] for key in ("iterations", "seconds", "speed_up")
        )
        lines.append(
            f"  worth {least}{count:.0f} iterations of L-BFGS from {start} (95% CI {low:.0f} to "
            f"{high:.0f}{more}), {seconds:.1f} s: {speed_up:.0f} times faster"
        )
    lines.append(f"  artifacts {in_one_line(row['artifacts'])}")
    fine, coarse = row["lock"]["fine"], row["lock"]["coarse"]
    lines.append(
        f"  lock {fine:.2f} fine, {coarse:.2f} coarse (0: strokes move along; 1.41: none do)"
    )
    for name, scores in row["artifacts_flat"].items():
        lines.append(f"    of a flat photo ({name}): {in_one_line(scores)}")
    return "\n".join(lines)


def in_one_line(scores: Mapping[str, float]) -> str:
    """Scores, and which are findings."""
    shown = ", ".join(f"{name} {value:.2f}" for name, value in scores.items())
    return f"{shown}; over the limit: {' '.join(Artifacts(**scores).findings()) or 'none'}"


def store(folder: Path, name: str, made: Sequence[PhotoResult]) -> None:
    """CSV by photo and of the curves, a plot, and a sheet of photos over pictures."""
    with open(folder / f"{name}.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["photo", "start", "iteration", "total", "net_total"])
        for one in made:
            for start, curve in one.curves.items():
                for iteration, value in enumerate(curve.values):
                    shown = [one.name, start, iteration, f"{value:.6g}"]
                    table.writerow([*shown, f"{one.terms.total:.6g}"])
    rows = [[to_image(one.photo) for one in made], [to_image(one.picture) for one in made]]
    save_picture(folder / f"{name}.jpg", Picture(rgb=contact_sheet(rows)), quality=92)
    curves_plot(made, folder / f"{name}_curves.png")


def curves_plot(made: Sequence[PhotoResult], path: Path) -> None:
    """Each photo's objective by iteration over that of the net, as in the paper's figure 5."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    colors = {"noise": "tab:blue", "content": "tab:orange"}
    for one in made:
        for start, curve in one.curves.items():
            over = [value / one.terms.total for value in curve.values]
            axes.plot(over, color=colors[start], alpha=0.6, linewidth=1)
    for start in made[0].curves:
        axes.plot([], color=colors[start], label=f"L-BFGS from {start}")
    axes.axhline(1, color="black", linewidth=1, label="one pass of the net")
    axes.set(xlabel="iterations", ylabel="objective over that of the net", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def update_card(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the figures into a style file, whose tensors stay as they are."""
    card = read_card(path)
    keys = ("size", "photos", "loss_network", "limit", "total", "photo_itself")
    card.evaluation = [
        {key: row[key] for key in row if key in keys or key.startswith(("iterations", "interval"))}
        | {"artifacts": _rounded(row["artifacts"]), "lock": _rounded(row["lock"])}
        | {"artifacts_flat": {name: _rounded(of) for name, of in row["artifacts_flat"].items()}}
        for row in rows
    ]
    rewrite_card(path, card)
    say(f"card           {path} now says so")


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {key: round(value, 4) for key, value in scores.items()}
