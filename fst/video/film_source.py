"""Frames of a film file, upright and in RGB, through PyAV (FFmpeg's libraries)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fst.errors import FstError, pip_install
from fst.pictures.image import scaled_size
from fst.system.files import open_regular
from fst.system.installed import is_here
from fst.video.film_colors import HIGH_RANGE, colors_of, to_rgb
from fst.video.frames import Colors, FilmInfo, Frame


def require_pyav(what: str) -> None:
    """Raise ``FstError`` where PyAV is not installed, with what ``what`` needs."""
    if not is_here("av"):
        raise FstError(f"{what} needs PyAV; {pip_install('video')}")


class FilmSource:
    """The film in a file: its first video stream that is no cover picture.

    Its frames are made so small, or large, that their shorter side has ``size`` pixels, and where
    they are to be ``square``, so wide that their pixels are.

    Raises ``FstError`` for a file that is no film. What is broken in it is left out and told of in
    ``trouble``: frames that cannot be decoded, an end that comes too early.
    """

    def __init__(self, path: Path, size: int | None = None, *, square: bool = False) -> None:
        require_pyav(f"reading {path}")
        import av

        self.path, self.trouble = path, list[str]()
        self._av = av
        self._size, self._square = size, square
        self._handle = open_regular(path)
        try:
            self.container = av.open(self._handle, "r")
        except (av.error.FFmpegError, ValueError) as error:
            self._handle.close()
            raise FstError(
                f"{path} cannot be read as a film ({_words(error)}); it is cut, damaged or none"
            ) from None
        streams = [s for s in self.container.streams.video if not _is_cover(s)]
        if not streams:
            self.close()
            raise FstError(f"{path} holds no video; `fst stylize` is for pictures")
        self.stream: Any = streams[0]
        if self.stream.codec_context is None:
            self.close()
            raise FstError(f"{path} is in a codec that is not known here; convert it first")
        self.stream.thread_type = "AUTO"
        self._index = self.stream.index
        self._noted = ""
        self._lasts = 1 / Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)
        self.info = self._read_info()

    def close(self) -> None:
        """Let go of the file."""
        if hasattr(self, "container"):
            self.container.close()
        self._handle.close()

    def frames(self, start: Fraction | None, end: Fraction | None) -> Iterator[Frame]:
        """Those at or after ``start`` and before ``end``, in order, each later than the last."""
        last: Fraction | None = None
        broken = damaged = 0
        for decoded in self._decoded(start):
            if decoded is None:
                broken += 1
                continue
            at = decoded.pts * Fraction(decoded.time_base)
            if end is not None and at >= end:
                break
            if (start is not None and at < start) or (last is not None and at <= last):
                continue
            damaged += bool(decoded.is_corrupt)
            lasts = (decoded.duration or 0) * Fraction(decoded.time_base) or 1 / self.info.rate
            yield Frame(at, lasts, upright(decoded, self.info.colors, *self._made(decoded)))
            last = at
        if broken:
            self.trouble.append(
                f"{self.path}: {_count(broken)} could not be decoded, and is missing"
            )
        if self._noted:
            self.trouble.append(
                f"{self.path} is damaged, and frames may be missing (FFmpeg: {self._noted})"
            )
        if damaged:
            self.trouble.append(f"{self.path}: {_count(damaged)} came out of damaged data")
        self._judge_end(last, end)

    def _judge_end(self, last: Fraction | None, end: Fraction | None) -> None:
        """Say so where the film is shorter than its header promises."""
        whole = self.info.seconds
        wanted = whole if end is None or whole is None else min(float(end), whole)
        reached = 0.0 if last is None else float(last + 1 / self.info.rate)
        if wanted is not None and wanted - reached > max(1.0, 3 / float(self.info.rate)):
            self.trouble.append(
                f"{self.path} ends at {reached:.1f} s and should last {wanted:.1f} s: it is cut"
            )

    def _decoded(self, start: Fraction | None) -> Iterator[Any]:
        """FFmpeg's frames, all from the one shown at ``start`` on; None for one that is lost."""
        if start is None or start <= 0:
            yield from self._from_here()
            return
        for back in (0, 2, 10):  # seconds before it at which a keyframe is looked for
            target = int((start - back) / self.stream.time_base)
            try:
                self.container.seek(target, stream=self.stream, backward=True)
            except self._av.error.FFmpegError:
                break
            frames = self._from_here()
            first = next((frame for frame in frames if frame is not None), None)
            if first is not None and first.pts * Fraction(first.time_base) <= start:
                yield first
                yield from frames
                return
        self._rewind()
        yield from self._from_here()

    def _made(self, decoded: Any) -> tuple[int, int]:
        """The width and height of a frame, before it is turned."""
        aspect = Fraction(self.stream.sample_aspect_ratio or 1) if self._square else 1
        return scaled_size(round(decoded.width * aspect), decoded.height, self._size)

    def _rewind(self) -> None:
        self.container.close()
        self._handle.seek(0)
        self.container = self._av.open(self._handle, "r")
        self.stream = self.container.streams[self._index]
        self.stream.thread_type = "AUTO"

    def _from_here(self) -> Iterator[Any]:
        packets, next_at = self.container.demux(self.stream), 0
        while True:
            try:
                packet = self._demuxed(packets)
            except StopIteration:
                return
            except self._av.error.FFmpegError as error:
                self.trouble.append(f"{self.path} cannot be read to its end ({_words(error)})")
                return
            try:
                decoded = packet.decode()
            except self._av.error.FFmpegError:
                yield None
                continue
            for frame in decoded:
                if frame.pts is None:
                    frame.pts = next_at
                next_at = frame.pts + (frame.duration or round(self._lasts / frame.time_base) or 1)
                yield frame

    def _demuxed(self, packets: Iterator[Any]) -> Any:
        """The next packet; what FFmpeg logs of a damaged container, which it skips, is noted.

        Its log goes nowhere else, and is off where it decodes: threads of its own do that.
        """
        logs = self._av.logging
        logs.set_level(logs.ERROR)
        try:
            with logs.Capture() as said:
                return next(packets)
        finally:
            logs.set_level(None)
            if said and not self._noted:
                self._noted = said[0][2].strip()

    def _read_info(self) -> FilmInfo:
        stream, first = self.stream, None
        try:
            first = next((frame for frame in self._from_here() if frame is not None), None)
        finally:
            self._noted = ""
            self.trouble.clear()  # told of when it is read in earnest
        if first is None:
            self.close()
            raise FstError(f"{self.path}: none of its frames can be decoded; it is damaged")
        stream_tick = stream.time_base
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        width, height = self._made(first)
        if self._square:
            aspect = Fraction(1)
        if first.rotation % 180:
            width, height, aspect = height, width, 1 / aspect
        seconds = None
        if stream.duration:
            seconds = float((stream.duration + (stream.start_time or 0)) * stream.time_base)
        elif self.container.duration:
            seconds = self.container.duration / 1e6
        frames = stream.frames or (round(seconds / float(self._lasts)) if seconds else None)
        colors = colors_of(first)
        if colors.transfer in HIGH_RANGE:
            self.trouble.append(
                f"{self.path} has high dynamic range; its result has 8 bits a value, and may show "
                "bands"
            )
        self._rewind()
        tick = Fraction(stream_tick)
        return FilmInfo(width, height, 1 / self._lasts, tick, aspect, colors, seconds, frames)


def upright(decoded: Any, colors: Colors, width: int, height: int) -> np.ndarray:
    """A decoded frame -> (1, 3, H, W) uint8 RGB of this size, turned as a player would turn it."""
    turned = np.rot90(to_rgb(decoded, colors, width, height), round(decoded.rotation / 90) % 4)
    return np.ascontiguousarray(turned.transpose(2, 0, 1)[None])


def _is_cover(stream: Any) -> bool:
    return "attached_pic" in str(stream.disposition).lower()


def _count(many: int) -> str:
    return "1 frame" if many == 1 else f"{many} frames"


def _words(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]
