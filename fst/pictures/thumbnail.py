"""A small picture as text, such as a style's card can hold."""

from __future__ import annotations

import base64
import binascii
import io

from PIL import Image, ImageOps

SIDE = 96  # pixels
MOST_BYTES = 6000  # of the JPEG file
MOST_SIDE = 512  # pixels, of a stranger's


def thumbnail_text(image: Image.Image, most: int = MOST_BYTES) -> str:
    """The middle of an RGB picture, made small -> a JPEG file in base64, of ``most`` bytes at most.

    Nothing else of the picture goes with it: no EXIF data, no profile.
    """
    small = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS)
    small.info = {}
    for quality in (85, 70, 60, 50, 40, 30, 20, 10):
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= most:
            break
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def thumbnail_image(text: str) -> Image.Image | None:
    """Undoes ``thumbnail_text``; None for text that is no small JPEG, as anybody may write it."""
    try:
        data = base64.b64decode(text, validate=True)
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if len(data) > MOST_BYTES or max(image.size) > MOST_SIDE:
                return None
            return image.convert("RGB")
    except (binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
