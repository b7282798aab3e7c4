"""fst runs FOLDER: a line a run, whether it runs, waits, has ended, and as what.

fst runs                          # those below runs/
fst runs runs/multirun/2026-11-21_12-00-00
fst runs --sheet morning.jpg      # and the last preview of each, in one picture
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fst.errors import FstError
from fst.system.console import Parser, duration, shown_in_line
from fst.system.paths import user_path

if TYPE_CHECKING:
    from fst.evaluation.run_states import RunState

COLUMNS = ("run", "state", "step", "left", "held-out losses", "artifacts", "what ended it")
WIDEST = 720  # pixels of a preview on the sheet


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    from fst.evaluation.run_states import run_states

    folder = user_path(options.folder)
    sheet = None if options.sheet is None else user_path(options.sheet)
    if sheet is not None and sheet.exists() and not options.force:
        raise FstError(f"{sheet} exists already; use --force to replace it, or another --sheet")
    runs = run_states(folder)
    rows = [COLUMNS, *(_row(run, str(run.folder.relative_to(folder))) for run in runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
    counts = {state: sum(run.state == state for run in runs) for state in _in_order(runs)}
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    if sheet is not None:
        _save_sheet(runs, sheet)
        print(shown_in_line(sheet))
    return 0


def _in_order(runs: Sequence[RunState]) -> dict[str, None]:
    return dict.fromkeys(run.state for run in runs)


def _row(run: RunState, place: str) -> tuple[str, ...]:
    from fst.pictures.artifacts import LIMITS

    losses = "  ".join(f"{name} {value:.3g}" for name, value in run.losses)
    if losses and not run.held_out:
        losses += "  (training)"
    found = [
        f"{name} {value:.2g}" for name, value in run.artifacts if value > LIMITS.get(name, 9e9)
    ]
    artifacts = ", ".join(found) or ("none" if run.artifacts else "")
    return (
        shown_in_line(run.name if place == "." else place),
        run.state,
        f"{run.step}/{run.max_steps}",
        "" if run.left_s is None else duration(run.left_s),
        losses,
        artifacts,
        shown_in_line(run.ended),
    )


def _save_sheet(runs: Sequence[RunState], path: Path) -> None:
    from fst.pictures.image import Picture, read_picture, save_picture
    from fst.pictures.sheet import contact_sheet, labeled

    rows = []
    for run in runs:
        if run.preview is None:
            continue
        picture = read_picture(run.preview).rgb
        if picture.width > WIDEST:
            picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)))
        rows.append(
            [labeled(picture, f"{run.folder.name}  {run.state} {run.step}/{run.max_steps}")]
        )
    if not rows:
        raise FstError("no run there has a preview yet; previews.photos=0 makes none")
    save_picture(path, Picture(rgb=contact_sheet(rows)), quality=90)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="fst runs", description="What every run is doing, or has ended as.")
    parser.add_argument(
        "folder", nargs="?", default="runs", help="of runs, or of a sweep (default runs)"
    )
    parser.add_argument("--sheet", metavar="FILE", help="write the last preview of each, labeled")
    parser.add_argument("--force", action="store_true", help="replace an existing sheet")
    return parser
