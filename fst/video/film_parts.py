"""Frames -> closed pieces of film on the disk -> one film, with the sound of the one it came from.

A piece (``SegmentEncoder``) is written whole when it is full. What is stopped loses the one that
was under way; what goes on has the same bytes in the end, as each piece has an encoder of its own.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from fst.errors import FstError
from fst.system.files import whole_file, write_whole
from fst.video.film_codec import Encoding, SegmentEncoder, even
from fst.video.film_sound import Copied
from fst.video.frames import FilmInfo, Frame

SEGMENT = 48  # frames of a piece
NAME = "{number:06d}_{first}_{last}_{lasts}.nut"  # times in ticks
NAMED = re.compile(r"(\d{6})_(-?\d+)_(-?\d+)_(\d+)\.nut")


class Piece(NamedTuple):
    """A file of frames, and when the first and the last of them are shown, in ticks."""

    path: Path
    first: int
    last: int
    lasts: int


class FilmParts:
    """The pieces of the film ``output``, in ``folder``, which is there already.

    ``start`` is the time, in seconds, that becomes the film's zero.
    """

    def __init__(
        self,
        output: Path,
        folder: Path,
        info: FilmInfo,
        encoding: Encoding,
        copied: Copied,
        *,
        start: Fraction = Fraction(0),
    ) -> None:
        self._output, self._folder, self._info = output, folder, info
        self._encoding, self._copied = encoding, copied
        self._start = round(start / info.tick)
        self.pieces = _pieces_in(folder)
        self._encoder: SegmentEncoder | None = None
        self._first = self._last = self._lasts = 0

    @property
    def last(self) -> Fraction | None:
        """The time of the last frame that is kept, in seconds of the source."""
        return (self.pieces[-1].last + self._start) * self._info.tick if self.pieces else None

    @property
    def kept(self) -> int:
        """How many frames are kept."""
        return len(self.pieces) * SEGMENT

    def drop_last(self) -> None:
        """Let go of the last piece."""
        self.pieces.pop().path.unlink()

    def add(self, frame: Frame) -> None:
        """Take a finished frame; a full piece is written."""
        tick = self._info.tick
        at = round(frame.at / tick) - self._start
        if self._encoder is None:
            self._encoder, self._first = SegmentEncoder(self._info, self._encoding), at
        self._last, self._lasts = at, max(round(frame.lasts / tick), 1)
        self._encoder.add(even(frame.pixels), at)
        if self._encoder.many == SEGMENT:
            self._close_piece()

    def _close_piece(self) -> None:
        if self._encoder is None:
            return
        number = len(self.pieces)
        name = NAME.format(number=number, first=self._first, last=self._last, lasts=self._lasts)
        write_whole(self._folder / name, self._encoder.data())
        self.pieces.append(Piece(self._folder / name, self._first, self._last, self._lasts))
        self._encoder = None

    def finish(self) -> list[str]:
        """Join all pieces; a sentence for each stream that the film could not hold."""
        import av

        self._close_piece()
        if not self.pieces:
            raise FstError("there is no frame between --start and --end")
        options = {"fflags": "+bitexact"}  # or Matroska has a random number in it
        if self._encoding.container in ("mp4", "mov"):
            options["movflags"] = "+faststart"
        with whole_file(self._output) as handle:
            film = av.open(handle, "w", format=self._encoding.container, options=options)
            with film, av.open(str(self.pieces[0].path), "r", format="nut") as first:
                template = first.streams.video[0]
                stream: Any = film.add_stream_from_template(template, opaque=True)
                stream.time_base = self._info.tick
                sound = self._copied.into(film)
                film.start_encoding()
                rows = [self._packets(stream), sound]
                for _, packet in heapq.merge(*rows, key=lambda timed: timed[0]):
                    film.mux_one(packet)
        return self._copied.left_out

    def _packets(self, stream: Any) -> Iterator[tuple[float, Any]]:
        """All packets in the order of decoding, with the seconds by which to sort them in."""
        import av

        tick = self._info.tick
        coded = [_times(piece, tick) for piece in self.pieces]
        shown = sorted(at for times in coded for at in times)
        ends = [*shown[1:], shown[-1] + self.pieces[-1].lasts]
        lasts = dict(zip(shown, (b - a for a, b in zip(shown, ends, strict=True)), strict=True))
        depth = max(map(_depth, coded))
        step = max(min(lasts.values()), 1)
        decoded = [*(shown[0] - (depth - i) * step for i in range(depth)), *shown]
        number = 0
        for piece in self.pieces:
            with av.open(str(piece.path), "r", format="nut") as container:
                packets = [p for p in container.demux(container.streams.video[0]) if p.size]
                for packet, at in zip(packets, _at(packets, piece, tick), strict=True):
                    packet.stream, packet.time_base = stream, tick
                    packet.pts, packet.dts, packet.duration = at, decoded[number], lasts[at]
                    yield float(decoded[number] * tick), packet
                    number += 1


def _pieces_in(folder: Path) -> list[Piece]:
    found: list[Piece] = []
    for path in sorted(folder.glob("*.nut")):
        match = NAMED.fullmatch(path.name)
        if match and int(match[1]) == len(found):
            found.append(Piece(path, *(int(match[group]) for group in (2, 3, 4))))
    return found


def _at(packets: list[Any], piece: Piece, tick: Fraction) -> list[int]:
    """When each is shown, in ticks; the file has shifted them all to where none is negative."""
    times = [round(packet.pts * packet.time_base / tick) for packet in packets]
    shift = piece.first - min(times)
    return [time + shift for time in times]


def _times(piece: Piece, tick: Fraction) -> list[int]:
    """Of its packets, in the order of decoding."""
    import av

    with av.open(str(piece.path), "r", format="nut") as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
        return _at(packets, piece, tick)


def _depth(times: list[int]) -> int:
    """By how many places a frame is decoded later than it is shown, at most."""
    places = {at: place for place, at in enumerate(sorted(times))}
    return max(number - places[at] for number, at in enumerate(times))
