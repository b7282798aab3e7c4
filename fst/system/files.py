"""Files on the disk: written whole or not at all, folders, unused names, fingerprints."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from fst.errors import FstError


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there yet; else ``FstError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FstError(f"{folder} cannot be made: {error.strerror or error}") from None


def write_whole(path: Path, data: bytes, *, check: Callable[[Path], None] | None = None) -> None:
    """Write ``data`` to ``path`` whole or not at all, making its folder; else ``FstError``.

    ``check`` may look at the written file before it takes its place, and refuse it by raising.
    """
    with whole_file(path, check=check) as handle:
        handle.write(data)


@contextlib.contextmanager
def whole_file(path: Path, *, check: Callable[[Path], None] | None = None) -> Iterator[BinaryIO]:
    """A file to write that appears at ``path`` whole, at the end, or not at all.

    The file is written beside its place, flushed to the disk and renamed, and the folder flushed.
    Its name until then, ``.NAME.RANDOM.part``, cannot be guessed, and nothing that has it already
    is opened: no link that somebody has put there leads anywhere else. The folder is made. Raises
    ``FstError`` where it cannot be written; ``check`` is as in ``write_whole``.
    """
    # 40 characters are 160 bytes at most, and a name may have 255
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.part")
    made = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "x+b") as handle:  # O_EXCL, which follows no link either
            made = True
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        if check is not None:
            check(temporary)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise FstError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        if made:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def open_regular(path: str | Path) -> BinaryIO:
    """Open a file to be read, if it is one: no pipe, which would be waited for, and no device.

    Raises ``FstError`` naming what it is, or why it cannot be opened.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError
        if stat.S_ISREG(status.st_mode):
            # should it have become a pipe just now, it is not waited for either
            handle = open(path, "rb", opener=_without_waiting)  # noqa: SIM115
            if stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
                return handle
            handle.close()
    except FileNotFoundError:
        raise FstError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise FstError(f"{path} is a folder, not a file") from None
    except PermissionError:
        raise FstError(f"{path} may not be read; change its permissions") from None
    except OSError as error:
        raise FstError(f"{path} cannot be opened: {error.strerror or error}") from None
    except ValueError:  # a zero byte in the name
        raise FstError(f"{str(path)!r} is not a file name") from None
    raise FstError(f"{path} is not a regular file but a pipe, a socket or a device; leave it out")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


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
