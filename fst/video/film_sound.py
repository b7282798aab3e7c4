"""Sound and subtitles of a film, copied packet by packet into another, bit for bit."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from fst.system.files import open_regular

KINDS = {"audio": "sound", "subtitle": "subtitles"}


class Copied:
    """The streams of ``path`` that a container can hold, between two times of it, in seconds.

    None has no streams.
    ``left_out`` has a sentence for each that it cannot.
    """

    def __init__(self, path: Path | None, start: Fraction | None, end: Fraction | None) -> None:
        self._path, self._start, self._end = path, start, end
        self.left_out: list[str] = []

    def into(self, film: Any) -> Iterator[tuple[float, Any]]:
        """Give ``film``, open to be written, its streams; their packets, with their seconds."""
        import av

        if self._path is None:
            return iter(())
        handle = open_regular(self._path)
        source = av.open(handle, "r")
        targets: dict[int, Any] = {}
        for stream in source.streams:
            if stream.type not in KINDS:
                continue
            if not _can_hold(film.format.name, stream):
                name = getattr(stream.codec_context, "name", None) or "unknown"
                self.left_out.append(
                    f"{KINDS[stream.type]} in {name} cannot be in a .{film.format.name} film and "
                    "is left out; a .mkv holds nearly all"
                )
                continue
            copy = film.add_stream_from_template(stream, opaque=True)
            copy.metadata.update(stream.metadata)
            targets[stream.index] = copy
        return self._packets(handle, source, targets)

    def _packets(
        self, handle: Any, source: Any, targets: dict[int, Any]
    ) -> Iterator[tuple[float, Any]]:
        start = self._start or Fraction(0)
        expected = dict.fromkeys(targets, 0)
        try:
            if not targets:
                return
            for packet in _until_cut(source.demux([source.streams[i] for i in targets])):
                if not packet.size:
                    continue
                index, tick = packet.stream.index, Fraction(packet.time_base)
                at = packet.pts if packet.pts is not None else packet.dts
                if at is None:  # some old files give no times after the first
                    at = packet.pts = packet.dts = expected[index]
                expected[index] = at + (packet.duration or 0)
                seconds = at * tick
                # without a start what is before 0 stays: an encoder's first samples are there
                before = self._start is not None and seconds < start
                if before or (self._end is not None and seconds >= self._end):
                    continue
                shift = round(start / tick)
                packet.pts = at - shift
                if packet.dts is not None:
                    packet.dts -= shift
                packet.stream = targets[index]
                yield float(seconds - start), packet
        finally:
            source.close()
            handle.close()


def _until_cut(packets: Iterator[Any]) -> Iterator[Any]:
    """As far as a damaged file can be read; the frames' reader tells of it."""
    import av

    while True:
        try:
            yield next(packets)
        except (StopIteration, av.error.FFmpegError):
            return


def _can_hold(container: str, stream: Any) -> bool:
    """Whether a film of this format can be begun with a copy of the stream in it."""
    import av

    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
