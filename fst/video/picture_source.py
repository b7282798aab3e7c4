"""Frames from pictures: an animated GIF, PNG or WebP, or a folder with a picture a frame."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from fst.errors import FstError
from fst.pictures.image import read_picture, to_array
from fst.pictures.opening import accept_photo, find_pictures, opened
from fst.video.frames import FilmInfo, Frame

ANIMATED = (".gif", ".png", ".apng", ".webp")
MILLISECOND = Fraction(1, 1000)
UNSET = 100  # ms that players take where a GIF says 0 or next to nothing
LEAST = 20  # ms; below, they take ``UNSET``


class AnimationSource:
    """The frames of an animated picture, each for as long as it is shown; transparency is white.

    Raises ``FstError`` for a picture that does not move.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.trouble = path, list[str]()
        with opened(path, accept_photo(path)) as image:
            many = getattr(image, "n_frames", 1)
            if many < 2:
                raise FstError(f"{path} is a picture that does not move; use `fst stylize`")
            width, height = image.size
            lasts = []
            for number in range(many):
                image.seek(number)
                image.load()  # WebP tells the time only then
                lasts.append(_lasts(image))
        self._lasts = lasts
        seconds = sum(lasts) * MILLISECOND
        self.info = FilmInfo(
            width, height, many / seconds, MILLISECOND, seconds=float(seconds), frames=many
        )

    def frames(self, start: Fraction | None, end: Fraction | None) -> Iterator[Frame]:
        """Those at or after ``start`` and before ``end``."""
        at = Fraction(0)
        with opened(self.path, accept_photo(self.path)) as image:
            for number, milliseconds in enumerate(self._lasts):
                image.seek(number)
                lasts = milliseconds * MILLISECOND
                if end is not None and at >= end:
                    return
                if start is None or at >= start:
                    yield Frame(at, lasts, to_array(_on_white(image)))
                at += lasts

    def close(self) -> None:
        """Nothing is held."""


class FolderSource:
    """A picture a frame, by name, ``rate`` of them a second."""

    def __init__(self, folder: Path, rate: Fraction) -> None:
        self.trouble: list[str] = []
        self._photos = sorted(find_pictures(folder, lambda error: self.trouble.append(str(error))))
        if not self._photos:
            raise FstError(f"folder {folder} holds no pictures that could be frames")
        self._size = read_picture(self._photos[0]).rgb.size
        many = len(self._photos)
        self.info = FilmInfo(*self._size, rate, 1 / rate, seconds=float(many / rate), frames=many)

    def frames(self, start: Fraction | None, end: Fraction | None) -> Iterator[Frame]:
        """Those at or after ``start`` and before ``end``; all must have the size of the first."""
        for number, photo in enumerate(self._photos):
            at = number * self.info.tick
            if end is not None and at >= end:
                return
            if start is not None and at < start:
                continue
            try:
                picture = read_picture(photo).rgb
                if picture.size != self._size:
                    width, height = picture.size
                    raise FstError(
                        f"{photo} has {width}x{height} px and the first frame "
                        f"{self._size[0]}x{self._size[1]}"
                    )
            except FstError as error:
                self.trouble.append(f"{error}; this frame is left out")
                continue
            yield Frame(at, self.info.tick, to_array(picture))

    def close(self) -> None:
        """Nothing is held."""


def _lasts(image: Image.Image) -> int:
    """How long the frame that an animation is at is shown, in whole milliseconds."""
    said: Any = image.info.get("duration", 0)
    milliseconds = round(float(said or 0))
    return milliseconds if milliseconds >= LEAST else UNSET


def _on_white(image: Image.Image) -> Image.Image:
    frame = image.convert("RGBA")
    white = Image.new("RGBA", frame.size, "white")
    return Image.alpha_composite(white, frame).convert("RGB")
