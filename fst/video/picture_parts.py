"""Frames -> a PNG each on the disk -> a folder of them, or an animated GIF, PNG or WebP."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from PIL import Image

from fst.errors import FstError
from fst.pictures.image import Picture, from_array, save_picture
from fst.system.files import whole_file
from fst.video.frames import FilmInfo, Frame

FORMATS = {".gif": "GIF", ".png": "PNG", ".apng": "PNG", ".webp": "WEBP"}
NAMED = re.compile(r"(\d{8})_(-?\d+)_(\d+)\.png")  # number, when and how long it is shown, in ticks
PALETTE_OF = 16  # frames, whose colors are those of the whole GIF
COLORS = 255


class PictureParts:
    """The frames of ``output``, in ``folder``, which is there already.

    ``output`` is an animated picture by its suffix, which is made with all its frames in memory,
    or a folder, which is not there yet. ``start`` is the time that becomes its zero.
    """

    def __init__(
        self, output: Path, folder: Path, info: FilmInfo, quality: int, start: Fraction
    ) -> None:
        self._output, self._folder, self._info, self._quality = output, folder, info, quality
        self._start = round(start / info.tick)
        self._frames = _frames_in(folder)

    @property
    def last(self) -> Fraction | None:
        """The time of the last frame that is kept, in seconds of the source."""
        return (self._frames[-1][1] + self._start) * self._info.tick if self._frames else None

    @property
    def kept(self) -> int:
        """How many frames are kept."""
        return len(self._frames)

    def drop_last(self) -> None:
        """Let go of the last frame."""
        self._frames.pop()[0].unlink()

    def add(self, frame: Frame) -> None:
        """Write a finished frame."""
        at, lasts = (round(time / self._info.tick) for time in (frame.at, frame.lasts))
        at -= self._start
        path = self._folder / f"{len(self._frames):08d}_{at}_{lasts}.png"
        save_picture(path, Picture(rgb=from_array(frame.pixels)), quality=self._quality)
        self._frames.append((path, at, lasts))

    def finish(self) -> list[str]:
        """Make the animation, or the folder."""
        if not self._frames:
            raise FstError("there is no frame between --start and --end")
        kind = FORMATS.get(self._output.suffix.lower())
        if kind is None:
            self._into_folder()
        else:
            self._animate(kind)
        return []

    def _into_folder(self) -> None:
        made = self._folder / "frames"
        try:
            shutil.rmtree(made, ignore_errors=True)  # of a run that was stopped here
            made.mkdir()
            for number, (path, _, _) in enumerate(self._frames):
                shutil.copyfile(path, made / f"{number:08d}.png")
            os.replace(made, self._output)
        except OSError as error:
            raise FstError(f"{self._output} cannot be made: {error.strerror or error}") from None

    def _animate(self, kind: str) -> None:
        options = {"quality": self._quality} if kind == "WEBP" else {}
        pictures = self._in_palette() if kind == "GIF" else self._pictures()
        first = next(pictures)
        with whole_file(self._output) as handle:
            first.save(
                handle,
                format=kind,
                save_all=True,
                append_images=list(pictures),  # Pillow goes over them twice
                duration=self._milliseconds(10 if kind == "GIF" else 1),
                loop=0,
                **options,
            )

    def _pictures(self) -> Iterator[Image.Image]:
        for path, _, _ in self._frames:
            with Image.open(path) as image:
                yield image.convert("RGB")

    def _in_palette(self) -> Iterator[Image.Image]:
        """With the same colors in all frames: a palette for each would flicker."""
        several = self._frames[:: max(1, len(self._frames) // PALETTE_OF)][:PALETTE_OF]
        strip = None
        for number, (path, _, _) in enumerate(several):
            with Image.open(path) as image:
                if strip is None:
                    strip = Image.new("RGB", (image.width, image.height * len(several)))
                strip.paste(image.convert("RGB"), (0, number * image.height))
        assert strip is not None
        palette = strip.quantize(COLORS, method=Image.Quantize.MEDIANCUT)
        for picture in self._pictures():
            yield picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)

    def _milliseconds(self, unit: int) -> list[int]:
        """How long each frame is shown, in multiples of ``unit``, with the sum kept."""
        ends = [at + lasts for _, at, lasts in self._frames]
        starts = [at for _, at, _ in self._frames]
        edges = [*starts, ends[-1]]
        whole = [round(edge * self._info.tick * 1000 / unit) for edge in edges]
        return [max(b - a, 1) * unit for a, b in pairwise(whole)]


def _frames_in(folder: Path) -> list[tuple[Path, int, int]]:
    found: list[tuple[Path, int, int]] = []
    for path in sorted(folder.glob("*.png")):
        match = NAMED.fullmatch(path.name)
        if match and int(match[1]) == len(found):
            found.append((path, int(match[2]), int(match[3])))
    return found
