"""One photo in many styles on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from fst.inference.photo_jobs import Job
from fst.pictures.image import Picture, read_picture, resize_shorter, save_picture
from fst.pictures.sheet import labeled, sheet_of

SHEET = "sheet"  # what sheets are called after, as results are after their style
TILE = 256  # pixels, shorter side, as `fst sheet` has them


class StyleSheets:
    """The pictures of each photo, made small when they come, until its sheet is written."""

    def __init__(self) -> None:
        self._tiles: dict[Path, list[tuple[str, Image.Image]]] = {}

    def add(self, target: Path, picture: Picture, name: str) -> None:
        """A picture for the sheet ``target``, below its name."""
        self._tiles.setdefault(target, []).append((name, _small(picture)))

    def write(self, job: Job, *, quality: int) -> Path | None:
        """The sheet of a photo, which comes first on it; None where no picture was made."""
        tiles = self._tiles.pop(job.target, [])
        if not tiles:
            return None
        photo = _small(read_picture(job.photo)).resize(tiles[0][1].size)  # --size may be less
        sheet = sheet_of([labeled(made, name) for name, made in [("photo", photo), *tiles]])
        save_picture(job.target, Picture(rgb=sheet), quality=quality)
        return job.target


def sheet_jobs(jobs: Sequence[Job]) -> list[Job]:
    """Jobs whose results are sheets: JPEG files, whatever the photo is."""
    return [
        job
        if job.suffix_given
        else Job(job.photo, job.target.with_name(f"{job.target.name}.jpg"), suffix_given=True)
        for job in jobs
    ]


def _small(picture: Picture) -> Image.Image:
    """At most ``TILE``, on white where it is transparent."""
    rgb = picture.rgb
    if picture.alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), picture.alpha)
    return resize_shorter(rgb, TILE) if min(rgb.size) > TILE else rgb
