"""fst sheet RUNS...: the runs of a sweep side by side, and a table that ranks them.

fst sheet runs/multirun/2026-11-21_12-00-00
fst sheet runs/woodcut runs/woodcut-2 --photos holiday/ -o compare
"""

from __future__ import annotations

import argparse
import csv
import re

from fst.errors import FstError
from fst.nets.style_card import TRUST_HELP, cards_trusted
from fst.system.console import Parser, shown_in_line
from fst.system.paths import user_path

WITHOUT_WEIGHTS = "without their weights, so that other strengths compare; `fst runs` has them with"


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.count < 1 or options.size < 64:
        raise FstError("--count must be 1 or more, --size 64 or more")
    with cards_trusted(options.trust_card):
        return _sheet(options)


def _sheet(options: argparse.Namespace) -> int:
    from fst.data.photo_files import read_photo, training_and_held_out
    from fst.evaluation.sweep import find_runs, grid_of, pictures, rank, varying
    from fst.pictures.image import Picture, save_picture
    from fst.system.files import make_folder

    runs = find_runs([user_path(run) for run in options.runs])
    first = runs[0].settings
    if not options.photos and first.get("data.root") is None:
        raise FstError(f"{runs[0].folder} does not say which photos it had; give --photos FOLDER")
    try:
        _, held_out, _ = training_and_held_out(
            str(options.photos or first.get("data.root")),
            val_root=options.photos or first.get("data.val_root"),
            val_photos=first.get("data.val_photos") or 16,
        )
    except FstError:
        if options.photos:
            raise
        # why is not said: a stranger's run may name any text file here, whose lines stay unseen
        raise FstError(
            f"the photos that {runs[0].folder} names cannot be read here; give --photos FOLDER"
        ) from None
    photos = [read_photo(path).resized(options.size).rgb for path in held_out[: options.count]]
    made = [pictures(run, photos) for run in runs]
    rows = rank(runs, [artifacts for _, artifacts in made])
    out = user_path(re.sub(r"\.(jpg|csv)$", "", options.output))
    picture, listing = (out.with_name(f"{out.name}{end}") for end in (".jpg", ".csv"))
    make_folder(out.parent)
    sheet = grid_of(runs, [shown for shown, _ in made], photos)
    save_picture(picture, Picture(rgb=sheet), quality=92)
    with open(listing, "w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    differ = shown_in_line(", ".join(varying(runs)) or "nothing")
    print(f"runs           {len(runs)}, which differ in {differ}")
    print(f"losses         {WITHOUT_WEIGHTS}")
    for row in rows:
        findings = row["findings"] or "none"
        print(
            f"rank {row['rank']:<5} {shown_in_line(row['run'])}  content {row['content']:.4g}  "
            f"style {row['style']:.4g}  artifacts {findings}"
        )
    print(f"sheet          {shown_in_line(picture)}\ntable          {shown_in_line(listing)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="fst sheet", description="Compare finished runs: pictures and a ranked table."
    )
    parser.add_argument("runs", nargs="+", metavar="RUNS", help="run folders, or a sweep's folder")
    parser.add_argument("--photos", metavar="FOLDER", help="default: the runs' held-out photos")
    parser.add_argument("--count", type=int, default=4, help="of the photos (default 4)")
    parser.add_argument("--size", type=int, default=256, help="shorter side (default 256)")
    parser.add_argument("-o", "--output", default="sheet", help="PATH.jpg and PATH.csv")
    parser.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
    return parser
