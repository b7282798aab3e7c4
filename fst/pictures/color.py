"""Odd pixels -> upright 8-bit RGB in sRGB: EXIF, bit depths, transparency, color profiles."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from fst.errors import FstError

FULL = 65535  # what white is in 16 bits, unless the file says less
# of TIFF: the largest value there can be, as DNG, signed and unsigned files say it
WHITE_TAGS, BITS_TAG = (50717, 341, 281), 258
DEPTHS = {2**bits - 1 for bits in range(9, 16)}
ROWS = 256  # converted at once from floating point, which takes 8 bytes a pixel
NEARLY = 2  # levels of 255, within which a profile's colors count as those of sRGB


def upright(image: Image.Image) -> Image.Image:
    """A copy turned as its EXIF orientation says; in damaged EXIF the pixels are still good."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF raises nearly anything
        return image.copy()


def white_level(image: Image.Image) -> int:
    """The value of white in a 16-bit file, as far as it says: 4095 for 12 bits in a TIFF.

    Only a largest value of a whole number of bits counts: others say what a photo happens to hold.
    """
    tags: Any = getattr(image, "tag_v2", None) or {}
    for tag in WHITE_TAGS:
        value = _first(tags.get(tag))
        if value in DEPTHS:
            return int(value)
    bits = _first(tags.get(BITS_TAG))
    return 2 ** int(bits) - 1 if bits in range(9, 16) else FULL


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def require_whole_values(image: Image.Image, white: int) -> None:
    """Raise ``FstError`` for color of 9 to 15 bits in 16, of which Pillow keeps the upper 8."""
    if image.mode in ("RGB", "RGBA") and white < FULL:
        raise FstError(
            f"its colors have {white.bit_length()} bits in 16, which cannot be read; "
            "save it with 8 or 16 whole bits"
        )


def transparent_color(image: Image.Image) -> Any:
    """The color that a file without an alpha channel calls transparent, in the pixels' own values.

    None if it has none. A file of another depth than its pixels has it in the file's depth; so
    this must be asked before the pixels are loaded.
    """
    value = image.info.get("transparency")
    tiles: Any = getattr(image, "tile", None)
    stored = str(tiles[0][3]) if tiles else ""
    if image.mode == "RGB" and isinstance(value, tuple):
        deep = stored.startswith("RGB;16") or max(value) > 255
        return tuple(part >> 8 for part in value) if deep else value
    if image.mode == "1" and isinstance(value, int):
        return 255 if value else 0
    if image.mode == "L" and isinstance(value, int):
        return value * {"L;2": 85, "L;4": 17}.get(stored, 1)
    return value


def alpha_of(image: Image.Image, transparent: Any) -> Image.Image:
    """Where gray or RGB pixels are of another color than the transparent one -> mode L."""
    pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
    seen = pixels != np.asarray(transparent, dtype=np.int64)
    seen = seen.any(axis=-1) if seen.ndim == 3 else seen
    return Image.fromarray(seen.astype(np.uint8) * 255)


def to_eight_bits(image: Image.Image, white: int = FULL) -> Image.Image:
    """Modes I, I;16* and F -> L: of 16-bit values ``white`` becomes 255, of floating point 1."""
    array = np.asarray(image)
    if array.dtype.kind == "f":
        top = max((_finite(array[row : row + ROWS]).max() for row in _rows(array)), default=0.0)
    else:
        top = float(array.max(initial=0))
    scale = 1.0
    if image.mode == "F" and top <= 1:
        scale = 255.0
    elif image.mode.startswith("I;16") or 255 < top <= FULL:
        scale = 255 / (white if top <= white else FULL)
    elif top > FULL:
        scale = 255 / top
    result = np.empty(array.shape, np.uint8)
    for row in _rows(array):
        result[row : row + ROWS] = (_finite(array[row : row + ROWS]) * scale).round().clip(0, 255)
    return Image.fromarray(result)


def _rows(array: np.ndarray) -> range:
    return range(0, len(array), ROWS)


def _finite(array: np.ndarray) -> np.ndarray:
    return np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def to_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, bytes | None]:
    """Pixels as a profile means them -> those of sRGB, and the profile if it is one of RGB.

    Display P3 or Adobe RGB become sRGB, since nets learn from sRGB and a red of Display P3 has
    other numbers there; ``from_srgb`` goes back. A profile that does not fit its pixels, or that
    is damaged, is as good as none.
    """
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if opened.profile.xcolor_space.strip() == "RGB":
            if image.mode != "RGB":
                return image, None
            return (image if _is_srgb(profile) else _converted(image, opened, _srgb())), profile
        return _converted(image, opened, _srgb()), None
    except Exception:  # littleCMS's errors are of several kinds
        return image, None


def from_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, bytes | None]:
    """An sRGB image in the colors of an RGB profile; in sRGB, and None, if it is for input only."""
    try:
        if _is_srgb(profile):
            return image, profile
        return _converted(image, _srgb(), ImageCms.ImageCmsProfile(io.BytesIO(profile))), profile
    except Exception:
        return image, None


def _converted(image: Image.Image, from_profile: Any, to_profile: Any) -> Image.Image:
    return ImageCms.profileToProfile(image, from_profile, to_profile, outputMode="RGB") or image


def _srgb() -> Any:
    return ImageCms.createProfile("sRGB")


@lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    levels = np.array([0, 32, 64, 128, 192, 255], np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    seen = np.asarray(_converted(Image.fromarray(colors), opened, _srgb()))
    return int(np.abs(seen.astype(int) - colors).max()) <= NEARLY
