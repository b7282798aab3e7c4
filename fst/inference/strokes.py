"""How large strokes are in a picture, whatever the size of the picture.

A net's strokes are a fixed number of pixels: on a photo of 4,000 px they are fine grain, on one of
256 px they swallow the faces. Here the strokes are those of a photo of another size. The
small picture says what is everywhere but in the finest detail, the pass at full size adds that
detail: edges of the photo, and the grain of the paint. This is one step of a Laplacian pyramid
(Burt and Adelson 1983): full + enlarged(small - reduced(full)).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from fst.errors import FstError
from fst.pictures.image import from_array, resize_shorter, to_array

AUTO = "auto"
AUTO_FROM = 1000  # px of the shorter side; strokes of larger photos are as large as on one of this
LEAST = 64  # px; below, a net sees no shapes

Pass = Callable[[np.ndarray], np.ndarray]


def require_stroke(stroke: int | str | None) -> None:
    """Raise ``FstError`` unless it is None, "auto" or a whole number of pixels, 64 or more."""
    whole = isinstance(stroke, (int, np.integer)) and not isinstance(stroke, bool)
    if stroke is not None and stroke != AUTO and not (whole and int(stroke) >= LEAST):
        raise FstError(
            f"stroke {stroke!r} is none; give auto, or the shorter side in pixels of the photo on "
            f"which the strokes would be as large, {LEAST} or more"
        )


def side_of(stroke: int | str | None, shorter_side: int) -> int | None:
    """The shorter side at which a photo is to be looked at, None for its own."""
    if stroke is None:
        return None
    side = min(shorter_side, AUTO_FROM) if stroke == AUTO else int(stroke)
    return None if side == shorter_side else side


def with_strokes(run: Pass, pixels: np.ndarray, side: int) -> np.ndarray:
    """pixels (B, 3, H, W) uint8 -> stylized by ``run`` with strokes as of a photo of that shorter
    side, the same shape.

    Of a larger ``side`` the whole enlarged picture is made and reduced. Of a smaller one the
    reduced result is the small picture to within what is rounded and clipped; a pass of
    (side / shorter side)^2 of the full one's time is all that it takes more.
    """
    small = np.concatenate([to_array(resize_shorter(from_array(p[None]), side)) for p in pixels])
    stylized = run(np.ascontiguousarray(small))
    if side > min(pixels.shape[2:]):
        return np.stack([_resized(one, pixels.shape[2:]) for one in stylized]).astype(np.uint8)
    result = run(np.ascontiguousarray(pixels)).copy()
    for full, wanted in zip(result, stylized, strict=True):
        for plane, target in zip(full, wanted, strict=True):
            missing = target - _plane(plane, target.shape)
            plane[:] = np.rint(plane + _plane(missing, plane.shape)).clip(0, 255)
    return result


def _resized(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.stack([np.rint(_plane(plane, shape)).clip(0, 255) for plane in picture])


def _plane(plane: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) -> float32 of another shape, bicubic, and free of aliases where it is reduced."""
    height, width = shape
    image = Image.fromarray(plane.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
