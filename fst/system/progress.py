"""One line of a terminal that tells how far a row of many things is: how fast, and how long yet."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from fst.system.console import MOVING, as_json, duration, first_process

EVERY = 0.1  # seconds, at least, from one state of the line to the next
LONGEST_BAR = 30  # characters


class ProgressLine:
    """``many`` things, told on the last line of ``stream``, a terminal; ``things`` names them.

    ``begun`` of them were done before, and count for no speed. Nothing else may print to the
    terminal but through ``aside``, from any thread, as ``say`` does.
    """

    def __init__(
        self,
        many: int,
        things: str,
        *,
        begun: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._many, self._things = many, things
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._lock = threading.RLock()
        self._done = self._begun = begun
        self._start = self._shown = clock()
        MOVING.append(self)
        self.show()

    def advance(self) -> None:
        """One more is done."""
        self.reach(self._done + 1)

    def reach(self, done: int) -> None:
        """So many are done in all."""
        self._done = done
        if self._clock() - self._shown >= EVERY or self._done == self._many:
            self.show()

    def aside(self, say: Callable[[], None]) -> None:
        """Let ``say`` print lines above this one."""
        with self._lock:
            self._write("")
            say()
            self.show()

    def close(self, *, erased: bool = False) -> None:
        """Leave the line as it is, or erased, and the rest of the terminal to others."""
        if self not in MOVING:
            return
        MOVING.remove(self)
        if erased:
            self._write("")
            return
        self.show()
        print(file=self._stream, flush=True)

    def line(self, columns: int) -> str:
        """What is shown, in less than ``columns`` characters."""
        seconds = max(self._clock() - self._start, 1e-9)
        told = f"{self._done}/{self._many}"
        if self._done > self._begun:
            rate = (self._done - self._begun) / seconds
            told += f"  {rate:.3g} {self._things}/s"
            left = duration((self._many - self._done) / rate)
            told += f"  {left} left" if self._done < self._many else f"  {duration(seconds)}"
        return self.with_bar(told, columns)

    def with_bar(self, told: str, columns: int) -> str:
        """What is told behind a bar as long as there is room for; none where there is too little.

        What does not fit is left out.
        """
        length = min(LONGEST_BAR, columns - 1 - len(told) - 4)
        if length < 5:
            return told[: max(columns - 1, 0)]
        full = length * self._done // max(self._many, 1)
        return f"[{'#' * full}{'.' * (length - full)}]  {told}"

    def show(self) -> None:
        """Write the line as it is now."""
        with self._lock:
            self._shown = self._clock()
            self._write(self.line(shutil.get_terminal_size().columns))

    def _write(self, line: str) -> None:
        self._stream.write(f"\r\x1b[K{line}")  # back to its beginning, and what was there is gone
        self._stream.flush()


def moves_here() -> bool:
    """Whether there is a terminal that a line can move on, and what is said is for people."""
    dumb = os.environ.get("TERM") == "dumb"
    return sys.stderr.isatty() and first_process() and not dumb and not as_json()


@contextmanager
def vanishing_line(things: str) -> Iterator[Callable[[int, int], None]]:
    """Within, ``tell(done, many)`` moves a line that is gone at the end; if there is a terminal."""
    line: ProgressLine | None = None

    def tell(done: int, many: int) -> None:
        nonlocal line
        if line is None and moves_here():
            line = ProgressLine(many, things)
        if line is not None:
            line.reach(done)

    try:
        yield tell
    finally:
        if line is not None:
            line.close(erased=True)
