"""Pictures too large to be decoded as a whole: read and written strip by strip, by libvips.

Pillow holds a decoded picture at four bytes a pixel, and several copies of it on the way. What a
pixel means is still decided where it is for small pictures (``fst.pictures.color``): libvips only
decodes and encodes. It comes with ``pyvips-binary`` (the extra ``huge``).
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from fst.errors import FstError, pip_install
from fst.pictures.color import FULL, from_srgb, to_eight_bits, to_srgb, white_level
from fst.pictures.image import NO_ALPHA, SAVE_FORMATS, require_writable
from fst.pictures.opening import opened
from fst.system.files import open_regular, whole_file
from fst.system.installed import is_here
from fst.system.machine import cpu_threads

STRIP_PIXELS = 2**20  # decoded or encoded at once, about
READ_FORMATS = {"JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "TIFF": "TIFF"}
WRITE_FORMATS = ("JPEG", "PNG", "TIFF")
# bytes a pixel of what is decoded as a whole: coefficients of a progressive JPEG, an interlaced PNG
WHOLE = {"JPEG": 6, "PNG": 8}
MADE = 4  # bytes a pixel of what is made of it meanwhile
PNG_START = b"\x89PNG\r\n\x1a\n"
LARGE_TIFF = 2e9  # bytes of pixels, from which on a TIFF has places of 64 bits

ReadRows = Callable[[int, int], np.ndarray]


class NotInStrips(FstError):
    """A picture that libvips does not read or write as we do; as a whole it may go."""


def require_vips(what: str) -> None:
    """Raise ``FstError`` where ``what`` needs libvips and it is not here."""
    if not is_here("pyvips"):
        raise FstError(
            f"{what} is read and written in strips, which needs pyvips; {pip_install('huge')}"
        )


def _vips() -> Any:
    os.environ.setdefault("VIPS_CONCURRENCY", str(cpu_threads()))
    try:
        vips = import_module("pyvips")
    except Exception as error:  # without the library itself, cffi raises an OSError
        raise FstError(f"pyvips cannot be loaded ({error}); {pip_install('huge')}") from None
    vips.cache_set_max(0)  # of operations, which would hold pixels
    return vips


class StripReader:
    """A picture file, decoded once from its top to its bottom.

    ``height``, ``width`` and ``orientation`` are as it is stored. ``memory`` are the bytes that it
    may take: what can only be decoded as a whole is refused where it needs more. Raises
    ``FstError`` naming the file.
    """

    def __init__(self, path: Path, *, memory: float) -> None:
        require_vips(str(path))
        self.path = path
        with opened(path, lambda width, height: None) as image:
            self._format = READ_FORMATS.get(str(image.format))
            if self._format is None:
                raise NotInStrips(
                    f"{path} is {image.format}, which is not read in strips; save it as JPEG, PNG "
                    "or TIFF"
                )
            self.icc_profile: bytes | None = image.info.get("icc_profile") or None
            white = white_level(image)
            whole = bool(image.info.get("progressive") or image.info.get("interlace"))
            pixels = image.width * image.height
        needed = (WHOLE.get(self._format, 0) + MADE) * pixels
        if whole and needed > memory:
            kind = "a progressive JPEG" if self._format == "JPEG" else "an interlaced PNG"
            raise FstError(
                f"{path} is {kind}, of which all must be in memory at once: {needed / 1e9:.1f} GB, "
                f"and {max(memory, 0) / 1e9:.1f} GB may be taken; save it without that"
            )
        self._handle: BinaryIO = open_regular(path)
        vips = _vips()
        with self._damage():
            source = vips.Source.new_from_descriptor(self._handle.fileno())
            self._image = vips.Image.new_from_source(
                source, "", access="sequential", fail_on="truncated"
            )
        self._require_known(white)
        self.height, self.width = int(self._image.height), int(self._image.width)
        self.has_alpha = bool(self._image.hasalpha())
        self._mode = {1: "L", 3: "RGB", 4: "CMYK"}[self._image.bands - self.has_alpha]
        self.orientation = 1
        if self._image.get_typeof("orientation"):
            self.orientation = int(self._image.get("orientation"))

    def __iter__(self) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
        """The first row of each strip, its RGB (rows, W, 3) and alpha (rows, W), 8 bits in sRGB."""
        region = _vips().Region.new(self._image)
        kind = np.uint8 if self._image.format == "uchar" else np.uint16
        step = strip_rows(self.width)
        for row in range(0, self.height, step):
            rows = min(step, self.height - row)
            with self._damage():
                data = region.fetch(0, row, self.width, rows)
            stored = np.frombuffer(data, kind).reshape(rows, self.width, self._image.bands)
            rgb, alpha = self._converted(stored)
            yield row, rgb, alpha

    def close(self) -> None:
        """Let go of the file."""
        del self._image
        self._handle.close()

    def _converted(self, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """As ``to_picture`` does it with a whole picture."""
        alpha = None
        if self.has_alpha:
            alpha, stored = stored[..., -1], stored[..., :-1]
            alpha = alpha if alpha.dtype == np.uint8 else (alpha >> 8).astype(np.uint8)
        gray = stored.shape[-1] == 1
        if stored.dtype == np.uint16 and gray and alpha is None:
            image = to_eight_bits(Image.fromarray(stored[..., 0]))
        else:
            levels = stored if stored.dtype == np.uint8 else (stored >> 8).astype(np.uint8)
            levels = np.ascontiguousarray(levels[..., 0] if gray else levels)
            image = Image.frombytes(self._mode, levels.shape[1::-1], levels.tobytes())
        if alpha is not None:
            image = image.convert("RGB")
        if self.icc_profile is not None:
            image, _ = to_srgb(image, self.icc_profile)
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        return np.asarray(rgb), alpha

    @property
    def icc_profile_of_rgb(self) -> bytes | None:
        """What a file of the picture is in, as ``Picture`` has it."""
        if self.icc_profile is None:
            return None
        mode = "RGB" if self.has_alpha else self._mode
        return to_srgb(Image.new(mode, (1, 1)), self.icc_profile)[1]

    def _require_known(self, white: int) -> None:
        """Raise ``FstError`` for pixels of which a strip alone does not say what they mean."""
        kind, colors = self._image.format, self._image.bands - self._image.hasalpha()
        known = kind in ("uchar", "ushort") and colors in (1, 3, 4)
        if not known or (kind == "ushort" and (white < FULL or colors == 4)):
            raise NotInStrips(
                f"{self.path} has {colors} channels of {kind} values up to {white}, which are not "
                "read in strips; save it with 8 or 16 whole bits"
            )

    def _damage(self) -> Any:
        return _Damage(self.path)


class _Damage:
    """libvips's errors as the sentence of ``opened``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None and type(error).__module__.startswith("pyvips"):
            raise FstError(
                f"{self._path} is damaged and cannot be decoded ({_reason(error)})"
            ) from None


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:100]


def strip_rows(width: int) -> int:
    """How many rows of a picture are worked on at once."""
    return max(8, int(STRIP_PIXELS) // width // 8 * 8)


def is_written_in_strips(path: Path) -> bool:
    """Whether the format of a path's suffix can be written in strips."""
    return SAVE_FORMATS.get(path.suffix.lower()) in WRITE_FORMATS


def require_strips_writable(path: Path, width: int, height: int) -> str:
    """``require_writable``, and ``FstError`` for a format that is not written in strips."""
    file_format = require_writable(path, width, height)
    if file_format not in WRITE_FORMATS:
        raise FstError(
            f"{path}: {file_format} is not written in strips, and the picture of {width}x{height} "
            "px is too large for another way; use .jpg, .png or .tif"
        )
    return file_format


def save_strips(
    path: Path,
    height: int,
    width: int,
    rgb: ReadRows,
    alpha: ReadRows | None,
    *,
    quality: int,
    icc_profile: bytes | None,
) -> None:
    """Write a picture in the format of the path's suffix, as ``save_picture`` does.

    ``rgb(start, stop)`` gives rows of it, (rows, W, 3) uint8 in sRGB, and ``alpha`` (rows, W).
    """
    file_format = require_strips_writable(path, width, height)
    vips = _vips()
    if icc_profile is not None:
        _, icc_profile = from_srgb(Image.new("RGB", (1, 1)), icc_profile)  # None: for input only

    channels = 3 if alpha is None or file_format in NO_ALPHA else 4

    def stored(start: int, stop: int) -> np.ndarray:
        """Rows as the file has them, (rows, W, channels)."""
        rows = np.ascontiguousarray(rgb(start, stop))
        transparency = None if alpha is None else np.ascontiguousarray(alpha(start, stop))
        if transparency is not None and channels == 3:
            white, mask = Image.new("RGB", (width, len(rows)), "white"), transparency
            image = Image.composite(Image.fromarray(rows), white, Image.fromarray(mask))
            rows = np.asarray(image)
        if icc_profile is not None:
            rows = np.asarray(from_srgb(Image.fromarray(rows), icc_profile)[0])
        if transparency is None or channels == 3:
            return rows
        return np.dstack([rows, transparency])

    stop = threading.Event()
    stream = _Stream(height, width, channels, stored, stop)
    options: dict[str, Any] = {}
    if file_format == "JPEG":
        options = {"Q": quality, "subsample_mode": "off" if quality >= 90 else "on"}
    elif file_format == "TIFF":
        options = {"bigtiff": height * width * 4 > LARGE_TIFF}
    suffix = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif"}[file_format]

    def encode(handle: BinaryIO) -> None:
        source = vips.SourceCustom()
        source.on_read(stream.read)
        image = vips.Image.pngload_source(source, access="sequential").copy()
        if icc_profile is not None:
            image.set_type(vips.GValue.blob_type, "icc-profile-data", icc_profile)
        image.write_to_target(vips.Target.new_to_descriptor(handle.fileno()), suffix, **options)

    with whole_file(path) as handle:
        failed = _in_a_thread(lambda: encode(handle), stop)
        for error in (stream.error, failed):  # the cause first
            if error is not None:
                if type(error).__module__.startswith("pyvips"):
                    raise FstError(
                        f"{path} cannot be written as {file_format} ({_reason(error)})"
                    ) from None
                raise error


class _Stream:
    """Rows as the bytes of a PNG file that is not compressed, which libvips reads as they come."""

    def __init__(
        self, height: int, width: int, channels: int, rows: ReadRows, stop: threading.Event
    ) -> None:
        kind = {3: 2, 4: 6}[channels]  # RGB, RGBA
        head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
        self._left = memoryview(PNG_START + _chunk(b"IHDR", head))
        self._packer = zlib.compressobj(0)
        self._height, self._width, self._rows, self._stop = height, width, rows, stop
        self._row = 0
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        """At most so many bytes more; none at the end, and where something failed."""
        try:
            if not self._left and self._row < self._height and not self._stop.is_set():
                self._left = memoryview(self._next())
            part, self._left = self._left[:size], self._left[size:]
            return bytes(part)
        except BaseException as error:  # through a callback of C nothing can be raised
            self.error = error
            return b""

    def _next(self) -> bytes:
        """The chunks of the next strip, or the last."""
        end = min(self._row + strip_rows(self._width), self._height)
        values = self._rows(self._row, end).reshape(end - self._row, -1)
        lines = np.pad(values, [(0, 0), (1, 0)])  # each begins with its filter: none
        data = self._packer.compress(lines.tobytes())
        self._row = end
        if end < self._height:
            return _chunk(b"IDAT", data) if data else self._next()
        return _chunk(b"IDAT", data + self._packer.flush()) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def _in_a_thread(function: Callable[[], None], stop: threading.Event) -> BaseException | None:
    """Run it where Ctrl-C still reaches Python, and return what it raised.

    On Ctrl-C ``stop`` is set, and the end waited for.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="fst-encode")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
    finally:
        stop.set()
        thread.join()
    return raised[0] if raised else None
