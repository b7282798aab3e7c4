"""Photo files stylized one after the other: the next is read and the last written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fst.errors import FstError
from fst.inference.backends import EXPORT_PAYS_FROM
from fst.inference.overlap import Outcome, overlap
from fst.inference.stylizer import Stylizer
from fst.pictures.image import Picture, picture_size, read_picture, save_picture


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


def _require_free(target: Path, photo: Path, *, force: bool) -> None:
    if target.exists() and photo.exists() and target.samefile(photo):
        raise FstError(f"{target} is the photo itself; give another output with -o")
    if target.exists() and not force:
        raise FstError(f"{target} exists already; use --force to replace it, or -o elsewhere")
