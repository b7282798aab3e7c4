"""Files on the disk: written whole or not at all, folders, unused names, fingerprints."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from fst.errors import FstError


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there yet; else ``FstError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FstError(f"{folder} cannot be made: {error.strerror or error}") from None


def write_whole(path: Path, data: bytes, *, check: Callable[[Path], None] | None = None) -> None:
    """Write ``data`` to ``path`` whole or not at all, making its folder; else ``FstError``.

    The file is written beside its place, flushed to the disk and renamed, and the folder flushed.

    ``check`` may look at the written file before it takes its place, and refuse it by raising.
    """
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        if check is not None:
            check(temporary)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise FstError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Flush a folder to the disk, without which a rename may not outlive a power cut."""
    if os.name != "posix":  # Windows opens no folders
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(number)


def unused(path: Path) -> Path:
    """The folder, or the first numbered sibling of it that does not exist yet."""
    place, number = path, 1
    while place.exists():
        number += 1
        place = path.with_name(f"{path.name}-{number}")
    return place


def fingerprint(*parts: bytes | str | Path) -> str:
    """A short hash of texts and of files' contents."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part
        digest.update(data if isinstance(data, bytes) else os.fsencode(data))
        digest.update(b"\0")
    return digest.hexdigest()[:16]
