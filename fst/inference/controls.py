"""What a user may ask of one pass: how much of it, where, in whose colors, strokes, paintings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from fst.errors import FstError
from fst.inference.strokes import require_stroke
from fst.nets.blend import require_weights
from fst.pictures.image import Picture, read_picture, to_picture
from fst.pictures.kept_colors import colors_kept
from fst.system.paths import user_path

ALPHA = "alpha"
NO_ALPHA_MASK = "the photo has no transparency that could be its mask; give a file"
STRIP = 16384  # pixels worked on at a time, which fit into a processor's cache

Mask = str | os.PathLike[str] | Image.Image | np.ndarray


@dataclass(frozen=True)
class Controls:
    """What is done with a pass and its photo; at the defaults, nothing.

    ``strength`` goes from the photo (0) to the picture (1): by the net where it was trained to take
    one (``fst.nets.trained_strength``), else by a mix of the pixels of the two. How strong the
    picture itself is, training's ``style.strength`` decides. ``keep_colors``
    takes so much of the photo's colors, under the picture's light and dark. ``mask`` says where
    there is a picture: white, and black where the photo stays; a path, a Pillow image, a uint8
    array (H, W), or "alpha" for the photo's own alpha channel. ``styles`` maps names of paintings
    in a file of several to the weights of a blend. ``stroke`` is the shorter side, in pixels, of
    the photo on which strokes would be as large in the picture, or "auto": as of 1,000 px on a
    larger photo. Raises ``FstError`` for what is none of this.
    """

    strength: float = 1.0
    keep_colors: float = 0.0
    mask: Mask | None = None
    styles: Mapping[str, float] | None = None
    stroke: int | str | None = None

    def __post_init__(self) -> None:
        _require_share("strength", self.strength)
        _require_share("keep_colors", self.keep_colors)
        mask = self.mask
        if isinstance(mask, np.ndarray):
            if mask.dtype != np.uint8 or mask.ndim != 2:
                raise FstError(
                    f"a mask of type {mask.dtype} and shape {mask.shape} is none; give uint8 of "
                    "shape (H, W), 0 where the photo stays"
                )
        elif mask is not None and not isinstance(mask, (str, os.PathLike, Image.Image)):
            raise FstError(
                f"a mask of type {type(mask).__name__} is none; give a path, a Pillow image, a "
                "uint8 array (H, W), or 'alpha'"
            )
        if self.styles is not None:
            require_weights(self.styles)
        require_stroke(self.stroke)

    @property
    def plain(self) -> bool:
        """Whether the picture is left as the passes make it."""
        return self.strength == 1 and self.keep_colors == 0 and self.mask is None


def _require_share(name: str, value: Any) -> None:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(
        value, bool
    )
    if not number or not 0 <= value <= 1:
        raise FstError(f"{name} {value!r} is not a number in 0 .. 1")


PLAIN = Controls()


def read_mask(path: str | os.PathLike[str]) -> Image.Image:
    """A picture file of any kind -> its luminance (L), upright; black where it is transparent."""
    return _luminance(read_picture(user_path(os.fspath(path))))


def _luminance(picture: Picture) -> Image.Image:
    gray = picture.rgb.convert("L")
    if picture.alpha is None:
        return gray
    return Image.composite(gray, Image.new("L", gray.size, 0), picture.alpha)


def mask_of(mask: Mask, alpha: Image.Image | None, width: int, height: int) -> np.ndarray:
    """The mask for a photo of this size and alpha channel: (H, W) uint8, 255 for the picture.

    One of another size is scaled if its sides have the same ratio to within a pixel. Raises
    ``FstError`` for other ratios, for a photo without transparency where its alpha is asked for,
    and for a file that is no picture.
    """
    if isinstance(mask, str) and mask == ALPHA:
        if alpha is None:
            raise FstError(NO_ALPHA_MASK)
        image = alpha
    else:
        image = mask_image(mask, width, height)
    return mask_rows(image, width, height, 0, height)


def mask_image(mask: Mask, width: int, height: int) -> Image.Image:
    """A mask that is none of the photo's own, of its shape; ``mask_rows`` makes it of its size."""
    if isinstance(mask, np.ndarray):
        image = Image.fromarray(mask)
    else:
        image = _luminance(to_picture(mask)) if isinstance(mask, Image.Image) else read_mask(mask)
    rows, columns = (
        image.height - height * image.width / width,
        (image.width - width * image.height / height),
    )
    if min(abs(rows), abs(columns)) > 1:
        raise FstError(
            f"the mask has {image.width}x{image.height} px, which is not the shape of the "
            f"photo of {width}x{height} px; give one drawn on the photo, at any size"
        )
    return image


def mask_rows(image: Image.Image, width: int, height: int, start: int, stop: int) -> np.ndarray:
    """Rows of a mask that is scaled to (height, width): (rows, W) uint8."""
    if image.size == (width, height):
        return np.asarray(image.crop((0, start, width, stop)), dtype=np.uint8)
    scale = image.height / height
    box = (0, start * scale, image.width, min(stop * scale, image.height))
    resized = image.resize((width, stop - start), Image.Resampling.BILINEAR, box)
    return np.asarray(resized, dtype=np.uint8)


def controlled(
    stylized: np.ndarray, photo: np.ndarray, controls: Controls, mask: np.ndarray | None = None
) -> np.ndarray:
    """stylized, photo (B, 3, H, W) uint8, mask (H, W) uint8 -> the controlled picture, as they are.

    The colors first, then ``stylized * s + photo * (1 - s)`` with the strength times the mask for
    s, rounded once: the photo's own bytes where s is 0, and the picture's where it is 1.
    ``controls.mask`` is not looked at: ``mask_of`` makes ``mask`` of it. The memory taken is that
    of the result and of a strip of ``STRIP`` pixels.
    """
    if controls.plain and mask is None:
        return stylized
    result = np.empty_like(stylized)
    keep = np.float32(controls.keep_colors)
    shares = None if mask is None else np.ascontiguousarray(mask).reshape(-1)
    whole = np.float32(controls.strength)
    for made, source, out in zip(*map(_flat, (stylized, photo, result)), strict=True):
        for start in range(0, made.shape[1], STRIP):
            part = slice(start, start + STRIP)
            x, y = source[:, part], made[:, part].astype(np.float32)
            if keep > 0:
                colors = colors_kept(made[:, part], x)
                y = colors if keep == 1 else y * (1 - keep) + colors * keep
            share = whole if shares is None else whole * shares[part] / np.float32(255)
            mixed = y * share + x * (1 - share)
            out[:, part] = np.rint(mixed, out=mixed)
    return result


def _flat(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(pixels.shape[0], 3, -1)
