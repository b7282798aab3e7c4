"""One line of a terminal that tells how far a row of many things is: how fast, and how long yet."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from fst.system.console import duration

EVERY = 0.1  # seconds, at least, from one state of the line to the next
LONGEST_BAR = 30  # characters


class ProgressLine:
    """``many`` things, told on the last line of ``stream``, a terminal; ``things`` names them.

    Nothing else may print to the terminal but through ``aside``, from any thread.
    """

    def __init__(
        self,
        many: int,
        things: str,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._many, self._things = many, things
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._lock = threading.RLock()
        self._done = 0
        self._start = self._shown = clock()
        self._show()

    def advance(self) -> None:
        """One more is done."""
        self.reach(self._done + 1)

    def reach(self, done: int) -> None:
        """So many are done in all."""
        self._done = done
        if self._clock() - self._shown >= EVERY or self._done == self._many:
            self._show()

    def aside(self, say: Callable[[], None]) -> None:
        """Let ``say`` print lines above this one."""
        with self._lock:
            self._write("")
            say()
            self._show()

    def close(self) -> None:
        """Leave the line as it is, and the rest of the terminal to others."""
        self._show()
        print(file=self._stream, flush=True)

    def line(self, columns: int) -> str:
        """What is shown, in less than ``columns`` characters."""
        seconds = max(self._clock() - self._start, 1e-9)
        told = f"{self._done}/{self._many}"
        if self._done:
            rate = self._done / seconds
            told += f"  {rate:.3g} {self._things}/s"
            left = duration((self._many - self._done) / rate)
            told += f"  {left} left" if self._done < self._many else f"  {duration(seconds)}"
        length = min(LONGEST_BAR, columns - 1 - len(told) - 4)
        if length < 5:
            return told[: max(columns - 1, 0)]
        full = length * self._done // max(self._many, 1)
        return f"[{'#' * full}{'.' * (length - full)}]  {told}"

    def _show(self) -> None:
        with self._lock:
            self._shown = self._clock()
            self._write(self.line(shutil.get_terminal_size().columns))

    def _write(self, line: str) -> None:
        self._stream.write(f"\r\x1b[K{line}")  # back to its beginning, and what was there is gone
        self._stream.flush()
