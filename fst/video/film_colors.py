"""Between a film's numbers (YUV in some matrix and range) and RGB, within a level there and back.

swscale is told all of it: by itself it takes the range of the source for that of the target, and
without its two switches for whole chroma it darkens all by up to two levels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fst.video.frames import Colors

UNKNOWN = 2  # H.273: the file does not say
BT709, BT601 = 1, 5  # the matrices that players take for such a film: high definition, and lower
HIGH = 720  # px of height, from which a film is in high definition
# H.273's number of a matrix -> swscale's; RGB has none
SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
FULL, LIMITED = 2, 1  # FFmpeg's numbers of a range: 0 .. 255, and 16 .. 235 (of colors to 240)
HIGH_RANGE = (16, 18)  # H.273's curves of high dynamic range: PQ and HLG


def colors_of(decoded: Any) -> Colors:
    """Of a decoded frame; a matrix that the file does not name is that which players take."""
    space = decoded.colorspace
    if space == UNKNOWN:
        space = BT709 if decoded.height >= HIGH else BT601
    full = decoded.color_range == FULL or decoded.format.name.startswith("yuvj")
    values = FULL if full else decoded.color_range
    return Colors(space, values, decoded.color_primaries, decoded.color_trc)


def to_rgb(decoded: Any, colors: Colors, width: int, height: int) -> np.ndarray:
    """A decoded frame -> (height, width, 3) uint8 RGB."""
    told = {}
    if not decoded.format.is_rgb:
        told["src_colorspace"] = SWSCALE.get(colors.space, BT601)
        told["src_color_range"] = FULL if colors.range == FULL else LIMITED
    made = decoded.reformat(
        width=width,
        height=height,
        format="rgb24",
        interpolation=_exactly(),
        dst_color_range=FULL,
        **told,
    )
    return np.asarray(made.to_ndarray())


def from_rgb(rgb: np.ndarray, colors: Colors, pixel_format: str) -> Any:
    """(H, W, 3) uint8 RGB -> a frame to encode, in ``colors``."""
    from av import VideoFrame

    frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    return frame.reformat(
        format=pixel_format,
        interpolation=_exactly(),
        src_color_range=FULL,
        dst_colorspace=SWSCALE.get(colors.space, BT601),
        dst_color_range=FULL if colors.range == FULL else LIMITED,
    )


def _exactly() -> Any:
    from av.video.reformatter import Interpolation as Way

    return Way.BICUBIC | Way.ACCURATE_RND | Way.FULL_CHR_H_INT | Way.FULL_CHR_H_INP
