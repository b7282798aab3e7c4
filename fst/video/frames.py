"""A moving picture as the frames it is made of, each with its time; where they come from and go to.

What reads (``film_source``, ``picture_source``) and what writes (``film_parts``, ``picture_parts``)
know nothing of one another, nor of styles: ``stylized_film`` puts them side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import numpy as np

EVEN = 2  # pixels: the sides of a film are multiples of it, as the colors of four pixels are one


@dataclass(frozen=True)
class Colors:
    """What a film's numbers mean, by the codes of ITU-T H.273: matrix, range, primaries, curve."""

    space: int = 2
    range: int = 0
    primaries: int = 2
    transfer: int = 2


@dataclass(frozen=True)
class FilmInfo:
    """What all frames have in common. Sizes are of upright frames.

    ``rate`` is the mean number of frames a second; a frame's own time is in its ``at``, a multiple
    of ``tick`` seconds. ``aspect`` is the width of a pixel over its height, ``frames`` an estimate,
    if there is one.
    """

    width: int
    height: int
    rate: Fraction
    tick: Fraction
    aspect: Fraction = Fraction(1)
    colors: Colors = Colors()
    seconds: float | None = None
    frames: int | None = None


@dataclass(frozen=True)
class Frame:
    """A frame: when it is shown, in seconds from the film's zero, for how long, and its pixels.

    ``photo`` has those that it was painted over, of a finished one.
    """

    at: Fraction
    lasts: Fraction
    pixels: np.ndarray = field(repr=False)  # (1, 3, H, W) uint8 RGB, upright
    photo: np.ndarray | None = field(default=None, repr=False)


class Source(Protocol):
    """Where frames come from; ``trouble`` has a sentence for each thing found wrong on the way."""

    info: FilmInfo
    trouble: list[str]

    def frames(self, start: Fraction | None, end: Fraction | None) -> Iterator[Frame]:
        """Those at or after ``start`` and before ``end``, in order, each later than the last."""

    def close(self) -> None:
        """Let go of the file."""


class Parts(Protocol):
    """Frames that are done, on the disk, until all are and become a file."""

    @property
    def last(self) -> Fraction | None:
        """The time of the last frame that is kept, in seconds of the source, if any is."""

    @property
    def kept(self) -> int:
        """How many frames are kept."""

    def drop_last(self) -> None:
        """Let go of what was kept last."""

    def add(self, frame: Frame) -> None:
        """Take a finished frame; what is kept for good is told by ``last``."""

    def finish(self) -> list[str]:
        """Make the file of all frames; a sentence for each thing that it could not hold."""
