"""Large planes of pixels or features, in memory or in a scratch file, read and written in parts.

The file is read and written at a place (pread, pwrite) and never mapped: pages of a mapping count
as the process's memory. It has no name, so nothing of it is left however the process ends.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from fst.errors import FstError
from fst.inference.tile_plan import Span

SIDEWAYS = (5, 6, 7, 8)  # orientations of EXIF that swap rows and columns
LEAST_LEFT = 256e6  # bytes that a disk keeps for others


class Plane(Protocol):
    """height x width pixels of so many channels, one behind the other in each pixel."""

    height: int
    width: int

    def read(self, rows: Span, columns: Span) -> np.ndarray:
        """A part of it, (rows, columns, channels)."""

    def write(self, row: int, column: int, values: np.ndarray) -> None:
        """Put (rows, columns, channels) there."""


class InMemory:
    """A plane that is an array (H, W, C)."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.height, self.width = array.shape[:2]

    def read(self, rows: Span, columns: Span) -> np.ndarray:
        return self.array[rows.start : rows.stop, columns.start : columns.stop]

    def write(self, row: int, column: int, values: np.ndarray) -> None:
        self.array[row : row + values.shape[0], column : column + values.shape[1]] = values


class Scratch:
    """A folder for scratch files, and how many bytes were read and written there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.was_read = self.was_written = 0

    def plane(self, height: int, width: int, channels: int, kind: type) -> InFile:
        """A plane in a file of its own; ``FstError`` where none can be made."""
        return InFile(self, height, width, channels, kind)


class InFile:
    """A plane in a file without a name. Raises ``FstError`` where the disk is full or fails."""

    def __init__(self, scratch: Scratch, height: int, width: int, channels: int, kind: type):
        self.height, self.width = height, width
        self._channels, self._kind, self._scratch = channels, np.dtype(kind), scratch
        self._pixel = channels * self._kind.itemsize  # bytes
        try:
            self._file = tempfile.TemporaryFile(dir=scratch.folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _failed(scratch.folder, error) from None

    def read(self, rows: Span, columns: Span) -> np.ndarray:
        values = np.empty((rows.length, columns.length, self._channels), self._kind)
        for row, part in self._runs(rows.start, columns.start, values):
            self._each_byte(os.preadv, part, row, columns.start)
        self._scratch.was_read += values.nbytes
        return values

    def write(self, row: int, column: int, values: np.ndarray) -> None:
        values = np.ascontiguousarray(values, self._kind)
        for at, part in self._runs(row, column, values):
            self._each_byte(os.pwritev, part, at, column)
        self._scratch.was_written += values.nbytes

    def close(self) -> None:
        """Give its room back."""
        self._file.close()

    def _runs(self, row: int, column: int, values: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """What lies in one piece in the file: a row's part, or all of it where rows are whole."""
        if column == 0 and values.shape[1] == self.width:
            return [(row, values)]
        return [(row + number, part) for number, part in enumerate(values)]

    def _each_byte(self, move: Callable[..., int], part: np.ndarray, row: int, column: int) -> None:
        """The kernel may move less than it is asked for: again, until all is moved."""
        left = memoryview(part.data).cast("B")
        at = (row * self.width + column) * self._pixel
        while left:
            try:
                moved = move(self._file.fileno(), [left], at)
            except OSError as error:
                raise _failed(self._scratch.folder, error) from None
            if moved == 0:
                raise _failed(self._scratch.folder, OSError(errno.EIO, "the file has become short"))
            left, at = left[moved:], at + moved


def _failed(folder: Path, error: OSError) -> FstError:
    return FstError(
        f"the scratch file in {folder} failed: {error.strerror or error}; name another folder "
        "with --scratch"
    )


class Turned:
    """A plane of pixels as a file stores them, seen upright by its EXIF ``orientation``, 1 to 8."""

    def __init__(self, stored: Plane, orientation: int) -> None:
        self._stored = stored
        self._swapped = orientation in SIDEWAYS
        self._down = orientation in (3, 4, 6, 7)  # rows are stored from the last one on
        self._across = orientation in (2, 3, 7, 8)
        sides = stored.height, stored.width
        self.height, self.width = reversed(sides) if self._swapped else sides

    def read(self, rows: Span, columns: Span) -> np.ndarray:
        if self._swapped:
            rows, columns = columns, rows
        if self._down:
            rows = Span(self._stored.height - rows.stop, self._stored.height - rows.start)
        if self._across:
            columns = Span(self._stored.width - columns.stop, self._stored.width - columns.start)
        values = self._stored.read(rows, columns)
        values = values[:: -1 if self._down else 1, :: -1 if self._across else 1]
        return values.transpose(1, 0, 2) if self._swapped else values

    def write(self, row: int, column: int, values: np.ndarray) -> None:
        raise NotImplementedError  # pixels are turned on their way from the file only


class FeatureMap:
    """A map that may be replaced while it is read, tile by tile, in the order of reading.

    A neighbor's tile still needs the rim of what was there before. So each generation lies one row
    and one column before the last one: what it covers are places that no later tile reads.
    ``generations`` are all that there will be.
    """

    def __init__(self, plane: Plane, generations: int) -> None:
        self._plane, self._origin = plane, generations

    def read(self, rows: Span, columns: Span) -> np.ndarray:
        """A part of the last whole generation."""
        rows, columns = (Span(*(end + self._origin for end in span)) for span in (rows, columns))
        return self._plane.read(rows, columns)

    def write(self, row: int, column: int, values: np.ndarray) -> None:
        """A tile of the next generation."""
        self._plane.write(row + self._origin - 1, column + self._origin - 1, values)

    def next(self) -> None:
        """All of the next generation is written."""
        self._origin -= 1


def default_scratch() -> Path:
    """$TMPDIR, or the system's folder for large temporary files: /tmp may be memory."""
    large = Path("/var/tmp")
    if not os.environ.get("TMPDIR") and os.access(large, os.W_OK):
        return large
    return Path(tempfile.gettempdir())


def require_room(folder: Path, needed: int) -> None:
    """Raise ``FstError`` unless a folder's disk has so many bytes, and some for others."""
    try:
        status = os.statvfs(folder)
    except OSError as error:
        raise FstError(f"scratch folder {folder} cannot be used: {error.strerror}") from None
    free = status.f_bavail * status.f_frsize - LEAST_LEFT
    if needed > free:
        raise FstError(
            f"the scratch file needs {needed / 1e9:.1f} GB and the disk of {folder} has "
            f"{max(free, 0) / 1e9:.1f} GB to give; name another folder with --scratch"
        )
