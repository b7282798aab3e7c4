"""fst video IN -o OUT --style NAME_OR_FILE: every frame of a moving picture in one pass each.

fst video holiday.mp4 -o painted.mp4 --style great_wave
fst video holiday.mp4 -o painted.mp4 --style great_wave --size 360 --start 2 --end 8
fst video cat.gif -o painted.gif --style woodcut
fst video frames/ -o painted.mp4 --style udnie --rate 24
fst video --camera -o painted.mp4 --style udnie --size 240  # until Ctrl-C
fst video photos/ --score --style udnie  # how much it flickers, plain and --steady

What is stopped goes on with the same command, and has the same bytes in the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fst.commands.video_flags import parser, rate_of, seconds
from fst.commands.video_score import print_score
from fst.errors import FstError
from fst.inference.controls import Controls
from fst.inference.stylizer import Stylizer
from fst.nets.style_card import cards_trusted
from fst.nets.style_file import MIN_SIDE
from fst.pictures.image import from_array, resize_shorter, scaled_size, to_array
from fst.system.console import shown_in_line
from fst.system.machine import keep_freed_memory
from fst.system.paths import user_path
from fst.system.progress import ProgressLine
from fst.video.camera_source import CameraSource
from fst.video.film_codec import ANY_ASPECT, Encoding, encoding_of
from fst.video.film_source import FilmSource, require_pyav
from fst.video.frames import EVEN, FilmInfo, Parts, Source
from fst.video.picture_parts import FORMATS, PictureParts
from fst.video.picture_source import ANIMATED, AnimationSource, FolderSource
from fst.video.steady import SteadyParts, require_opencv
from fst.video.stylized_film import kept_parts, stylized

EVERY = 10.0  # seconds between lines where there is no terminal


def main(argv: list[str] | None = None) -> int:
    options = parser().parse_args(argv)
    with cards_trusted(options.trust_card):
        return _video(options)


def _video(options: argparse.Namespace) -> int:
    path = _named(options)
    if options.score:
        assert path is not None
        print_score(path, options.size, lambda: _stylizer(options), _complain)
        return 0
    if options.output is None:
        raise FstError("say where the result goes with -o OUT")
    if options.size is not None and options.size < MIN_SIDE:
        raise FstError(f"--size {options.size} is smaller than {MIN_SIDE} px")
    controls = Controls(
        strength=options.strength, keep_colors=options.keep_colors, stroke=options.stroke
    )
    if options.steady:
        require_opencv("--steady")
    start, end = seconds("--start", options.start), seconds("--end", options.end)
    if start is not None and end is not None and end <= start:
        raise FstError(f"--end {options.end} is not after --start {options.start}")
    output = user_path(options.output)
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
                with _ended_by_ctrl_c(source):
                    _frames(source, parts, stylizer, controls, options.size, start, end)
            except BaseException:
                _complain(f"what is done is kept in {folder}; the same command goes on with it")
                raise
            left_out = parts.finish()
    finally:
        source.close()
    print(shown_in_line(f"{path or 'camera'} -> {output}"))
    if isinstance(source, CameraSource) and source.missed:
        print(f"{source.missed} frames came while others were painted, and are not in it")
    for sentence in left_out:
        print(sentence)
    for sentence in source.trouble:
        _complain(sentence)
    return 1 if source.trouble else 0


def _named(options: argparse.Namespace) -> Path | None:
    """What is to be painted; None for a camera."""
    if options.camera is None:
        if options.film is None:
            raise FstError("say what to paint: a film, an animation, a folder; or use --camera")
        return user_path(options.film)
    if options.film is not None:
        raise FstError(f"--camera and {options.film} are two sources; leave one out")
    for flag, given in (("--score", options.score), ("--start", options.start)):
        if given:
            raise FstError(f"{flag} is not for a camera; leave it or --camera out")
    return None


@contextlib.contextmanager
def _ended_by_ctrl_c(source: Source) -> Iterator[None]:
    """Ctrl-C ends a camera's film in good order; a second one is as anywhere."""
    if not isinstance(source, CameraSource) or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        source.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stylizer(options: argparse.Namespace) -> Stylizer:
    return Stylizer(
        options.style,
        device=options.device,
        backend=options.backend,
        precision=options.precision,
        say=_complain,
    )


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


def _checked_output(
    path: Path | None, output: Path, options: argparse.Namespace
) -> Encoding | None:
    """How a film is to be encoded; None for pictures."""
    if path is not None and os.path.realpath(path) == os.path.realpath(output):
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


def _opened(path: Path | None, options: argparse.Namespace, encoding: Encoding | None) -> Source:
    if path is None:
        return CameraSource(options.camera, options.size)
    if path.is_dir():
        return FolderSource(path, rate_of(options.rate))
    if path.suffix.lower() in ANIMATED:
        return AnimationSource(path)
    square = encoding is None or encoding.codec not in ANY_ASPECT
    return FilmSource(path, options.size, square=square)


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
    path: Path | None, options: argparse.Namespace, stylizer: Stylizer, encoding: Encoding | None
) -> dict[str, Any]:
    """All that the bytes of the result depend on."""
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
        **_film(path),
        "style": stylizer.card.name,
        "weights": stylizer.card.sha256,
        "backend": f"{stylizer.backend.name} {stylizer.backend.precision}",
        "encoding": None if encoding is None else asdict(encoding),
        **{name: getattr(options, name) for name in given},
    }


def _film(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {"film": "camera"}
    status = path.stat()
    return {
        "film": os.path.realpath(path),
        "film_bytes": status.st_size,
        "film_changed": status.st_mtime_ns,
    }


def _parts(
    output: Path,
    folder: Path,
    info: FilmInfo,
    encoding: Encoding | None,
    path: Path | None,
    start: Fraction | None,
    end: Fraction | None,
    options: argparse.Namespace,
) -> Parts:
    if encoding is None:
        return PictureParts(output, folder, info, options.quality, start or Fraction(0))
    from fst.video.film_parts import FilmParts
    from fst.video.film_sound import Copied

    silent = path is None or path.is_dir() or path.suffix.lower() in ANIMATED
    sound = Copied(None if silent else path, start, end)
    return FilmParts(output, folder, info, encoding, sound, start=start or Fraction(0))


def _complain(sentence: str) -> None:
    print(f"fst video: {shown_in_line(sentence)}", file=sys.stderr, flush=True)
