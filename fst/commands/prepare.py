"""fst prepare PHOTOS -o CACHE: photos made small once, so that training loads them faster.

fst prepare photos/ -o photos_320/
fst train style.image=painting.jpg data.root=photos_320/
"""

from __future__ import annotations

import argparse
import sys
import time

from fst.data.prepared_folder import INDEX, cached_photos, prepare
from fst.errors import FstError
from fst.nets.style_file import MIN_SIDE
from fst.system.console import Parser
from fst.system.machine import cpu_threads
from fst.system.paths import user_path

SIZE = 320  # pixels: crops of 0.75 to 1 times this, at 256 px, are hardly enlarged


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.size < MIN_SIDE:
        raise FstError(
            f"--size {options.size} is smaller than {MIN_SIDE} px; give the shorter side"
        )
    photos, cache = user_path(options.photos), user_path(options.output)
    spoken = time.monotonic()

    def say(done: int, of: int) -> None:
        nonlocal spoken
        if time.monotonic() - spoken > 5:
            spoken = time.monotonic()
            print(f"{done} of {of} photos", flush=True)

    start = time.monotonic()
    report = prepare(
        photos, cache, size=options.size, threads=cpu_threads(), check=options.check, say=say
    )
    for path, reason in report.unreadable:
        named = str(path) in reason
        print(f"fst prepare: {reason if named else f'{path}: {reason}'}", file=sys.stderr)
    files = cached_photos(cache)
    size = sum(path.stat().st_size for path in files)
    each = f", {size / len(files) / 1e3:.0f} KB each" if files else ""
    print(
        f"{report.made} photos prepared in {time.monotonic() - start:.1f} s, {report.kept} were "
        f"there, {report.dropped} removed, {len(report.unreadable)} cannot be read"
    )
    print(f"{cache / INDEX}: {len(files)} photos, {size / 1e6:.1f} MB{each}")
    if files:
        print(f'train on them with data.root="{cache}"')
    return 1 if report.unreadable else 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="fst prepare",
        description="Make photos small once, so that training loads them faster. Given again, it "
        "resumes where it was and makes again what has changed.",
    )
    parser.add_argument("photos", metavar="PHOTOS", help="a folder, searched recursively")
    parser.add_argument("-o", "--output", metavar="CACHE", required=True, help="a new folder")
    parser.add_argument(
        "--size", type=int, default=SIZE, metavar="PX", help=f"shorter side (default {SIZE})"
    )
    parser.add_argument(
        "--check", action="store_true", help="read what is there and make again what is damaged"
    )
    return parser
