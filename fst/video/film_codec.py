"""How frames become a film: codecs, containers, the encoder of one segment."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fst.errors import FstError
from fst.system.machine import processor_flags
from fst.video.film_colors import FULL, LIMITED, from_rgb
from fst.video.frames import EVEN, FilmInfo

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
CODECS = {"h264": "libx264", "h265": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
DEFAULT = {"webm": "vp9"}  # and h264 elsewhere
CRF = {"h264": 20, "h265": 23, "vp9": 30, "av1": 30}  # much alike to the eye
MOST_CRF = {"h264": 51, "h265": 51, "vp9": 63, "av1": 63}
OPTIONS = {
    "h265": {"x265-params": "log-level=none:pools=none"},
    "vp9": {"b": "0", "row-mt": "1", "cpu-used": "4", "deadline": "good"},
    "av1": {"preset": "8"},
}
THREADS = 2  # of an encoder, always: x264's bytes depend on their number
PIXELS = "yuv420p"
ANY_ASPECT = ("h264", "h265")  # say themselves how wide their pixels are, which the others cannot


def encoder_options(codec: str, flags: str) -> dict[str, str]:
    """The options of a codec's encoder on a processor of these ``flags`` (``processor_flags``).

    With AVX-512, x264's bytes are others now and then (seen in PyAV 18.1), and a film that goes on
    after a stop would not be the one that was not stopped.
    """
    own = OPTIONS.get(codec, {})
    if codec == "h264" and {"avx2", "avx512f"} <= set(flags.split()):
        return {**own, "x264-params": "asm=avx2"}
    return own


@dataclass(frozen=True)
class Encoding:
    """What a film is written as: its container's format, codec and quality (lower is better)."""

    container: str
    codec: str
    crf: int


def encoding_of(path: Path, codec: str | None, crf: int | None) -> Encoding:
    """By the suffix and what was asked for. Raises ``FstError`` for what is not known or fits."""
    container = FORMATS.get(path.suffix.lower())
    if container is None:
        raise FstError(
            f"{path}: '{path.suffix}' is no film that we write; use {', '.join(FORMATS)}"
        )
    name = codec or DEFAULT.get(container, "h264")
    if name not in CODECS:
        raise FstError(f"--codec {name} is unknown; use one of {', '.join(CODECS)}")
    if container == "webm" and name not in ("vp9", "av1"):
        raise FstError(f"{path}: WebM holds vp9 and av1, not {name}; use .mp4 or another --codec")
    quality = CRF[name] if crf is None else crf
    if not 0 <= quality <= MOST_CRF[name]:
        raise FstError(f"--crf {quality} is not in 0 .. {MOST_CRF[name]}, the range of {name}")
    _require_encoder(name)
    return Encoding(container, name, quality)


def _require_encoder(name: str) -> None:
    import av

    os.environ.setdefault("SVT_LOG", "1")  # errors; it tells a page of its settings otherwise
    try:
        av.codec.Codec(CODECS[name], "w")
    except ValueError:
        raise FstError(f"--codec {name}: this PyAV has no {CODECS[name]}; use h264") from None


class SegmentEncoder:
    """A few frames -> a closed piece of film: it begins with a keyframe and needs no other piece.

    ``data`` is a file in the NUT format, which keeps times exactly as they are given: whole
    numbers of ``info.tick``.
    """

    def __init__(self, info: FilmInfo, encoding: Encoding) -> None:
        import av

        self._info = info
        self._buffer = io.BytesIO()
        self._container = av.open(self._buffer, "w", format="nut", options={"fflags": "+bitexact"})
        own = encoder_options(encoding.codec, processor_flags())
        options = {"crf": str(encoding.crf), **own}
        stream: Any = self._container.add_stream(
            CODECS[encoding.codec], rate=info.rate, options=options
        )
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, PIXELS
        context = stream.codec_context
        context.time_base = info.tick
        context.sample_aspect_ratio = info.aspect
        context.thread_count = THREADS
        colors = info.colors
        context.colorspace = colors.space
        context.color_range = FULL if colors.range == FULL else LIMITED
        context.color_primaries, context.color_trc = colors.primaries, colors.transfer
        self._stream = stream
        self.many = 0

    def add(self, pixels: np.ndarray, pts: int) -> None:
        """pixels (1, 3, H, W) uint8 RGB, shown at ``pts`` ticks."""
        frame = from_rgb(pixels[0].transpose(1, 2, 0), self._info.colors, PIXELS)
        frame.pts, frame.time_base = pts, self._info.tick
        self._container.mux(self._stream.encode(frame))
        self.many += 1

    def data(self) -> bytes:
        """The whole piece; nothing can be added to it any more."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._buffer.getvalue()


def even(pixels: np.ndarray) -> np.ndarray:
    """Without the last row or column where their number is odd: films have even sides."""
    height, width = (side // EVEN * EVEN for side in pixels.shape[2:])
    return pixels[:, :, :height, :width]
