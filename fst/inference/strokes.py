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
from fst.pictures.image import from_array, resize_shorter, scaled_size, to_array

AUTO = "auto"
AUTO_FROM = 1000  # px of the shorter side; strokes of larger photos are as large as on one of this
LEAST = 64  # px; below, a net sees no shapes

SUPPORT = 3  # of the wider filter (Lanczos), in pixels of the smaller picture
PIXELS_AT_ONCE = 4e6

Pass = Callable[[np.ndarray], np.ndarray]
Rows = Callable[[int, int], np.ndarray]


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


class StrokesInPlanes:
    """``with_strokes`` for what does not fit into the memory as a whole: rows of planes.

    ``photo`` gives rows (start, stop) of (height, width) RGB, (rows, W, 3) uint8.
    """

    def __init__(self, photo: Rows, height: int, width: int, side: int) -> None:
        if side > min(height, width):
            raise FstError(
                f"--stroke {side} on a photo of {width}x{height} px would be made on an enlarged "
                "one, which does not fit into the memory; give strokes of a smaller photo"
            )
        self._sides = height, width
        self._small = scaled_size(height, width, side)  # (height, width), as these are
        self._photo = photo
        self._missing: np.ndarray | None = None

    def look(self, run: Pass, stylized: Rows) -> None:
        """Find out what the picture ``stylized`` misses, by a pass over the small photo."""
        lanczos = Image.Resampling.LANCZOS
        small = self._reduced(lambda part, *where: _rows_of(part, lanczos, *where), self._photo)
        target = run(np.ascontiguousarray(small.astype(np.uint8).transpose(2, 0, 1)[None]))
        self._missing = target[0].transpose(1, 2, 0) - self._reduced(_planes_of, stylized)

    def rows(self, stylized: np.ndarray, start: int) -> np.ndarray:
        """Rows of the picture from ``start`` on, (rows, W, 3) uint8 -> those with the strokes."""
        assert self._missing is not None
        height = self._small[0]
        stop, scale = start + len(stylized), height / self._sides[0]
        first, last = _around(start, stop, scale, height)
        box = (start * scale - first, min(stop * scale, height) - first)
        added = _planes_of(self._missing[first:last], box, (len(stylized), self._sides[1]))
        return np.rint(stylized + added).clip(0, 255).astype(np.uint8)

    def _reduced(self, resize: Callable[..., np.ndarray], rows: Rows) -> np.ndarray:
        """All rows -> (height, width) of the small picture, (h, w, 3), part by part."""
        (height, width), (small_height, small_width) = self._sides, self._small
        scale = height / small_height
        step = max(1, int(PIXELS_AT_ONCE / (scale * width)))
        made = []
        for start in range(0, small_height, step):
            stop = min(start + step, small_height)
            first, last = _around(start, stop, scale, height)
            box = (start * scale - first, min(stop * scale, height) - first)
            made.append(resize(rows(first, last), box, (stop - start, small_width)))
        return np.concatenate(made)


def _around(start: int, stop: int, scale: float, length: int) -> tuple[int, int]:
    """Which of ``length`` rows a filter sees, to make rows ``start`` to ``stop`` at 1/scale."""
    margin = int(SUPPORT * max(scale, 1)) + 2
    return max(int(start * scale) - margin, 0), min(int(stop * scale) + margin, length)


def _rows_of(
    part: np.ndarray,
    resample: Image.Resampling,
    box: tuple[float, float],
    shape: tuple[int, int],
) -> np.ndarray:
    """(rows, W, 3) uint8, of which the rows of ``box`` -> of another shape."""
    image = Image.fromarray(np.ascontiguousarray(part))
    whole = (0, box[0], part.shape[1], box[1])
    return np.asarray(image.resize(shape[::-1], resample, whole))


def _planes_of(part: np.ndarray, box: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    """``_plane`` of each channel of (rows, W, 3), of which the rows of ``box``."""
    whole = (0, box[0], part.shape[1], box[1])
    resized = [
        Image.fromarray(np.ascontiguousarray(part[..., channel], np.float32)).resize(
            shape[::-1], Image.Resampling.BICUBIC, whole
        )
        for channel in range(part.shape[-1])
    ]
    return np.stack([np.asarray(plane) for plane in resized], axis=-1)
