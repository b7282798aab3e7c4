"""fst stylize PHOTOS... --style NAME_OR_FILE: one forward pass a photo.

fst stylize photo.jpg --style great_wave
fst stylize holiday/ --style great_wave -o painted/
"""

from __future__ import annotations

import argparse
import sys
import time

from fst.errors import FstError
from fst.inference.backends import BACKENDS, PRECISIONS
from fst.inference.photo_jobs import Limits, plan, stylize_files
from fst.inference.stylizer import Stylizer
from fst.nets.style_card import TRUST_HELP, cards_trusted, read_card
from fst.nets.style_file import MIN_SIDE
from fst.nets.style_names import find_style, style_label
from fst.system.console import Parser, shown_in_line
from fst.system.machine import keep_freed_memory


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
    path = find_style(options.style)
    read_card(path)
    jobs, refused = plan(options.photos, options.output, style_label(options.style, path))
    for sentence in refused:
        _complain(sentence)
    stylizer = Stylizer(
        path,
        device=options.device,
        backend=options.backend,
        precision=options.precision,
        say=_complain,
    )
    backend = stylizer.backend
    if (backend.name, backend.device) == ("torch", "cpu"):
        keep_freed_memory()  # the others gain nothing by it
    print(f"backend {backend.name} on {backend.device} in {backend.precision}", flush=True)
    limits = Limits(size=options.size, quality=options.quality, force=options.force)
    start, failed = time.monotonic(), len(refused)
    parts = dict.fromkeys(("reading", "stylizing", "writing"), 0.0)
    for number, done in enumerate(stylize_files(stylizer, jobs, limits, _complain), 1):
        if done.error is not None:
            failed += 1
            sentence = str(done.error)
            named = str(done.item.photo) in sentence
            _complain(sentence if named else f"{done.item.photo}: {sentence}")
            continue
        for part, seconds in zip(parts, (done.read_s, done.work_s, done.write_s), strict=True):
            parts[part] += seconds
        count = f"[{number}/{len(jobs)}] " if len(jobs) > 1 else ""
        line = shown_in_line(f"{done.item.photo} -> {done.result}")
        print(f"{count}{line} ({done.seconds:.1f} s)", flush=True)
    if len(jobs) > 1:
        took = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in parts.items())
        print(
            f"{len(jobs) + len(refused) - failed} photos stylized, {failed} failed, in "
            f"{time.monotonic() - start:.1f} s ({took}, side by side)"
        )
    return 1 if failed else 0


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
    parser.add_argument("--size", type=int, metavar="PX", help="resize to this shorter side first")
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
    parser.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
    return parser
