"""fst video IN -o OUT --style NAME_OR_FILE: every frame of a moving picture in one pass each.

fst video holiday.mp4 -o painted.mp4 --style great_wave
fst video holiday.mp4 -o painted.mp4 --style great_wave --size 360 --start 2 --end 8
fst video cat.gif -o painted.gif --style woodcut
fst video frames/ -o painted.mp4 --style udnie --rate 24
fst video photos/ --score --style udnie  # how much it flickers, plain and --steady

What is stopped goes on with the same command, and has the same bytes in the end.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageOps

from fst.commands.pass_flags import add_pass_flags
from fst.errors import FstError
from fst.inference.controls import Controls
from fst.inference.stylizer import Stylizer
from fst.nets.style_card import cards_trusted
from fst.nets.style_file import MIN_SIDE
from fst.pictures.image import from_array, read_picture, resize_shorter, scaled_size, to_array
from fst.pictures.opening import find_pictures
from fst.system.console import Parser, shown_in_line
from fst.system.machine import keep_freed_memory
from fst.system.paths import user_path
from fst.system.progress import ProgressLine
from fst.video.film_codec import ANY_ASPECT, CODECS, Encoding, encoding_of
from fst.video.film_source import FilmSource, require_pyav
from fst.video.frames import EVEN, FilmInfo, Parts, Source
from fst.video.picture_parts import FORMATS, PictureParts
from fst.video.picture_source import ANIMATED, AnimationSource, FolderSource
from fst.video.steady import SteadyParts, require_opencv
from fst.video.stylized_film import kept_parts, stylized

SCORED = 6  # photos
SCORE_SIZE = 256  # px
EVERY = 10.0  # seconds between lines where there is no terminal


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    with cards_trusted(options.trust_card):
        return _video(options)


def _video(options: argparse.Namespace) -> int:
    if options.score:
        return _score(options)
    if options.output is None:
        raise FstError("say where the result goes with -o OUT")
    if options.size is not None and options.size < MIN_SIDE:
        raise FstError(f"--size {options.size} is smaller than {MIN_SIDE} px")
    controls = Controls(
        strength=options.strength, keep_colors=options.keep_colors, stroke=options.stroke
    )
    if options.steady:
        require_opencv()
    start, end = _seconds("--start", options.start), _seconds("--end", options.end)
    if start is not None and end is not None and end <= start:
        raise FstError(f"--end {options.end} is not after --start {options.start}")
    path, output = user_path(options.film), user_path(options.output)
    encoding = _checked_output(path, output, options)
    source = _opened(path, options, encoding)
    try:
        stylizer = _stylizer(options)
        info = _sized(source.info, options.size, film=encoding is not None)
        _tell(stylizer, source.info, info)
        settings = _settings(path, options, stylizer, encoding)
        with kept_parts(output, settings, force=options.force) as folder:
            parts: Parts = _parts(output, folder, info, encoding, path, start, end, options)
            if options.steady:
                parts = SteadyParts(parts, folder)
            if parts.kept:
                print(f"going on after {parts.kept} frames that are done", flush=True)
            try:
                _frames(source, parts, stylizer, controls, options.size, start, end)
            except BaseException:
                _complain(f"what is done is kept in {folder}; the same command goes on with it")
                raise
            left_out = parts.finish()
    finally:
        source.close()
    print(shown_in_line(f"{path} -> {output}"))
    for sentence in left_out:
        print(sentence)
    for sentence in source.trouble:
        _complain(sentence)
    return 1 if source.trouble else 0


def _stylizer(options: argparse.Namespace) -> Stylizer:
    return Stylizer(
        options.style,
        device=options.device,
        backend=options.backend,
        precision=options.precision,
        say=_complain,
    )


def _score(options: argparse.Namespace) -> int:
    """Print how much a style flickers on clips that are made of photos, plain and steady."""
    require_opencv()
    from fst.video.score import MARGIN, score, table

    folder = user_path(options.film)
    found = sorted(find_pictures(folder, lambda error: _complain(str(error))))[:SCORED]
    if not folder.is_dir() or len(found) < 2:
        raise FstError(f"--score needs a folder of two photos or more, which {folder} is not")
    stylizer = _stylizer(options)
    side = (options.size or SCORE_SIZE) + 2 * MARGIN
    photos = [np.asarray(ImageOps.fit(read_picture(path).rgb, (side, side))) for path in found]
    plain, steady = score(stylizer.pixels, photos)
    print(f"{len(photos)} photos of {side - 2 * MARGIN} px, {stylizer.backend.name}")
    for line in table({stylizer.name: plain, f"{stylizer.name}, --steady": steady}):
        print(line)
    return 0


def _frames(
    source: Source,
    parts: Parts,
    stylizer: Stylizer,
    controls: Controls,
    size: int | None,
    start: Fraction | None,
    end: Fraction | None,
) -> None:
    """Do them all, and tell of it."""

    def paint(pixels: np.ndarray) -> np.ndarray:
        if size is not None and size != min(pixels.shape[2:]):
            pixels = to_array(resize_shorter(from_array(pixels), size))
        return stylizer.pixels(pixels, controls)

    whole = source.info.frames or 0
    if source.info.seconds and whole:
        from_, to = float(start or 0), min(float(end or 1e9), source.info.seconds)
        whole = round(whole * max(to - from_, 0) / source.info.seconds)
    progress = ProgressLine(max(whole - parts.kept, 1), "frames") if sys.stderr.isatty() else None
    began = told = time.monotonic()
    done = 0
    try:
        for done in stylized(source, parts, paint, start, end):
            if progress is not None:
                progress.advance()
            elif time.monotonic() - told >= EVERY:
                told = time.monotonic()
                print(f"{parts.kept} frames kept, {done / (told - began):.1f} frames/s", flush=True)
    finally:
        if progress is not None:
            progress.close()
    seconds = time.monotonic() - began
    print(
        f"{done} frames in {seconds:.1f} s ({done / max(seconds, 1e-9):.1f} frames/s)", flush=True
    )


def _checked_output(path: Path, output: Path, options: argparse.Namespace) -> Encoding | None:
    """How a film is to be encoded; None for pictures."""
    if os.path.realpath(path) == os.path.realpath(output):
        raise FstError(f"{output} is the film itself; give another output with -o")
    if os.path.lexists(output) and not (options.force and not output.is_dir()):
        cure = "give another" if output.is_dir() else "use --force to replace it, or another"
        raise FstError(f"{output} exists already; {cure} with -o")
    suffix = output.suffix.lower()
    if suffix in FORMATS or not suffix:
        if options.codec or options.crf is not None:
            raise FstError(f"--codec and --crf are of films, and {output} is none; leave them out")
        return None
    require_pyav(f"writing {output}")
    return encoding_of(output, options.codec, options.crf)


def _opened(path: Path, options: argparse.Namespace, encoding: Encoding | None) -> Source:
    if path.is_dir():
        return FolderSource(path, _rate(options.rate))
    if path.suffix.lower() in ANIMATED:
        return AnimationSource(path)
    square = encoding is None or encoding.codec not in ANY_ASPECT
    return FilmSource(path, options.size, square=square)


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise FstError(f"--rate {text} is no number of frames a second, such as 24 or 30000/1001")
    return rate


def _seconds(flag: str, text: str | None) -> Fraction | None:
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


def _sized(info: FilmInfo, size: int | None, *, film: bool) -> FilmInfo:
    """Of the result: the shorter side at ``size``, even sides for a film."""
    width, height = scaled_size(info.width, info.height, size)
    if film:
        width, height = width // EVEN * EVEN, height // EVEN * EVEN
    return replace(info, width=width, height=height)


def _tell(stylizer: Stylizer, source: FilmInfo, made: FilmInfo) -> None:
    backend = stylizer.backend
    if (backend.name, backend.device) == ("torch", "cpu"):
        keep_freed_memory()
    print(f"backend {backend.name} on {backend.device} in {backend.precision}", flush=True)
    print(
        f"{made.width}x{made.height} px, {float(source.rate):.4g} frames/s on average", flush=True
    )


def _settings(
    path: Path, options: argparse.Namespace, stylizer: Stylizer, encoding: Encoding | None
) -> dict[str, Any]:
    """All that the bytes of the result depend on."""
    status = path.stat()
    given = (
        "size",
        "stroke",
        "strength",
        "keep_colors",
        "start",
        "end",
        "rate",
        "quality",
        "steady",
    )
    return {
        "film": os.path.realpath(path),
        "film_bytes": status.st_size,
        "film_changed": status.st_mtime_ns,
        "style": stylizer.card.name,
        "weights": stylizer.card.sha256,
        "backend": f"{stylizer.backend.name} {stylizer.backend.precision}",
        "encoding": None if encoding is None else asdict(encoding),
        **{name: getattr(options, name) for name in given},
    }


def _parts(
    output: Path,
    folder: Path,
    info: FilmInfo,
    encoding: Encoding | None,
    path: Path,
    start: Fraction | None,
    end: Fraction | None,
    options: argparse.Namespace,
) -> Parts:
    if encoding is None:
        return PictureParts(output, folder, info, options.quality, start or Fraction(0))
    from fst.video.film_parts import FilmParts
    from fst.video.film_sound import Copied

    sound = Copied(
        path if path.is_file() and path.suffix.lower() not in ANIMATED else None, start, end
    )
    return FilmParts(output, folder, info, encoding, sound, start=start or Fraction(0))


def _complain(sentence: str) -> None:
    print(f"fst video: {shown_in_line(sentence)}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="fst video", description="Stylize a moving picture, frame by frame.")
    parser.add_argument(
        "film", metavar="IN", help="a film, an animated GIF, PNG or WebP, or a folder of frames"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="a film (.mp4, .mov, .mkv, .webm), an animation (.gif, .png, .webp), or a new folder",
    )
    parser.add_argument(
        "--style", required=True, metavar="NAME_OR_FILE", help="see `fst list`; or a style file"
    )
    add_pass_flags(parser)
    parser.add_argument(
        "--steady",
        action="store_true",
        help="no flicker: blend each frame with the last one, moved along by optical flow (OpenCV)",
    )
    parser.add_argument(
        "--score",
        action="store_true",
        help=f"how much it flickers, on clips made of the first {SCORED} photos of folder IN",
    )
    parser.add_argument("--start", metavar="TIME", help="begin here: seconds, or MINUTES:SECONDS")
    parser.add_argument("--end", metavar="TIME", help="end before this")
    parser.add_argument(
        "--codec", metavar="NAME", help=f"{', '.join(CODECS)} (default h264; vp9 in .webm)"
    )
    parser.add_argument(
        "--crf", type=int, help="quality, lower is better (default 20 for h264; see docs/video.md)"
    )
    parser.add_argument(
        "--rate", default="25", help="frames a second, of a folder of frames (default 25)"
    )
    parser.add_argument("--quality", type=int, default=90, help="of animated WebP (default 90)")
    parser.add_argument(
        "--force", action="store_true", help="replace what is there, and parts of other settings"
    )
    return parser
