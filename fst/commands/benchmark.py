"""fst benchmark: every figure of BENCHMARKS.md, as a table and as JSON lines.

fst benchmark                         # all parts on the CPU, about half an hour
fst benchmark --only step --json rows.jsonl
fst benchmark --quick                 # a minute, small sizes; exit code 1 if a ratio is lost
fst benchmark --device cuda           # the parts for a GPU; docs/gpu.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fst.benchmark.report import plot_passes, tables
from fst.errors import FstError
from fst.nets.style_card import TRUST_HELP, cards_trusted
from fst.system.console import Parser
from fst.system.files import make_folder, write_whole
from fst.system.installed import require_torch

PARTS = ("step", "loading", "pass", "megapixels", "folder", "start")
DEVICE_PARTS = ("machine", "count", "step", "profile", "pass", "folder")
PHOTO_PARTS = {"loading", "folder", "start"}  # that need photos
PLOTS = (".png", ".svg", ".pdf")
SAMPLES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    require_torch("fst benchmark")
    known = PARTS if options.device is None else DEVICE_PARTS
    parts = known if options.only is None else tuple(options.only.split(","))
    unknown = [part for part in parts if part not in known]
    if unknown:
        raise FstError(f"--only {unknown[0]} is unknown; use some of {','.join(known)}")
    photos = find_photos(options.photos) if PHOTO_PARTS & {*parts} else []
    for file in (options.json, options.markdown, options.plot):
        if file is not None:  # known before all is measured
            make_folder(file.parent)
    if options.plot is not None and options.plot.suffix not in PLOTS:
        raise FstError(f"--plot {options.plot} must end in one of {', '.join(PLOTS)}")
    if options.plot is not None and "megapixels" not in parts:
        raise FstError("--plot needs the part megapixels; add it to --only")
    from fst.benchmark.parts import benchmark_cpu, benchmark_device, lost_ratios

    with cards_trusted(options.trust_card):
        if options.device is not None:
            benchmark_device(options, photos, parts)
            return 0
        rows = benchmark_cpu(options, photos, parts)
    if options.markdown is not None:
        write_whole(options.markdown, tables(rows).encode())
    if options.plot is not None:
        write_whole(options.plot, plot_passes(rows, options.plot.suffix[1:]))
    lost = lost_ratios(rows) if options.quick else []
    for sentence in lost:
        print(f"fst benchmark: {sentence}", file=sys.stderr)
    return 1 if lost else 0


def find_photos(folder: Path | None) -> list[Path]:
    """The photos of a folder, or those of scikit-image; ``FstError`` if there are none."""
    if folder is not None:
        from fst.data.photo_files import list_photos

        return list_photos(folder, key="--photos")
    from fst.system.paths import sample_photo

    return [sample_photo(name) for name in SAMPLES]


def number(word: str) -> int:
    """A whole number of 1 or more, of an option."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"'{word}' is not a whole number of 1 or more")
    return int(word)


def numbers(words: str) -> list[int]:
    """Several of them: ``512,1024``."""
    return [number(word) for word in words.split(",")]


def millions(words: str) -> list[float]:
    """Numbers of megapixels: ``0.25,1,16``."""
    try:
        found = [float(word) for word in words.split(",")]
    except ValueError:
        found = [0.0]
    if not all(0.001 <= value <= 10_000 for value in found):
        raise argparse.ArgumentTypeError(f"'{words}' is not like 0.25,1,16")
    return found


def widths_and_heights(words: str) -> list[tuple[int, int]]:
    """Widths and heights in pixels: ``512x512,1920x1080``."""
    shapes = [tuple(map(number, word.split("x"))) for word in words.split(",")]
    if any(len(shape) != 2 for shape in shapes):
        raise argparse.ArgumentTypeError(f"'{words}' is not like 512x512,1920x1080")
    return [(width, height) for width, height in shapes]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="fst benchmark",
        description="Time training, loading and stylizing against a plain version of the same.",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes; checks the ratios")
    parser.add_argument("--only", metavar="PARTS", help=f"some of {','.join(PARTS)}")
    gpu = parser.add_argument_group(f"for a GPU; the parts are then {','.join(DEVICE_PARTS)}")
    gpu.add_argument("--device", help="cuda, cuda:1, or cpu to try these parts")
    gpu.add_argument("--batches", type=numbers, default="4,16,64", help="of a training step")
    gpu.add_argument("--calls", type=number, default=20, help="steps that are timed as one")
    shapes = "512x512,1920x1080,3840x2160"
    gpu.add_argument("--shapes", type=widths_and_heights, default=shapes, help="of single passes")
    gpu.add_argument("--photos-at-once", type=numbers, default="1,8", help="of single passes")
    gpu.add_argument("--eager", action="store_true", help="leave out all that must be compiled")
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="default: scikit-image's four"
    )
    parser.add_argument("--count", type=number, default=100, help="of photos in the folder")
    parser.add_argument("--style", default="great_wave", help="of the folder and the start")
    parser.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
    parser.add_argument("--size", type=number, default=256, help="of a training step")
    parser.add_argument("--batch", type=number, default=4, help="of a training step")
    parser.add_argument("--width", type=number, default=32, help="of the net in a single pass")
    parser.add_argument("--sizes", type=numbers, default="256,512,1024", help="of single passes")
    parser.add_argument(
        "--megapixels",
        type=millions,
        default="0.25,0.5,1,2,4,8,16",
        help="of the part of that name",
    )
    parser.add_argument("--repetitions", type=number, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE", help="one line a row")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="time and peak memory by megapixels"
    )
    return parser
