"""fst stylize PHOTOS... --style NAME_OR_FILE: one forward pass a photo.

fst stylize photo.jpg --style great_wave
fst stylize holiday/ --style great_wave -o painted/
"""

from __future__ import annotations

import argparse
import glob
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fst.backends import BACKENDS, EXPORT_PAYS_FROM
from fst.errors import FstError
from fst.image import (
    SAVE_FORMATS,
    Picture,
    find_pictures,
    picture_size,
    read_picture,
    save_picture,
)
from fst.memory import keep_freed_memory
from fst.overlap import Outcome, overlap
from fst.style_file import find_style, read_card, style_label
from fst.stylizer import Stylizer


@dataclass(frozen=True)
class Job:
    """One photo and where its result goes, without the suffix if that depends on the photo."""

    photo: Path
    target: Path
    suffix_given: bool


@dataclass(frozen=True)
class Limits:
    """What holds for every photo: the shorter side, if it is set, the quality, overwriting."""

    size: int | None
    quality: int
    force: bool


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if not 1 <= options.quality <= 100:
        raise FstError(f"--quality {options.quality} is not in 1 .. 100")
    if options.size is not None and options.size < 16:
        raise FstError(f"--size {options.size} is smaller than 16 px; give the shorter side")
    path = find_style(options.style)
    read_card(path)
    jobs, refused = plan(options.photos, options.output, style_label(options.style, path))
    for sentence in refused:
        _complain(sentence)
    auto = options.backend == "auto"
    stylizer = Stylizer(
        path,
        device=options.device,
        backend=options.backend,
        pixels_to_come=count_pixels([job.photo for job in jobs], options.size) if auto else 0,
        say=_complain,
    )
    backend = stylizer.backend
    if (backend.name, backend.device) == ("torch", "cpu"):
        keep_freed_memory()  # the others gain nothing by it
    print(f"backend {backend.name} on {backend.device}", flush=True)
    limits = Limits(size=options.size, quality=options.quality, force=options.force)
    start, failed = time.monotonic(), len(refused)
    parts = dict.fromkeys(("reading", "stylizing", "writing"), 0.0)
    for number, done in enumerate(stylize_files(stylizer, jobs, limits), 1):
        if done.error is not None:
            failed += 1
            sentence = str(done.error)
            named = str(done.item.photo) in sentence
            _complain(sentence if named else f"{done.item.photo}: {sentence}")
            continue
        for part, seconds in zip(parts, (done.read_s, done.work_s, done.write_s), strict=True):
            parts[part] += seconds
        count = f"[{number}/{len(jobs)}] " if len(jobs) > 1 else ""
        print(f"{count}{done.item.photo} -> {done.result} ({done.seconds:.1f} s)", flush=True)
    if len(jobs) > 1:
        took = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in parts.items())
        print(
            f"{len(jobs) + len(refused) - failed} photos stylized, {failed} failed, in "
            f"{time.monotonic() - start:.1f} s ({took}, side by side)"
        )
    return 1 if failed else 0


def stylize_files(
    stylizer: Stylizer, jobs: Sequence[Job], limits: Limits
) -> Iterator[Outcome[Job, Path]]:
    """Stylize files one after the other, reading the next and writing the last meanwhile.

    An outcome's result is the path written; its error is an ``FstError``.
    """
    return overlap(
        jobs,
        read=partial(_read, limits=limits),
        work=partial(_stylize, stylizer=stylizer, limits=limits),
        write=partial(_write, limits=limits),
    )


def _read(job: Job, *, limits: Limits) -> tuple[Path, Picture]:
    if job.suffix_given:
        _require_free(job.target, job.photo, force=limits.force)
    photo = read_picture(job.photo)
    target = job.target
    if not job.suffix_given:
        target = target.with_name(target.name + (".png" if photo.alpha else ".jpg"))
        _require_free(target, job.photo, force=limits.force)
    if limits.size is not None and limits.size < min(photo.rgb.size):
        photo = photo.resized(limits.size)
    return target, photo


def _stylize(
    ready: tuple[Path, Picture], *, stylizer: Stylizer, limits: Limits
) -> tuple[Path, Picture]:
    target, photo = ready
    if limits.size is not None and limits.size > min(photo.rgb.size):
        width, height = photo.rgb.size
        scale = limits.size / min(width, height)
        stylizer.require_memory(1, round(height * scale), round(width * scale))
        photo = photo.resized(limits.size)
    return target, stylizer.picture(photo)


def _write(stylized: tuple[Path, Picture], *, limits: Limits) -> Path:
    target, picture = stylized
    save_picture(target, picture, quality=limits.quality)
    return target


def count_pixels(photos: Sequence[Path], size: int | None) -> int:
    """The pixels of all photos, resized to the shorter side ``size`` if it is given.

    Reads headers only, and stops counting where an export pays in any case.
    """
    total = 0.0
    for photo in photos:
        width, height = picture_size(photo) or (0, 0)
        scale = size / min(width, height) if size and width and height else 1.0
        total += width * height * scale**2
        if total >= 32 * EXPORT_PAYS_FROM:  # for the narrowest net
            break
    return int(total)


def _complain(sentence: str) -> None:
    print(f"fst stylize: {sentence}", file=sys.stderr, flush=True)


def plan(photos: list[str], output: str | None, style: str) -> tuple[list[Job], list[str]]:
    """Which photos, where each result goes, and a sentence for each argument with no photo in it.

    A folder is searched recursively and its structure kept, below ``output`` or, without one,
    below ``FOLDER_STYLE`` in the current folder. Two photos of one name and folder that differ
    in their suffix keep it in the result's name.
    """
    files: list[tuple[Path, Path]] = []  # (photo, its path relative to where results go)
    refused: list[str] = []
    out = Path(output).expanduser() if output is not None else None
    for text in photos:
        for source in _expand(text):
            if source.is_dir():
                top = Path() if out else Path(f"{source.resolve().name}_{style}")
                results = (out or top).resolve()
                found = [p for p in find_pictures(source) if results not in p.resolve().parents]
                if not found and source.resolve() != results:
                    refused.append(f"folder {source} holds no photos (.jpg, .png ...)")
                files += [(photo, top / photo.relative_to(source)) for photo in found]
            else:
                files.append((source, Path(source.name)))
    files = list(dict.fromkeys(files))
    if not files:
        raise FstError("; ".join(refused) or "there are no photos to stylize")
    if out is not None and out.suffix.lower() in SAVE_FORMATS and not out.is_dir():
        if len(files) > 1:
            raise FstError(
                f"-o {out} is one file, but {len(files)} photos are given; name a folder"
            )
        return [Job(files[0][0], out, suffix_given=True)], refused
    if out is not None and out.suffix and not out.exists() and len(files) == 1:
        formats = ", ".join(SAVE_FORMATS)
        raise FstError(f"-o {out}: '{out.suffix}' is no format we write; use one of {formats}")
    if out is not None and out.exists() and not out.is_dir():
        raise FstError(f"-o {out} is a file with no picture suffix; give a folder or FILE.jpg")
    stems = Counter(relative.with_suffix("") for _, relative in files)
    jobs = []
    for photo, relative in files:
        stem = relative.name if stems[relative.with_suffix("")] > 1 else relative.stem
        target = (out or Path()) / relative.parent / f"{stem}_{style}"
        jobs.append(Job(photo, target, suffix_given=False))
    targets = Counter(job.target for job in jobs)
    twice = [str(job.photo) for job in jobs if targets[job.target] > 1]
    if twice:
        raise FstError(f"{' and '.join(twice)} have one name; use a folder for each")
    return jobs, refused


def _expand(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.exists():
        return [path]
    if glob.has_magic(text):
        found = sorted(Path(name) for name in glob.glob(os.path.expanduser(text), recursive=True))
        if not found:
            raise FstError(f"no file matches '{text}'")
        return found
    return [path]  # named as missing when its turn comes, and the others go on


def _require_free(target: Path, photo: Path, *, force: bool) -> None:
    if target.exists() and photo.exists() and target.samefile(photo):
        raise FstError(f"{target} is the photo itself; give another output with -o")
    if target.exists() and not force:
        raise FstError(f"{target} exists already; use --force to replace it, or -o elsewhere")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fst stylize", description="Stylize photos in one forward pass each."
    )
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
        help="auto (default) is the fastest installed that is worth its start; "
        "pip install 'fst[openvino]' or 'fst[onnx]' brings the others",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    return parser
