"""One prepared photo a file: small, not compressed, so that a crop of it costs no decoding.

``PHOTO.CRC32.fstphoto`` holds a line ``fst photo 1 WIDTH HEIGHT`` and three planes of bytes: Y at
full size, Cb and Cr at half the width and height, rounded up (JFIF's full-range YCbCr, as JPEG
itself stores most photos). CRC32 is of the whole file.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fst.errors import FstError
from fst.system.files import open_regular

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".fstphoto"
MAGIC = "fst photo 1"
LONGEST_HEADER = 40  # bytes

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


class SmallPhoto:
    """A prepared photo: luminance (H, W), and Cb and Cr side by side (ceil H/2, ceil W/2, 2)."""

    def __init__(self, *, luminance: np.ndarray, color: np.ndarray) -> None:
        self.luminance, self.color = luminance, color
        self.size = (luminance.shape[1], luminance.shape[0])  # as Pillow has it

    @classmethod
    def of(cls, image: Image.Image) -> SmallPhoto:
        """An RGB Pillow image, as it is but for the resolution of its color."""
        luminance, *color = image.convert("YCbCr").split()
        half = ((image.width + 1) // 2, (image.height + 1) // 2)
        reduced = [np.asarray(plane.resize(half, Image.Resampling.BOX)) for plane in color]
        return cls(luminance=np.array(luminance), color=np.stack(reduced, axis=-1))

    def crop(self, box: Box, size: tuple[int, int]) -> Tensor:
        """The box, resized to ``size`` (width, height) -> (1, 3, H, W), RGB float in [0, 1].

        Its edges are moved to even pixels, by 1.5 at most, so that both planes can be cut. torch
        resizes 8-bit pixels several times faster than Pillow, to the same values but for rounding.
        """
        import torch

        (left, right), (top, bottom) = (
            _even(*ends, of) for ends, of in zip((box[::2], box[1::2]), self.size, strict=True)
        )
        color = self.color[top // 2 : bottom // 2, left // 2 : right // 2]
        y = _resized(self.luminance[top:bottom, left:right, None], size)[0]
        cb, cr = _resized(color, size).sub_(128)
        rgb = torch.empty(1, 3, size[1], size[0])
        torch.add(y, cr, alpha=1.402, out=rgb[0, 0])
        torch.add(y, cr, alpha=-0.714136, out=rgb[0, 1]).add_(cb, alpha=-0.344136)
        torch.add(y, cb, alpha=1.772, out=rgb[0, 2])
        return rgb.div_(255).clamp_(0, 1)

    def image(self) -> Image.Image:
        """The whole photo as an RGB Pillow image."""
        bands = (Image.fromarray(np.ascontiguousarray(band)) for band in self.color.T)
        color = [band.transpose(Image.Transpose.TRANSPOSE) for band in bands]
        color = [band.resize(self.size, Image.Resampling.BILINEAR) for band in color]
        return Image.merge("YCbCr", [Image.fromarray(self.luminance), *color]).convert("RGB")

    def to_bytes(self) -> bytes:
        """What a file holds."""
        header = f"{MAGIC} {self.size[0]} {self.size[1]}\n".encode()
        return header + self.luminance.tobytes() + self.color.tobytes()


def _even(start: float, end: float, of: int) -> tuple[int, int]:
    """The stretch from an even number to another that is nearest, within ``of``."""
    length = max(2, min(2 * round((end - start) / 2), of // 2 * 2))
    first = max(0, min(2 * round((start + end - length) / 4), of // 2 * 2 - length))
    return first, first + length


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> Tensor:
    """(h, w, bands) uint8 -> (bands, H, W) float, in levels of 255."""
    import torch
    import torch.nn.functional as F

    given = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return F.interpolate(given, size=size[::-1], mode="bilinear", antialias=True)[0].float()


def file_name(photo: str, data: bytes | memoryview) -> str:
    """The name of a prepared file of ``photo``'s name: with the data's checksum in it."""
    return f"{photo}.{zlib.crc32(data):08x}{SUFFIX}"


def photo_name(path: Path) -> str:
    """The name of the photo that a file is or was prepared from."""
    return path.name[: -len(SUFFIX) - 9] if path.suffix == SUFFIX else path.name


def read_small_photo(path: str | Path) -> SmallPhoto:
    """Read a prepared photo; ``FstError`` if it is missing or does not match its checksum."""
    path = Path(path)
    try:
        with open_regular(path) as handle:
            data = np.fromfile(handle, np.uint8)
    except OSError as error:
        raise FstError(f"{path} cannot be read: {error.strerror or error}") from None
    if file_name(photo_name(path), data.data) != path.name:
        raise FstError(f"{path} is damaged: it does not match its checksum; `fst prepare` again")
    header = data[:LONGEST_HEADER].tobytes().partition(b"\n")[0]
    found = re.fullmatch(rf"{MAGIC} (\d+) (\d+)", header.decode("ascii", errors="replace"))
    if found is None:
        raise FstError(f"{path} is not a prepared photo; `fst prepare` makes them")
    width, height = int(found[1]), int(found[2])
    split = len(header) + 1 + width * height
    half = ((height + 1) // 2, (width + 1) // 2)
    if min(width, height) < 1 or data.size != split + 2 * half[0] * half[1]:
        raise FstError(f"{path} does not hold the {width}x{height} px that it says")
    return SmallPhoto(
        luminance=data[len(header) + 1 : split].reshape(height, width),
        color=data[split:].reshape(*half, 2),
    )
