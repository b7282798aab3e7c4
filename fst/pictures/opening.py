"""Picture files opened: only regular files, the header judged before memory is taken.

HEIC is read where pillow-heif is installed, AVIF also where Pillow was built with it.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from fst.errors import FstError, pip_install
from fst.system.files import open_regular

# what a folder is searched for; a file named on its own may have any suffix Pillow reads
PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"}
    | {".pgm", ".jp2", ".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif", ".tga"}
)
MOST_PIXELS = 100e6  # of a photo to learn from, or of a painting
MOST_TO_STYLIZE = 400e6  # pixels, unless --max-pixels says another number
DECODING = 24  # bytes a pixel that decoding may take; 6 to 15 were seen, by mode
# the first box of a file of this kind, with its brand
HEIF_START = re.compile(rb"....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1|avif|avis)", re.DOTALL)

Accept = Callable[[int, int], None]
_WITHOUT_LIMIT = threading.Lock()


@contextmanager
def opened(path: str | Path, accept: Accept) -> Iterator[Image.Image]:
    """A picture file, its header read and its pixels not yet; ``accept`` may refuse its size.

    Raises ``FstError`` naming the file for anything that cannot be decoded, also within.
    """
    with open_regular(path) as handle:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd metadata and large sizes: we say it or fine
                image = _identified(handle, path)
                accept(*image.size)
                yield image
        except FstError:
            raise
        except UnidentifiedImageError:
            raise FstError(
                f"{path} is not a picture that can be read; give a JPEG or PNG"
            ) from None
        except MemoryError:
            raise FstError(f"{path} does not fit into the memory; make it smaller first") from None
        except Exception as error:  # Pillow's plugins raise nearly anything on a damaged file
            reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
            raise FstError(f"{path} is damaged and cannot be decoded ({reason})") from None


def accept_photo(path: str | Path) -> Accept:
    """Refuses a photo or painting of more than ``MOST_PIXELS``."""

    return lambda width, height: require_most(path, width, height, MOST_PIXELS)


def require_most(path: str | Path, width: int, height: int, most: float) -> None:
    """Raise ``FstError`` for a picture of more than ``most`` pixels."""
    if width * height > most:
        raise FstError(
            f"{path} of {width}x{height} px has more than {most / 1e6:.0f} megapixels; make it "
            "smaller first"
        )


def picture_size(path: str | Path) -> tuple[int, int] | None:
    """(width, height) in pixels as a picture file's header has them; None if it has no say."""
    try:
        with opened(path, lambda width, height: None) as image:
            return image.size
    except FstError:
        return None


def find_pictures(
    folder: str | Path, unreadable: Callable[[FstError], None] = lambda error: None
) -> Iterator[Path]:
    """Every picture file below a folder, by suffix, sorted; hidden files and folders left out.

    Links to folders are followed, each real folder once. ``unreadable`` is told of each folder
    that cannot be looked into.
    """

    def tell(error: OSError) -> None:
        reason = (error.strerror or str(error)).lower()
        unreadable(FstError(f"folder {error.filename} cannot be looked into: {reason}"))

    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=tell):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in PICTURE_SUFFIXES:
                yield Path(root) / name


def _identified(handle: BinaryIO, path: str | Path) -> Image.Image:
    try:
        with _any_size():
            return Image.open(handle)
    except UnidentifiedImageError:
        handle.seek(0)
        start = HEIF_START.match(handle.read(12))
        if start is None:
            raise
    if find_spec("pillow_heif") is None:
        kind = "AVIF" if start[1].startswith(b"avi") else "HEIC"
        raise FstError(f"{path} is {kind}, which needs pillow-heif; {pip_install('heif')}")
    pillow_heif = import_module("pillow_heif")
    pillow_heif.register_heif_opener()
    if hasattr(pillow_heif, "register_avif_opener"):  # until its version 1.0
        pillow_heif.register_avif_opener()
    handle.seek(0)
    with _any_size():
        return Image.open(handle)


@contextmanager
def _any_size() -> Iterator[None]:
    """Without Pillow's own limit, which is the process's: ``accept`` has another one to say."""
    with _WITHOUT_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
