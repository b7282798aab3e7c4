"""The flags of ``fst video``, and what their words mean."""

from __future__ import annotations

import argparse
from fractions import Fraction

from fst.commands.pass_flags import add_pass_flags
from fst.errors import FstError
from fst.system.console import Parser
from fst.video.film_codec import CODECS
from fst.video.score import SCORED


def parser() -> argparse.ArgumentParser:
    flags = Parser(prog="fst video", description="Stylize a moving picture, frame by frame.")
    flags.add_argument(
        "film",
        metavar="IN",
        nargs="?",
        help="a film, an animated GIF, PNG or WebP, or a folder of frames; not with --camera",
    )
    flags.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="a film (.mp4, .mov, .mkv, .webm), an animation (.gif, .png, .webp), or a new folder",
    )
    flags.add_argument(
        "--style", required=True, metavar="NAME_OR_FILE", help="see `fst list`; or a style file"
    )
    add_pass_flags(flags)
    flags.add_argument(
        "--steady",
        action="store_true",
        help="no flicker: blend each frame with the last one, moved along by optical flow (OpenCV)",
    )
    flags.add_argument(
        "--score",
        action="store_true",
        help=f"how much it flickers, on clips made of the first {SCORED} photos of folder IN",
    )
    flags.add_argument(
        "--camera",
        nargs="?",
        const="0",
        metavar="CAMERA",
        help="from a camera, until Ctrl-C or --end: its number (default 0), or its device (OpenCV)",
    )
    flags.add_argument("--start", metavar="TIME", help="begin here: seconds, or MINUTES:SECONDS")
    flags.add_argument("--end", metavar="TIME", help="end before this")
    flags.add_argument(
        "--codec", metavar="NAME", help=f"{', '.join(CODECS)} (default h264; vp9 in .webm)"
    )
    flags.add_argument(
        "--crf", type=int, help="quality, lower is better (default 20 for h264; see docs/video.md)"
    )
    flags.add_argument(
        "--rate", default="25", help="frames a second, of a folder of frames (default 25)"
    )
    flags.add_argument("--quality", type=int, default=90, help="of animated WebP (default 90)")
    flags.add_argument(
        "--force", action="store_true", help="replace what is there, and parts of other settings"
    )
    return flags


def rate_of(text: str) -> Fraction:
    """'24' or '30000/1001' -> frames a second."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise FstError(f"--rate {text} is no number of frames a second, such as 24 or 30000/1001")
    return rate


def seconds(flag: str, text: str | None) -> Fraction | None:
    """'12.5' or '1:02:03.5' -> seconds."""
    if text is None:
        return None
    try:
        total = Fraction(0)
        for part in text.split(":"):
            total = 60 * total + Fraction(part)
    except (ValueError, ZeroDivisionError):
        raise FstError(f"{flag} {text} is no time; give seconds, or MINUTES:SECONDS") from None
    if total < 0:
        raise FstError(f"{flag} {text} is before the beginning")
    return total
