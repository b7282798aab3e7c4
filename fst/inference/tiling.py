"""What a user may say of tiles, and who is told of them; light, as most photos need none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fst.errors import FstError
from fst.system.memory import available_memory, held_memory

if TYPE_CHECKING:
    from fst.inference.tile_budget import Reckoned

AUTO, OFF = "auto", "off"
LEAST_TILE = 256  # pixels; smaller ones are mostly halo
LEAST_MEMORY = 1.2e9  # bytes; Python, a runtime and one tile of a net of any width
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


@dataclass(frozen=True)
class Tiling:
    """What a user may say of tiles.

    ``tiles`` is "auto", where a pass in one go does not fit, "off", or the side of every tile in
    pixels, also where it would fit. ``max_memory`` are the bytes that the whole process may take,
    None half of what is free. ``scratch`` is where files go that do not fit. Raises ``FstError``
    for what is none of this.
    """

    tiles: str | int = AUTO
    max_memory: int | None = None
    scratch: Path | None = None

    def __post_init__(self) -> None:
        side = self.tiles
        whole = isinstance(side, (int, np.integer)) and not isinstance(side, bool)
        if side not in (AUTO, OFF) and not (whole and int(side) >= LEAST_TILE):
            raise FstError(
                f"tiles {side!r} are none; give auto, off, or their side in pixels, "
                f"{LEAST_TILE} or more"
            )
        if self.max_memory is not None and self.max_memory < LEAST_MEMORY:
            raise FstError(
                f"{self.max_memory / 1e9:.2g} GB are too little memory: "
                f"{LEAST_MEMORY / 1e9:.1f} GB are needed for any tiles"
            )
        if self.scratch is not None and not self.scratch.is_dir():
            raise FstError(
                f"scratch folder {self.scratch} does not exist; make it, or name another"
            )

    @property
    def memory(self) -> int:
        """Bytes that this process may take in all."""
        held, free = held_memory(), available_memory()
        if self.max_memory is None:
            return held + free // 2
        return min(self.max_memory, held + free)

    @property
    def folder(self) -> Path:
        """Where scratch files go."""
        from fst.inference.tile_maps import default_scratch

        return self.scratch or default_scratch()


def parse_memory(word: str) -> int:
    """``2GB``, ``1500MB`` or ``2GiB`` -> bytes; ``FstError`` for other words."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", word.strip().lower())
    unit = {**UNITS, **BINARY_UNITS}.get(found[2]) if found else None
    if found is None or unit is None:
        raise FstError(f"--max-memory {word} is no size; give it as 2GB or 1500MB")
    return round(float(found[1]) * unit)


class Watch(Protocol):
    """Who is told of a pass in tiles, which may take long."""

    def begin(self, reckoned: Reckoned, folder: Path) -> None:
        """What it will take, before it begins; ``folder`` is for scratch files."""

    def advance(self, share: float) -> None:
        """So much of the work, 0 .. 1, is done in all."""

    def end(self) -> None:
        """It has ended, whether well or not."""


class Silent:
    """Tells nobody."""

    def begin(self, reckoned: Reckoned, folder: Path) -> None:
        pass

    def advance(self, share: float) -> None:
        pass

    def end(self) -> None:
        pass
