"""fst stylize PHOTOS... --style NAME_OR_FILE: one forward pass a photo.

fst stylize photo.jpg --style great_wave
fst stylize holiday/ --style great_wave -o painted/
fst stylize holiday/ --style great_wave -o painted/ --skip-existing  # goes on where it ended
fst stylize photo.jpg --style great_wave --strength 0.7 --keep-colors 1
fst stylize photo.jpg --style base --blend udnie=0.6 dots=0.4
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fst.errors import FstError
from fst.inference.backends import BACKENDS, PRECISIONS
from fst.inference.controls import ALPHA, Controls, read_mask
from fst.inference.job_choice import parse_shard, without_results
from fst.inference.overlap import Outcome
from fst.inference.photo_jobs import Job, Limits, plan, stylize_files
from fst.inference.stylizer import Stylizer
from fst.nets.blend import blend_label, parse_blend, read_blend, require_unnamed
from fst.nets.style_card import TRUST_HELP, cards_trusted, read_card
from fst.nets.style_file import MIN_SIDE
from fst.nets.style_names import find_file, find_style, style_label
from fst.system.console import Parser, shown_in_line
from fst.system.machine import keep_freed_memory
from fst.system.progress import ProgressLine

LINES_OF_PHOTOS = 10  # more than these are told on one line that moves, on a terminal


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    with cards_trusted(options.trust_card):
        return _stylize(options)


def _stylize(options: argparse.Namespace) -> int:
    if not 1 <= options.quality <= 100:
        raise FstError(f"--quality {options.quality} is not in 1 .. 100")
    if options.size is not None and options.size < MIN_SIDE:
        raise FstError(
            f"--size {options.size} is smaller than {MIN_SIDE} px; give the shorter side"
        )
    if options.force and options.skip_existing:
        raise FstError("--force and --skip-existing contradict each other; leave one of them out")
    shard = None if options.shard is None else parse_shard(options.shard)
    controls = _controls(options)
    blend = None if options.blend is None else parse_blend(options.blend)
    path, label = _style(options.style, blend)
    planned, refused = plan(options.photos, options.output, label)
    for sentence in refused:
        _complain(sentence)
    jobs = planned if shard is None else shard.of(planned)
    if shard is not None:
        print(f"shard {options.shard}: {len(jobs)} of {len(planned)} photos", flush=True)
    if options.skip_existing:
        missing = without_results(jobs, planned)
        if len(missing) < len(jobs):
            print(f"{len(jobs) - len(missing)} photos skipped: their results are there", flush=True)
        jobs = missing
    if not jobs:  # and so no style is loaded
        return 1 if refused else 0
    stylizer = Stylizer(
        path,
        device=options.device,
        backend=options.backend,
        precision=options.precision,
        say=_complain,
        styles=blend,
    )
    backend = stylizer.backend
    if (backend.name, backend.device) == ("torch", "cpu"):
        keep_freed_memory()  # the others gain nothing by it
    print(f"backend {backend.name} on {backend.device} in {backend.precision}", flush=True)
    limits = Limits(options.size, options.quality, options.force, controls)
    many = len(jobs) > LINES_OF_PHOTOS and sys.stdout.isatty() and sys.stderr.isatty()
    progress = ProgressLine(len(jobs), "photos") if many else None
    start = time.monotonic()
    try:
        outcomes = partial(stylize_files, stylizer, jobs, limits, among=planned)
        failed, parts = _told(outcomes, len(jobs), progress)
    finally:
        if progress is not None:
            progress.close()
    failed += len(refused)
    if len(jobs) > 1:
        took = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in parts.items())
        print(
            f"{len(jobs) + len(refused) - failed} photos stylized, {failed} failed, in "
            f"{time.monotonic() - start:.1f} s ({took}, side by side)"
        )
    return 1 if failed else 0


def _told(
    outcomes: Callable[[Callable[[str], None]], Iterator[Outcome[Job, Path]]],
    many: int,
    progress: ProgressLine | None,
) -> tuple[int, dict[str, float]]:
    """Print what becomes of each photo, or tell of all in one line that moves.

    Returns how many failed, and the seconds of each part of the work.
    """

    def complain(sentence: str) -> None:
        if progress is None:
            _complain(sentence)
        else:
            progress.aside(lambda: _complain(sentence))

    failed, parts = 0, dict.fromkeys(("reading", "stylizing", "writing"), 0.0)
    for number, done in enumerate(outcomes(complain), 1):
        if progress is not None:
            progress.advance()
        if done.error is not None:
            failed += 1
            sentence = str(done.error)
            named = str(done.item.photo) in sentence
            complain(sentence if named else f"{done.item.photo}: {sentence}")
            continue
        for part, seconds in zip(parts, (done.read_s, done.work_s, done.write_s), strict=True):
            parts[part] += seconds
        if progress is None:
            count = f"[{number}/{many}] " if many > 1 else ""
            line = shown_in_line(f"{done.item.photo} -> {done.result}")
            print(f"{count}{line} ({done.seconds:.1f} s)", flush=True)
    return failed, parts


def _controls(options: argparse.Namespace) -> Controls:
    """Of the flags; a mask file is read once, for all photos."""
    mask = options.mask
    return Controls(
        strength=options.strength,
        keep_colors=options.keep_colors,
        mask=mask if mask in (None, ALPHA) else read_mask(mask),
        stroke=options.stroke,
    )


def _stroke(word: str) -> int | str:
    return int(word) if word.isdecimal() else word


def _style(style: str, blend: dict[str, float] | None) -> tuple[Path, str]:
    """Where a style is, and what its results are called after."""
    if blend is None:
        path = find_style(style)
        read_card(path)
        return path, style_label(style, path)
    path = find_file(style)
    require_unnamed(path)
    read_blend(path, blend)
    return path, blend_label(blend)


def _complain(sentence: str) -> None:
    print(f"fst stylize: {shown_in_line(sentence)}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="fst stylize", description="Stylize photos in one forward pass each.")
    parser.add_argument(
        "photos", nargs="+", metavar="PHOTO", help="files, folders (recursively) or globs"
    )
    parser.add_argument(
        "--style", required=True, metavar="NAME_OR_FILE", help="see `fst list`; or a style file"
    )
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="file or folder; default PHOTO_STYLE.jpg here"
    )
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="0..1",
        help="how much of the picture, and how much of the photo: a mix of their pixels (default "
        "1, the picture alone). The strength that a net paints with is training's style.strength",
    )
    parser.add_argument(
        "--keep-colors",
        type=float,
        default=0.0,
        metavar="0..1",
        help="how much of the photo's colors, under the picture's light and dark (default 0)",
    )
    parser.add_argument(
        "--mask",
        metavar="FILE|alpha",
        help="a picture of the photo's shape: white is stylized, black stays the photo; or alpha, "
        "the photo's own transparency",
    )
    parser.add_argument(
        "--blend",
        nargs="+",
        metavar="NAME=0.6",
        help="between paintings of one net: --style base --blend udnie=0.6 dots=0.4",
    )
    parser.add_argument("--size", type=int, metavar="PX", help="resize to this shorter side first")
    parser.add_argument(
        "--stroke",
        type=_stroke,
        metavar="PX|auto",
        help="strokes as large in the picture as on a photo of this shorter side, whatever the "
        "size; auto: as of 1000 px on larger photos",
    )
    parser.add_argument("--quality", type=int, default=95, help="of JPEG and WebP (default 95)")
    parser.add_argument("--device", default="auto", help="auto (default), cuda, mps or cpu")
    parser.add_argument(
        "--backend",
        default="auto",
        choices=BACKENDS,
        help="auto (default) is the fastest that is installed; "
        "one that is not is answered with the command that brings it",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=PRECISIONS,
        help="exact is float32; fast is bfloat16, in OpenVINO on a processor that has it, and "
        "float16 on a GPU; auto (default) is fast where nobody would see it, by the style's card",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    parser.add_argument(
        "--skip-existing", action="store_true", help="leave out photos whose results are there"
    )
    parser.add_argument(
        "--shard", metavar="I/N", help="only every N-th photo, from the I-th: one of N processes"
    )
    parser.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
    return parser
