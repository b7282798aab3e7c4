"""fst stylize PHOTOS... --style NAME_OR_FILE: one forward pass a photo.

fst stylize photo.jpg --style great_wave
fst stylize holiday/ --style great_wave -o painted/
fst stylize holiday/ --style great_wave -o painted/ --skip-existing  # goes on where it ended
fst stylize photo.jpg --style great_wave --strength 0.7 --keep-colors 1
fst stylize photo.jpg --style base --blend udnie=0.6 dots=0.4
fst stylize photo.jpg --style all --sheet
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fst.commands.stylize_flags import controls, most_pixels, parser, tiling
from fst.commands.tiles_told import TilesTold
from fst.errors import FstError
from fst.inference.chosen_styles import ChosenStyle, chosen_styles
from fst.inference.job_choice import parse_shard, without_results
from fst.inference.overlap import Outcome
from fst.inference.photo_jobs import Job, Limits, plan, require_folder, stylize_files
from fst.inference.style_sheet import SHEET, StyleSheets, sheet_jobs
from fst.inference.stylizer import Stylizer
from fst.nets.blend import parse_blend
from fst.nets.style_card import cards_trusted
from fst.nets.style_file import MIN_SIDE
from fst.pictures.image import Picture
from fst.system.console import shown_in_line
from fst.system.machine import keep_freed_memory
from fst.system.progress import ProgressLine

LINES_OF_PHOTOS = 10  # more than these are told on one line that moves, on a terminal


def main(argv: list[str] | None = None) -> int:
    options = parser().parse_args(argv)
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
    limits = Limits(
        options.size, options.quality, options.force, controls(options), most_pixels(options)
    )
    blend = None if options.blend is None else parse_blend(options.blend)
    styles = chosen_styles(options.style, blend)
    if len(styles) > 1 and not options.sheet:
        require_folder(options.output, f"{len(styles)} styles")
    labels = [SHEET] if options.sheet else [style.label for style in styles]
    plans = [_plan(options, label) for label in labels]  # before there are results among the photos
    refused = plans[0].refused
    for sentence in refused:
        _complain(sentence)
    if options.sheet:
        return 1 if _sheets(options, styles, plans[0], limits) or refused else 0
    failed = len(refused)
    for style, planned in zip(styles, plans, strict=True):
        failed += len(_with_style(options, style, planned, limits))
    return 1 if failed else 0


class Planned(NamedTuple):
    """The photos of a style, those of them that are this process's turn, and what is refused."""

    every: list[Job]
    jobs: list[Job]
    refused: list[str]


def _plan(options: argparse.Namespace, label: str) -> Planned:
    shard = None if options.shard is None else parse_shard(options.shard)
    every, refused = plan(options.photos, options.output, label)
    if options.sheet:
        every = sheet_jobs(every)
    jobs = every if shard is None else shard.of(every)
    if shard is not None:
        print(f"shard {options.shard}: {len(jobs)} of {len(every)} photos", flush=True)
    if options.skip_existing:
        missing = without_results(jobs, every)
        if len(missing) < len(jobs):
            print(f"{len(jobs) - len(missing)} photos skipped: their results are there", flush=True)
        jobs = missing
    return Planned(every, jobs, refused)


def _sheets(
    options: argparse.Namespace, styles: Sequence[ChosenStyle], planned: Planned, limits: Limits
) -> int:
    """Write a sheet for each photo; how many have none, or one without all styles."""
    sheets, failed = StyleSheets(), set[Job]()
    for style in styles:
        rest = [job for job in planned.jobs if job not in failed]

        def add(target: Path, picture: Picture, name: str = style.label) -> Path:
            sheets.add(target, picture, name)
            return Path(name)

        failed |= {*_with_style(options, style, planned._replace(jobs=rest), limits, add)}
    for job in planned.jobs:
        path = sheets.write(job, quality=limits.quality)
        if path is not None:
            print(shown_in_line(f"{job.photo} -> {path}"), flush=True)
    return len(failed)


def _with_style(
    options: argparse.Namespace,
    style: ChosenStyle,
    planned: Planned,
    limits: Limits,
    write: Callable[[Path, Picture], Path] | None = None,
) -> list[Job]:
    """Stylize the photos that are planned; those that failed."""
    jobs = planned.jobs
    if not jobs:  # and so no style is loaded
        return []
    on_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    many = len(jobs) > LINES_OF_PHOTOS and on_terminal
    stylizer = Stylizer(
        style.path,
        device=options.device,
        backend=options.backend,
        precision=options.precision,
        say=_complain,
        styles=style.blend,
        watch=TilesTold(moving=on_terminal and not many),
        **tiling(options),
    )
    backend = stylizer.backend
    if (backend.name, backend.device) == ("torch", "cpu"):
        keep_freed_memory()  # the others gain nothing by it
    print(f"backend {backend.name} on {backend.device} in {backend.precision}", flush=True)
    progress = ProgressLine(len(jobs), "photos") if many else None
    start = time.monotonic()
    try:
        outcomes = partial(stylize_files, stylizer, jobs, limits, among=planned.every, write=write)
        failed, parts = _told(outcomes, len(jobs), progress)
    finally:
        if progress is not None:
            progress.close()
    if len(jobs) > 1:
        took = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in parts.items())
        print(
            f"{len(jobs) - len(failed)} photos stylized, {len(failed) + len(planned.refused)} "
            f"failed, in {time.monotonic() - start:.1f} s ({took}, side by side)"
        )
    return failed


def _told(
    outcomes: Callable[[Callable[[str], None]], Iterator[Outcome[Job, Path]]],
    many: int,
    progress: ProgressLine | None,
) -> tuple[list[Job], dict[str, float]]:
    """Print what becomes of each photo, or tell of all in one line that moves.

    Returns those that failed, and the seconds of each part of the work.
    """

    def complain(sentence: str) -> None:
        if progress is None:
            _complain(sentence)
        else:
            progress.aside(lambda: _complain(sentence))

    failed: list[Job] = []
    parts = dict.fromkeys(("reading", "stylizing", "writing"), 0.0)
    for number, done in enumerate(outcomes(complain), 1):
        if progress is not None:
            progress.advance()
        if done.error is not None:
            failed.append(done.item)
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


def _complain(sentence: str) -> None:
    print(f"fst stylize: {shown_in_line(sentence)}", file=sys.stderr, flush=True)
