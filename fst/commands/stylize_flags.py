"""The flags of ``fst stylize``, and what they mean together."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TypedDict

from fst.errors import FstError
from fst.inference.backends import BACKENDS, PRECISIONS
from fst.inference.controls import ALPHA, Controls, read_mask
from fst.inference.tile_budget import AUTO, OFF, parse_memory
from fst.nets.style_card import TRUST_HELP
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


def _number_or_word(word: str) -> int | str:
    return int(word) if word.isdecimal() else word


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
    flags.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="0..1",
        help="how much of the picture, and how much of the photo: a mix of their pixels, or less "
        "of a painting by a net trained with net.strengths=true (default 1, the picture "
        "alone). The strength that a net paints with at 1 is training's style.strength",
    )
    flags.add_argument(
        "--keep-colors",
        type=float,
        default=0.0,
        metavar="0..1",
        help="how much of the photo's colors, under the picture's light and dark (default 0)",
    )
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
    flags.add_argument("--size", type=int, metavar="PX", help="resize to this shorter side first")
    flags.add_argument(
        "--stroke",
        type=_number_or_word,
        metavar="PX|auto",
        help="strokes as large in the picture as on a photo of this shorter side, whatever the "
        "size; auto: as of 1000 px on larger photos",
    )
    flags.add_argument("--quality", type=int, default=95, help="of JPEG and WebP (default 95)")
    flags.add_argument("--device", default="auto", help="auto (default), cuda, mps or cpu")
    flags.add_argument(
        "--backend",
        default="auto",
        choices=BACKENDS,
        help="auto (default) is the fastest that is installed; "
        "one that is not is answered with the command that brings it",
    )
    flags.add_argument(
        "--precision",
        default="auto",
        choices=PRECISIONS,
        help="exact is float32; fast is bfloat16, in OpenVINO on a processor that has it, and "
        "float16 on a GPU; auto (default) is fast where nobody would see it, by the style's card",
    )
    flags.add_argument(
        "--tiles",
        type=_number_or_word,
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
    flags.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
    return flags
