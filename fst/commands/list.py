"""fst list: the styles there are: shipped, and every run that was made here, the newest first.

fst list
fst list /data/runs   # the runs in another folder
fst list --sheet   # styles.jpg, with a small picture of each
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fst.errors import FstError
from fst.nets.style_card import (
    SUFFIX,
    TRUST_HELP,
    cards_trusted,
    listed_cards,
    parted_address,
    read_card,
)
from fst.nets.style_names import run_folders, shipped_styles, trained_styles
from fst.system.console import Parser, shown_in_line


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="fst list", description="Show the styles there are.")
    parser.add_argument(
        "folders", metavar="FOLDER", nargs="*", help="of runs; default runs/ and every run_dir"
    )
    parser.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
    parser.add_argument(
        "--sheet", action="store_true", help="write a sheet of small pictures that they made"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="of --sheet; default styles.jpg here"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing sheet")
    options = parser.parse_args(argv)
    if options.output is not None and not options.sheet:
        raise FstError("-o is for --sheet; give both, or neither")
    with cards_trusted(options.trust_card):
        return _sheet(options) if options.sheet else _list(options.folders)


def _sheet(options: argparse.Namespace) -> int:
    from fst.pictures.image import Picture, save_picture
    from fst.pictures.sheet import sheet_of_styles
    from fst.system.paths import user_path

    path = user_path(options.output or "styles.jpg")
    if path.exists() and not options.force:
        raise FstError(f"{path} exists already; use --force to replace it, or -o elsewhere")
    places, thumbnails = shipped_styles(), {}
    for name, place in trained_styles().items():
        places.setdefault(name, place)
    for name, place in places.items():
        try:
            thumbnails[name] = read_card(place).thumbnail
        except FstError as error:
            print(f"fst list: {shown_in_line(error)}", file=sys.stderr)
    if not any(thumbnails.values()):
        raise FstError(
            "no style here has a picture on its card; `fst stylize PHOTO --style all --sheet` "
            "makes a sheet of your photo"
        )
    save_picture(path, Picture(rgb=sheet_of_styles(thumbnails)), quality=92)
    without = [name for name, text in thumbnails.items() if not text]
    if without:
        print(f"without a picture on their cards: {shown_in_line(', '.join(without))}")
    print(shown_in_line(path))
    return 0


def _list(folders: list[str]) -> int:
    rows: list[tuple[str, str, Path | None]] = []
    if not folders:
        rows += [("shipped", name, path) for name, path in shipped_styles().items()]
    named = {} if folders else trained_styles()
    short = {parted_address(path)[0].resolve() for path in named.values()}
    for run in run_folders(folders):
        files = [p for p in sorted(run.glob(f"*{SUFFIX}")) if not p.stem.endswith(".failed")]
        if not files:
            rows.append(("not done", str(run), None))
        for file in files:
            own = [row for row in named.items() if parted_address(row[1])[0] == file]
            rows += [("trained", name, path) for name, path in own]
            if file.resolve() not in short:
                rows += [("trained", *row) for row in _addresses(file)]
    told = {str(path) for _, _, path in rows}  # others are of no run: somebody put them there
    rows += [("trained", name, path) for name, path in named.items() if str(path) not in told]
    if not rows:
        print("no styles yet; `fst train` makes one")
        return 0
    width = max(len(shown_in_line(name)) for _, name, _ in rows)
    for where, name, path in rows:
        name = shown_in_line(name)
        if path is None:
            print(f"{name:<{width}}  {where:<8} `fst runs` says how far it is")
            continue
        try:
            painting = read_card(path).painting
        except FstError as error:
            print(f"{name:<{width}}  {where:<8} {shown_in_line(error)}")
            continue
        parts = [painting.get(key) for key in ("title", "artist", "year")]
        title = ", ".join(str(part) for part in parts if part) or "your own painting"
        size = parted_address(path)[0].stat().st_size
        print(f"{name:<{width}}  {where:<8} {size / 1e6:4.1f} MB  {shown_in_line(title)}")
    return 0


def _addresses(file: Path) -> list[tuple[str, Path]]:
    """What a file outside of the names' reach is called, or each of its paintings."""
    try:
        cards = listed_cards(file)
    except FstError:  # whoever reads its card is told
        cards = []
    if len(cards) < 2:
        return [(str(file), file)]
    return [(f"{file}:{card.name}", Path(f"{file}:{card.name}")) for card in cards]
