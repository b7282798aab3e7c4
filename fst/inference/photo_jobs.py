"""Which photo files are stylized into which files, and the work: reading and writing overlap."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fst.errors import FstError, pip_install
from fst.inference.controls import PLAIN, Controls
from fst.inference.huge_choice import HugePhoto, Postponed, goes_in_strips
from fst.inference.overlap import Outcome, overlap
from fst.inference.stylizer import BESIDE, Stylizer
from fst.pictures.image import (
    LONGEST_SIDE,
    SAVE_FORMATS,
    Picture,
    read_picture,
    require_writable,
    save_picture,
    scaled_size,
)
from fst.pictures.opening import DECODING, MOST_TO_STYLIZE, find_pictures, require_most
from fst.pictures.strips import NotInStrips, is_written_in_strips
from fst.system.installed import is_here
from fst.system.memory import bound_of_memory
from fst.system.paths import user_path

Identity = tuple[int, int]  # device and number of a file
RESULT_SUFFIXES = (".jpg", ".png")  # the second where JPEG cannot hold the result
LONGEST_NAME = 255  # bytes, in the file systems of today


@dataclass(frozen=True)
class Job:
    """One photo and where its result goes, without the suffix if that depends on the photo."""

    photo: Path
    target: Path
    suffix_given: bool


@dataclass(frozen=True)
class Limits:
    """What holds for every photo: the shorter side, if set, the quality, overwriting, controls and
    how large a photo may be."""

    size: int | None
    quality: int
    force: bool
    controls: Controls = PLAIN
    max_pixels: float = MOST_TO_STYLIZE


Whole = tuple[Path, Picture]  # where a result goes, and a photo or its picture


def plan(photos: Sequence[str], output: str | None, style: str) -> tuple[list[Job], list[str]]:
    """Which photos, where each result goes, and a sentence for each argument with no photo in it
    and for each folder that cannot be looked into.

    A folder is searched recursively and its structure kept, below ``output`` or, without one,
    below ``FOLDER_STYLE`` in the current folder. Two photos of one name and folder that differ
    in their suffix keep it in the result's name. Raises ``FstError`` where there is no photo at all
    or two results would be one file.
    """
    out = user_path(output) if output is not None else None
    files, refused = _files(photos, out, style)
    if not files:
        raise FstError("; ".join(refused) or "there are no photos to stylize")
    if out is not None and out.suffix.lower() in SAVE_FORMATS and not os.path.isdir(out):
        if len(files) > 1:
            raise FstError(
                f"-o {out} is one file, but {len(files)} photos are given; name a folder"
            )
        return [Job(files[0][0], out, suffix_given=True)], refused
    if out is not None and out.suffix and not os.path.exists(out) and len(files) == 1:
        formats = ", ".join(SAVE_FORMATS)
        raise FstError(f"-o {out}: '{out.suffix}' is not a format we write; use one of {formats}")
    if out is not None and os.path.exists(out) and not os.path.isdir(out):
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


def require_folder(output: str | None, many: str) -> None:
    """Raise ``FstError`` where ``-o`` is one file, and ``many`` results are to come."""
    out = None if output is None else user_path(output)
    if out is not None and out.suffix.lower() in SAVE_FORMATS and not os.path.isdir(out):
        raise FstError(f"-o {out} is one file, but {many} are given; name a folder")


def _files(
    photos: Sequence[str], out: Path | None, style: str
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Each photo with its path relative to where results go, and ``plan``'s sentences."""
    files: list[tuple[Path, Path]] = []
    refused: list[str] = []
    for text in photos:
        for source in _expand(text):
            if os.path.isdir(source):
                top = Path() if out else Path(f"{_real(source).name}_{style}")
                results, closed = _real(out or top), len(refused)
                found = [
                    photo
                    for photo in find_pictures(source, lambda error: refused.append(str(error)))
                    if results not in (_real(photo.parent), *_real(photo.parent).parents)
                ]
                if not found and _real(source) != results and len(refused) == closed:
                    refused.append(f"folder {source} holds no photos (.jpg, .png ...)")
                files += [(photo, top / photo.relative_to(source)) for photo in found]
            else:
                files.append((source, Path(source.name)))
    return list(dict.fromkeys(files)), refused


def _expand(text: str) -> list[Path]:
    path = user_path(text)
    if os.path.lexists(path):
        return [path]
    if glob.has_magic(text):
        found = sorted(Path(name) for name in glob.glob(os.path.expanduser(text), recursive=True))
        if not found:
            raise FstError(f"no file matches '{text}'")
        return found
    return [path]  # named as missing when its turn comes; the others are done


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve fails on a link to itself


def stylize_files(
    stylizer: Stylizer,
    jobs: Sequence[Job],
    limits: Limits,
    say: Callable[[str], None] = lambda line: None,
    *,
    among: Sequence[Job] = (),
    write: Callable[[Path, Picture], Path] | None = None,
) -> Iterator[Outcome[Job, Path]]:
    """Stylize files one after the other, while the next is read and the last written.

    A photo that is too large to be decoded as a whole is read and written strip by strip when its
    turn comes (``fst.inference.huge_photos``), unless it is to be of another size or ``write`` is
    given.

    An outcome's result is the path written; its error is an ``FstError``. ``say`` is told of a
    result that cannot be the JPEG that it would have been. No photo of ``jobs`` is overwritten,
    nor of those ``among`` which they were chosen. ``write`` takes a result in place of its file.
    """
    inputs = file_identities([*jobs, *among])
    return overlap(
        jobs,
        read=partial(
            _read,
            stylizer=stylizer,
            limits=limits,
            inputs=inputs,
            say=say,
            may_be_in_strips=limits.size is None and write is None,
        ),
        work=partial(_stylize, stylizer=stylizer, limits=limits),
        write=partial(_write, limits=limits, write=write),
    )


def _read(
    job: Job,
    *,
    stylizer: Stylizer,
    limits: Limits,
    inputs: frozenset[Identity],
    say: Callable[[str], None],
    may_be_in_strips: bool,
) -> Whole | HugePhoto:
    if job.suffix_given:
        _require_free(job.target, job.photo, inputs, force=limits.force)
    too_long: list[tuple[int, int]] = []
    strips = may_be_in_strips and (not job.suffix_given or is_written_in_strips(job.target))

    def accept(width: int, height: int) -> None:
        """What the header alone can tell, before memory or time is taken."""
        require_most(job.photo, width, height, limits.max_pixels)
        result = scaled_size(width, height, limits.size)
        if job.suffix_given:
            require_writable(job.target, *result)
        elif max(result) > LONGEST_SIDE["JPEG"]:
            too_long.append(result)
        needed = DECODING * width * height
        beside = (1 + BESIDE) * needed  # with those that are read and written meanwhile
        lately = stylizer.lately_free
        available = beside if lately.is_plenty(beside) else lately.look()
        fits = needed <= available
        all_fit = beside <= available
        if strips and goes_in_strips(width, height, fits=all_fit, tiling=stylizer.tiling):
            raise Postponed(fits=fits)
        if not fits:
            other = "" if is_here("pyvips") else f", or read it in strips: {pip_install('huge')}"
            raise FstError(
                f"{job.photo} of {width}x{height} px needs about {needed / 1e9:.1f} GB of memory "
                f"to be decoded and {available / 1e9:.1f} GB are free{bound_of_memory()}; make it "
                f"smaller first{other}"
            )
        stylizer.require_memory(1, result[1], result[0], at_all=True)

    def target_of(transparent: bool) -> Path:
        """The file of the result, which is not there yet or may be replaced."""
        if job.suffix_given:
            return job.target
        suffix = RESULT_SUFFIXES[bool(transparent or too_long)]
        target = job.target.with_name(job.target.name + suffix)
        _require_free(target, job.photo, inputs, force=limits.force)
        for width, height in too_long:
            say(f"{job.photo}: a result of {width}x{height} px is too long for JPEG: {target}")
        return target

    try:
        photo = read_picture(job.photo, accept)
    except Postponed as postponed:
        return HugePhoto(job.photo, target_of, postponed.fits)
    target = target_of(photo.alpha is not None)
    if limits.size is not None and limits.size < min(photo.rgb.size):
        photo = photo.resized(limits.size)
    return target, photo


def _stylize(ready: Whole | HugePhoto, *, stylizer: Stylizer, limits: Limits) -> Whole | Path:
    if isinstance(ready, HugePhoto):
        from fst.inference.huge_photos import stylize_huge

        try:
            return stylize_huge(stylizer, ready, limits.controls, quality=limits.quality)
        except NotInStrips:
            if not ready.fits:
                raise
        photo = read_picture(ready.path, lambda width, height: None)
        ready = ready.target_of(photo.alpha is not None), photo
    target, photo = ready
    if limits.size is not None and limits.size > min(photo.rgb.size):
        width, height = scaled_size(*photo.rgb.size, limits.size)
        stylizer.require_memory(1, height, width)
        photo = photo.resized(limits.size)
    return target, stylizer.picture(photo, limits.controls)


def _write(
    stylized: Whole | Path, *, limits: Limits, write: Callable[[Path, Picture], Path] | None
) -> Path:
    if isinstance(stylized, Path):  # written already
        return stylized
    if write is not None:
        return write(*stylized)
    target, picture = stylized
    save_picture(target, picture, quality=limits.quality)
    return target


def file_identities(jobs: Sequence[Job]) -> frozenset[Identity]:
    """Of the photos that are there."""
    return frozenset(filter(None, (identity(job.photo) for job in jobs)))


def identity(path: Path) -> Identity | None:
    """What tells a file from all others, whatever it is called; None if it is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _require_free(target: Path, photo: Path, inputs: frozenset[Identity], *, force: bool) -> None:
    if len(os.fsencode(target.name)) > LONGEST_NAME:
        raise FstError(
            f"{photo}: the name of its result would have more than {LONGEST_NAME} bytes; rename "
            "it, or name the result with -o"
        )
    there = identity(target)
    if there is not None and there == identity(photo):
        raise FstError(f"{target} is the photo itself; give another output with -o")
    if there in inputs:
        raise FstError(f"{target} is one of the photos to stylize; give another output with -o")
    if os.path.lexists(target) and not force:
        raise FstError(f"{target} exists already; use --force to replace it, or -o elsewhere")
