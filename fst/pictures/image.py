"""Files <-> pictures <-> tensors (B, 3, H, W), RGB float in [0, 1].

With ``opening.py`` and ``color.py``, all that knows Pillow, 8-bit pixels, EXIF, ICC profiles, alpha
and odd color modes. torch is imported where a tensor is first asked for: files and arrays do
without it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fst.errors import FstError
from fst.pictures.color import (
    alpha_of,
    from_srgb,
    require_whole_values,
    to_eight_bits,
    to_srgb,
    transparent_color,
    upright,
    white_level,
)
from fst.pictures.opening import Accept, accept_photo, opened
from fst.system.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

SAVE_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
NO_ALPHA = {"JPEG", "BMP"}
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}  # pixels


@dataclass(frozen=True)
class Picture:
    """An upright 8-bit RGB picture, with its alpha channel and its ICC profile if it has any."""

    rgb: Image.Image  # mode RGB, in sRGB
    alpha: Image.Image | None = None  # mode L, of the same size
    icc_profile: bytes | None = None  # what a file of it is in, of an RGB color space; None: sRGB

    def image(self) -> Image.Image:
        """RGB or RGBA as a file has it: in the colors of the profile, which is in its ``info``."""
        image, profile = self.rgb.copy(), None
        if self.icc_profile is not None:
            image, profile = from_srgb(image, self.icc_profile)
        if self.alpha is not None:
            image.putalpha(self.alpha)
        if profile is not None:
            image.info["icc_profile"] = profile
        return image

    def resized(self, shorter_side: int) -> Picture:
        """The same picture with its shorter side at ``shorter_side`` pixels."""
        return Picture(
            rgb=resize_shorter(self.rgb, shorter_side),
            alpha=resize_shorter(self.alpha, shorter_side) if self.alpha else None,
            icc_profile=self.icc_profile,
        )


def read_picture(path: str | Path, accept: Accept | None = None) -> Picture:
    """Read any picture file as an upright 8-bit RGB ``Picture`` in sRGB.

    Gray, palette, CMYK, 16-bit and floating-point files are converted; of an animation the first
    frame is taken. ``accept`` is given the (width, height) of the header before memory is taken,
    and may refuse it by raising ``FstError``; without it ``MOST_PIXELS`` may be read. Raises
    ``FstError`` naming the file for anything that cannot be decoded.
    """
    with opened(path, accept or accept_photo(path)) as image:
        try:
            return to_picture(image)
        except FstError as error:
            raise FstError(f"{path}: {error}") from None


def to_picture(image: Image.Image) -> Picture:
    """A decoded Pillow image of any mode and EXIF orientation -> an upright ``Picture``."""
    transparent, white = transparent_color(image), white_level(image)  # while the file is there
    image.load()
    require_whole_values(image, white)
    image = upright(image)
    profile = image.info.get("icc_profile") or None
    alpha = None
    if transparent is not None and image.mode in ("RGB", "L", "1", "I", *SIXTEEN_BITS):
        alpha = alpha_of(image, transparent)
    if image.mode.startswith("I") or image.mode == "F":
        image = to_eight_bits(image, white)
    if image.mode == "P":
        image = image.convert("RGBA" if transparent is not None else "RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBa"):
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        alpha = image.getchannel("A")
    if alpha is not None and alpha.getextrema() == (255, 255):
        alpha = None
    if image.mode == "RGBA":
        image = image.convert("RGB")
    if profile is not None:
        image, profile = to_srgb(image, profile)
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    rgb.info = {}  # Pillow would write the old profile of converted pixels
    return Picture(rgb=rgb, alpha=alpha, icc_profile=profile)


def to_array(image: Image.Image) -> np.ndarray:
    """An RGB Pillow image -> (1, 3, H, W) uint8."""
    return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)[None].copy()


def from_array(pixels: np.ndarray) -> Image.Image:
    """(1, 3, H, W) uint8 -> an RGB Pillow image."""
    return Image.fromarray(np.ascontiguousarray(pixels[0].transpose(1, 2, 0)))


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB Pillow image -> (1, 3, H, W) float in [0, 1]."""
    import torch

    return torch.from_numpy(to_array(image)).float() / 255


def to_image(picture: Tensor) -> Image.Image:
    """(3, H, W) or (1, 3, H, W), uint8 or float in [0, 1] -> an RGB Pillow image."""
    if picture.ndim == 3:
        picture = picture.unsqueeze(0)
    if picture.is_floating_point():
        picture = (picture.detach().float().clamp(0, 1) * 255).round().byte()
    return from_array(picture.cpu().numpy())


def scaled_size(width: int, height: int, shorter_side: int | None) -> tuple[int, int]:
    """(width, height) with the shorter side at ``shorter_side`` pixels, if one is asked for."""
    if shorter_side is None or min(width, height) < 1:
        return width, height
    scale = shorter_side / min(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def resize_shorter(image: Image.Image, shorter_side: int) -> Image.Image:
    """Resize so that the shorter side is ``shorter_side`` pixels, proportions kept (Lanczos)."""
    size = scaled_size(*image.size, shorter_side)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def require_writable(path: Path, width: int, height: int) -> str:
    """The format of a path's suffix; ``FstError`` if it is none we write or has no such sides."""
    file_format = SAVE_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise FstError(
            f"{path}: '{path.suffix}' is not a format we write; use one of "
            f"{', '.join(SAVE_FORMATS)}"
        )
    if max(width, height) > LONGEST_SIDE.get(file_format, max(width, height)):
        raise FstError(
            f"{path} cannot be written: a side of {file_format} has {LONGEST_SIDE[file_format]} px "
            f"at most, and the picture {width}x{height}; use .png"
        )
    return file_format


def save_picture(path: str | Path, picture: Picture, *, quality: int) -> None:
    """Write a picture in the format of the path's suffix; it appears whole or not at all.

    The file is written beside its place, flushed to the disk and renamed. A format without alpha
    gets the picture on white. ``quality`` (1 to 100) is for JPEG and WebP.
    """
    path = Path(path)
    file_format = require_writable(path, *picture.rgb.size)
    if file_format == "BMP":  # it has no room for a profile
        picture = replace(picture, icc_profile=None)
    if picture.alpha is not None and file_format in NO_ALPHA:
        white = Image.new("RGB", picture.rgb.size, "white")
        rgb = Image.composite(picture.rgb, white, picture.alpha)
        picture = replace(picture, rgb=rgb, alpha=None)
    image = picture.image()
    options: dict[str, object] = {}
    if "icc_profile" in image.info:
        options["icc_profile"] = image.info["icc_profile"]
    if file_format in ("JPEG", "WEBP"):
        options["quality"] = quality
    if file_format == "JPEG":
        options["subsampling"] = 0 if quality >= 90 else 2  # fine strokes are colored
    buffer = io.BytesIO()
    try:
        image.save(buffer, format=file_format, **options)
    except Exception as error:
        raise FstError(f"{path} cannot be written as {file_format} ({error})") from None
    write_whole(path, buffer.getvalue())
