"""What a terminal or a log is told of a pass in tiles, which may take an hour."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from fst.system.console import duration, shown_in_line
from fst.system.progress import ProgressLine

if TYPE_CHECKING:
    from fst.inference.tile_budget import Reckoned

EVERY_S = 60  # seconds from one line of a log to the next, at least


class TilesTold:
    """A ``Watch`` that prints: what it will take, then how far it is, by the work done.

    ``moving`` is for a line of a terminal that moves; otherwise there is a line every minute.
    """

    def __init__(self, *, moving: bool) -> None:
        self._moving = moving
        self._line: ProgressLine | None = None
        self._start = self._told = 0.0

    def begin(self, reckoned: Reckoned, folder: Path) -> None:
        """One line of figures."""
        where = "all in memory"
        if reckoned.scratch:
            where = (
                f"{_size(reckoned.scratch)} of scratch files in {folder}, through which go "
                f"{_size(reckoned.traffic)}"
            )
        print(
            shown_in_line(
                f"tiles of {reckoned.tile} px, {reckoned.arithmetic:.2f} times the arithmetic of "
                f"one pass; {where}"
            ),
            flush=True,
        )
        self._start = self._told = time.monotonic()
        self._line = ProgressLine(100, "%") if self._moving else None

    def advance(self, share: float) -> None:
        """On the line that moves, or by a line of its own."""
        if self._line is not None:
            self._line.reach(int(100 * share))
            return
        now = time.monotonic()
        if now - self._told >= EVERY_S:
            self._told = now
            left = duration((now - self._start) * (1 - share) / share)
            print(f"{share:.0%} of the tiles' work done, {left} left", flush=True)

    def end(self) -> None:
        """Leave the line that moved."""
        if self._line is not None:
            self._line.close()
        self._line = None


def _size(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
