"""Files <-> pictures <-> tensors (B, 3, H, W), RGB float in [0, 1].

The only file that knows Pillow, 8-bit pixels, EXIF, ICC profiles, alpha and odd color modes.
torch is imported where a tensor is first asked for: files and arrays do without it.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from fst.errors import FstError
from fst.system.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

# what a folder is searched for; a file named on its own may have any suffix Pillow reads
PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"}
    | {".pgm", ".jp2", ".avif", ".tga"}
)
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


@dataclass(frozen=True)
class Picture:
    """An upright 8-bit RGB picture, with its alpha channel and its ICC profile if it has any."""

    rgb: Image.Image  # mode RGB
    alpha: Image.Image | None = None  # mode L, of the same size
    icc_profile: bytes | None = None  # of an RGB color space; None means sRGB

    def resized(self, shorter_side: int) -> Picture:
        """The same picture with its shorter side at ``shorter_side`` pixels."""
        return Picture(
            rgb=resize_shorter(self.rgb, shorter_side),
            alpha=resize_shorter(self.alpha, shorter_side) if self.alpha else None,
            icc_profile=self.icc_profile,
        )


def open_image(path: str | Path) -> Image.Image:
    """Decode the first frame of a picture file and turn it upright, in whatever mode it has.

    Raises ``FstError`` naming the file for anything that cannot be decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata and large sizes: we say it or it is fine
            with Image.open(path) as image:
                image.load()
                return _upright(image)
    except FileNotFoundError:
        raise FstError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise FstError(f"{path} is a folder, not a picture") from None
    except PermissionError:
        raise FstError(f"{path} may not be read; change its permissions") from None
    except Image.DecompressionBombError:
        raise FstError(
            f"{path} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} megapixels; "
            "make it smaller first"
        ) from None
    except UnidentifiedImageError:
        raise FstError(f"{path} is not a picture that can be read; give a JPEG or PNG") from None
    except Exception as error:  # Pillow's plugins raise nearly anything on a damaged file
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise FstError(f"{path} is damaged and cannot be decoded ({reason})") from None


def picture_size(path: str | Path) -> tuple[int, int] | None:
    """(width, height) in pixels as a picture file's header has them; None if it has no say."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return image.size
    except Exception:  # Pillow's plugins raise nearly anything on a damaged file
        return None


def read_picture(path: str | Path) -> Picture:
    """Read any picture file as an upright 8-bit RGB ``Picture``.

    Gray, palette, CMYK, 16-bit and floating-point files are converted; a profile that is not RGB
    is converted to sRGB; of an animation the first frame is taken.
    """
    image = open_image(path)
    try:
        return to_picture(image)
    except FstError:
        raise
    except Exception as error:
        raise FstError(f"{path} cannot be converted to RGB ({error}); save it as PNG") from None


def to_picture(image: Image.Image) -> Picture:
    """A decoded Pillow image of any mode and EXIF orientation -> an upright ``Picture``."""
    image = _upright(image)
    profile = image.info.get("icc_profile") or None
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_eight_bits(image)
    if image.mode == "P" or (image.mode in ("RGB", "L", "1") and "transparency" in image.info):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("LA", "La", "PA", "RGBa"):
        image = image.convert("RGBA")
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if alpha is not None and alpha.getextrema() == (255, 255):
        alpha = None
    if image.mode == "RGBA":
        image = image.convert("RGB")
    if profile is not None:
        image, profile = _settle_profile(image, profile)
    return Picture(rgb=image.convert("RGB"), alpha=alpha, icc_profile=profile)


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


def resize_shorter(image: Image.Image, shorter_side: int) -> Image.Image:
    """Resize so that the shorter side is ``shorter_side`` pixels, proportions kept (Lanczos)."""
    width, height = image.size
    scale = shorter_side / min(width, height)
    if scale == 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def save_picture(path: str | Path, picture: Picture, *, quality: int) -> None:
    """Write a picture in the format of the path's suffix; it appears whole or not at all.

    The file is written beside its place, flushed to the disk and renamed. A format without alpha
    gets the picture on white. ``quality`` (1 to 100) is for JPEG and WebP.
    """
    path = Path(path)
    file_format = SAVE_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise FstError(
            f"{path}: '{path.suffix}' is not a format we write; use one of "
            f"{', '.join(SAVE_FORMATS)}"
        )
    image = picture.rgb
    if picture.alpha is not None:
        if file_format in NO_ALPHA:
            image = Image.composite(image, Image.new("RGB", image.size, "white"), picture.alpha)
        else:
            image = image.copy()
            image.putalpha(picture.alpha)
    options: dict[str, object] = {}
    if picture.icc_profile and file_format != "BMP":
        options["icc_profile"] = picture.icc_profile
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


def find_pictures(folder: str | Path) -> Iterator[Path]:
    """Every picture file below a folder, by suffix, sorted; hidden files and folders left out.

    Links to folders are followed, each real folder once.
    """
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in PICTURE_SUFFIXES:
                yield Path(root) / name


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF: the pixels are still good
        return image.copy()


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Modes I, I;16* and F -> L: 16-bit range by 257, floating point in [0, 1] by 255."""
    array = np.asarray(image).astype(np.float64)
    array = np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)
    top = array.max(initial=0.0)
    if image.mode == "F" and top <= 1:
        array = array * 255
    elif image.mode.startswith("I;16") or 255 < top <= 65535:
        array = array / 257
    elif top > 65535:
        array = array * (255 / top)
    return Image.fromarray(array.round().clip(0, 255).astype(np.uint8))


def _settle_profile(image: Image.Image, profile: bytes) -> tuple[Image.Image, bytes | None]:
    """Keep an RGB profile with RGB pixels; convert anything else to sRGB; drop a broken one."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        if space == "RGB":
            return image, profile if image.mode == "RGB" else None
        converted = ImageCms.profileToProfile(
            image, opened, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        return converted or image, None
    except Exception:  # a profile that does not fit its pixels: they are read as plain ones
        return image, None
