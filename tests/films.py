"""Tiny films with known contents, made through PyAV."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation as Way

TICK = Fraction(1, 1000)


def pixels_of(number: int, width: int = 48, height: int = 32) -> np.ndarray:
    """(H, W, 3) uint8: a bright square that moves over a gradient, red at the top left."""
    rows, columns = np.mgrid[:height, :width]
    frame = np.stack([rows * 4 + 40, columns * 3 + 60, 120 + 0 * rows], -1).clip(0, 255)
    left = 3 * number % (width - 12)
    frame[height - 12 : height - 2, left : left + 10] = 235, 60, 30
    frame[:6, :6] = 230, 20, 20
    return frame.astype(np.uint8)


def film(
    path: Path,
    times: Sequence[int],
    *,
    size: tuple[int, int] = (48, 32),
    sound: bool = False,
    subtitles: bool = False,
    rotation: int = 0,
    colorspace: int = 5,
    values: int = 1,
    aspect: Fraction = Fraction(1),
    crf: int = 4,
    gop: int = 12,
) -> Path:
    """A film with a frame at each of ``times``, in ms; ``values`` is 1 for limited, 2 for full."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        context = stream.codec_context
        context.time_base, context.gop_size, context.thread_count = TICK, gop, 1
        context.colorspace = context.color_primaries = context.color_trc = colorspace
        context.color_range, context.sample_aspect_ratio = values, aspect
        if rotation:
            stream.set_display_rotation(rotation)
        audio: Any = container.add_stream("aac", rate=8000) if sound else None
        text = av.open(str(_text_beside(path))) if subtitles else None
        written = None if text is None else container.add_stream_from_template(text.streams[0])
        for number, at in enumerate(times):
            frame = av.VideoFrame.from_ndarray(pixels_of(number, *size), format="rgb24")
            frame = frame.reformat(
                format="yuv420p", dst_colorspace=colorspace, dst_color_range=values
            )
            frame.pts, frame.time_base = at, TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None:
            _add_sound(container, audio, times[-1])
        if text is not None:
            for packet in text.demux():
                if packet.size:
                    packet.stream = written
                    container.mux(packet)
            text.close()
    return path


def _add_sound(container: Any, stream: Any, last: int) -> None:
    tone = np.sin(np.arange(8 * last) / 5).astype(np.float32)
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=8000, frame_size=1024)
    frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = 8000, 0
    for part in resampler.resample(frame):
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))


def _text_beside(path: Path) -> Path:
    text = path.with_suffix(".srt")
    text.write_text("1\n00:00:00,080 --> 00:00:00,280\na line of text\n\n")
    return text


def frames_of(path: Path) -> list[tuple[Fraction, np.ndarray]]:
    """When each frame of a film is shown, in seconds, and its RGB."""
    with av.open(str(path)) as container:
        return [(f.pts * f.time_base, _rgb(f)) for f in container.decode(video=0)]


def _rgb(frame: av.VideoFrame) -> np.ndarray:
    whole = Way.BICUBIC | Way.ACCURATE_RND | Way.FULL_CHR_H_INT | Way.FULL_CHR_H_INP
    return frame.reformat(
        format="rgb24",
        interpolation=whole,
        src_colorspace=frame.colorspace,
        src_color_range=frame.color_range,
        dst_color_range=2,
    ).to_ndarray()


def packets_of(path: Path, kind: str) -> list[str]:
    """A hash of each packet of the streams of a kind."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        packets = container.demux(streams) if streams else []
        return [hashlib.sha256(bytes(p)).hexdigest() for p in packets if p.size]
