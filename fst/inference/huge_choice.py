"""Which photos are too large to be decoded as a whole; light, as most are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fst.errors import FstError
from fst.inference.tiling import OFF, Tiling
from fst.system.installed import is_here

STRIPS_FROM = 50e6  # pixels of a picture; Pillow takes smaller ones


class Postponed(FstError):
    """Not an error: the photo is not to be decoded yet, nor as a whole, even if it ``fits``."""

    def __init__(self, *, fits: bool) -> None:
        super().__init__("too large to be decoded as a whole")
        self.fits = fits


@dataclass(frozen=True)
class HugePhoto:
    """A photo that is opened when its turn comes.

    ``target_of`` names the file of its result, told whether the photo is transparent anywhere, and
    may raise; ``fits`` says that the memory is there to decode it as a whole after all.
    """

    path: Path
    target_of: Callable[[bool], Path]
    fits: bool


def goes_in_strips(width: int, height: int, *, fits: bool, tiling: Tiling) -> bool:
    """Whether a photo is read in strips: it must be, or it is large, and it can be."""
    if tiling.tiles == OFF or not is_here("pyvips"):
        return False
    return not fits or width * height > STRIPS_FROM
