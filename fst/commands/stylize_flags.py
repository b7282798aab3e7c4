"""The flags of ``fst stylize``, and what they mean together."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TypedDict

from fst.commands.pass_flags import add_pass_flags, number_or_word
from fst.errors import FstError
from fst.inference.controls import ALPHA, Controls, read_mask
from fst.inference.tiling import AUTO, OFF, parse_memory
from fst.pictures.opening import MOST_TO_STYLIZE
from fst.system.console import Parser
from fst.system.paths import user_path


class TilingAsked(TypedDict):
    """``Tiling`` as keywords of a ``Stylizer``."""

    tiles: str | int
    max_memory: int | None
    scratch: Path | None


def tiling(options: argparse.Namespace) -> TilingAsked:
    """Of the flags; ``FstError`` for a size that is none."""
    memory = options.max_memory
    return {
        "tiles": options.tiles,
        "max_memory": None if memory is None else parse_memory(memory),
        "scratch": None if options.scratch is None else user_path(options.scratch),
    }


def most_pixels(options: argparse.Namespace) -> float:
    """Of the flag: ``400MP``, or a number of pixels; ``FstError`` for other words."""
    word = str(options.max_pixels)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(mp)?", word.strip().lower())
    if found is None or float(found[1]) == 0:
        raise FstError(f"--max-pixels {word} is no size; give it as 400MP")
    return float(found[1]) * (1e6 if found[2] else 1)


def controls(options: argparse.Namespace) -> Controls:
    """Of the flags; a mask file is read once, for all photos."""
    mask = options.mask
    return Controls(
        strength=options.strength,
        keep_colors=options.keep_colors,
        mask=mask if mask in (None, ALPHA) else read_mask(mask),
        stroke=options.stroke,
    )


def parser() -> argparse.ArgumentParser:
    flags = Parser(prog="fst stylize", description="Stylize photos in one forward pass each.")
    flags.add_argument(
        "photos", nargs="+", metavar="PHOTO", help="files, folders (recursively) or globs"
    )
    flags.add_argument(
        "--style",
        required=True,
        action="append",
        metavar="NAME_OR_FILE",
        help="see `fst list`; or a style file; or all, for those that are shipped. Several times "
        "for several pictures",
    )
    flags.add_argument(
        "-o", "--output", metavar="PATH", help="file or folder; default PHOTO_STYLE.jpg here"
    )
    add_pass_flags(flags)
    flags.add_argument(
        "--mask",
        metavar="FILE|alpha",
        help="a picture of the photo's shape: white is stylized, black stays the photo; or alpha, "
        "the photo's own transparency",
    )
    flags.add_argument(
        "--blend",
        nargs="+",
        metavar="NAME=0.6",
        help="between paintings of one net: --style base --blend udnie=0.6 dots=0.4",
    )
    flags.add_argument(
        "--sheet",
        action="store_true",
        help="one labeled sheet for each photo, PHOTO_sheet.jpg, with the photo and all styles",
    )
    flags.add_argument("--quality", type=int, default=95, help="of JPEG and WebP (default 95)")
    flags.add_argument(
        "--tiles",
        type=number_or_word,
        default=AUTO,
        metavar=f"{AUTO}|{OFF}|PX",
        help="in tiles without seams, of PX pixels a side; auto (default) where a pass in one go "
        "does not fit into the memory",
    )
    flags.add_argument(
        "--max-memory",
        metavar="SIZE",
        help="what the whole process may take, such as 2GB (default: half of what is free)",
    )
    flags.add_argument(
        "--scratch",
        metavar="FOLDER",
        help="where the files go that hold what does not fit into the memory (default: $TMPDIR, "
        "else the system's folder for large temporary files)",
    )
    flags.add_argument(
        "--max-pixels",
        default=f"{MOST_TO_STYLIZE / 1e6:.0f}MP",
        metavar="SIZE",
        help="larger photos are refused by their header (default %(default)s)",
    )
    flags.add_argument("--force", action="store_true", help="replace existing files")
    flags.add_argument(
        "--skip-existing", action="store_true", help="leave out photos whose results are there"
    )
    flags.add_argument(
        "--shard", metavar="I/N", help="only every N-th photo, from the I-th: one of N processes"
    )
    return flags
