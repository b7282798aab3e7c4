"""A folder of prepared photos, made once, that training loads several times faster.

``INDEX`` in it lists, in order, what each was made from: its path, size in bytes and time of
change. A line is written when its photo is, so an interrupted preparation can resume; at the end
the index is written again, whole, and says that it is complete, with a checksum over its lines.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fst.data.prepared_photo import SUFFIX, SmallPhoto, file_name, read_small_photo
from fst.errors import FstError
from fst.pictures.image import read_picture, resize_shorter
from fst.pictures.opening import find_pictures, picture_size
from fst.system.files import open_regular, write_whole

INDEX = "fst_photos.jsonl"
FORMAT: dict[str, Any] = {"format": "fst-photos", "version": 1}
PROBES = 64  # photos whose headers tell how much room all will take


@dataclass(frozen=True)
class Entry:
    """One prepared photo: what it was made from, and the file, both below their folders."""

    photo: str
    bytes: int
    mtime_ns: int
    file: str


@dataclass
class Report:
    """What a preparation has done; ``unreadable`` are (path, reason)."""

    made: int
    kept: int
    dropped: int
    unreadable: list[tuple[Path, str]]


def prepare(
    photos: Path,
    cache: Path,
    *,
    size: int,
    threads: int,
    check: bool = False,
    say: Callable[[int, int], None] = lambda done, of: None,
) -> Report:
    """Prepare every photo below a folder, its shorter side at most ``size``, into ``cache``.

    Continues an earlier preparation: what is there and was made from the same file, by name,
    size and time of change, is kept; ``check`` reads it all and makes what is damaged again. What
    was made from photos that are gone is removed. ``say`` is told of the progress. Raises
    ``FstError`` if there are no photos, no room, or something else is in the way.
    """
    closed: list[FstError] = []
    found = list(find_pictures(photos, closed.append)) if os.path.isdir(photos) else []
    if not found:
        nothing = f"{photos} is not a folder with photos (.jpg, .png ...) in it"
        raise FstError("; ".join([nothing, *map(str, closed)]))
    old = _start(cache, size)
    kept = {entry.photo: entry for entry in old if _is_there(cache, entry, check=check)}
    entries = dict(kept)
    todo = [path for path in found if not _is_current(kept.get(_below(path, photos)), path)]
    _require_room(cache, todo, size)
    report = Report(made=0, kept=len(found) - len(todo), dropped=0, unreadable=[])
    report.unreadable += [(photos, str(error)) for error in closed]
    for path in todo:
        entries.pop(_below(path, photos), None)

    def make(path: Path) -> Entry | FstError:
        status = _status(path)
        try:
            small = _small(path, size)
        except FstError as error:
            return error
        file = _write(small, cache, _below(path, photos))
        return Entry(_below(path, photos), *(status or (0, 0)), file=file)

    pool = ThreadPoolExecutor(threads, "fst-prepare")
    with open(cache / INDEX, "a", encoding="utf-8") as index:
        try:
            for number, (path, made) in enumerate(
                zip(todo, pool.map(make, todo), strict=True), report.kept + 1
            ):
                if isinstance(made, FstError):
                    report.unreadable.append((path, str(made)))
                else:
                    report.made += 1
                    entries[made.photo] = made
                    index.write(json.dumps(asdict(made)) + "\n")
                    index.flush()
                say(number, len(found))
        finally:
            pool.shutdown(cancel_futures=True)
    order = [entries[name] for path in found if (name := _below(path, photos)) in entries]
    report.dropped = len({entry.photo for entry in old} - {entry.photo for entry in order})
    _write_index(cache, size, order, complete=True)
    for file in {entry.file for entry in old} - {entry.file for entry in order}:
        with contextlib.suppress(OSError):
            (cache / file).unlink()
    return report


def cached_photos(folder: Path) -> list[Path]:
    """The prepared photos of a folder that is a cache or in one, in order; none if it is not.

    Raises ``FstError`` for a cache whose preparation was interrupted.
    """
    inside = folder.resolve()
    cache = next((top for top in (inside, *inside.parents) if (top / INDEX).exists()), None)
    if cache is None:
        return []
    header, entries = read_index(cache)
    if not header["complete"]:
        raise FstError(f"{cache} is not complete; `fst prepare` again to resume it")
    paths = [cache / entry.file for entry in entries]
    return [path for path in paths if inside in path.parents]


def read_index(cache: Path) -> tuple[dict[str, Any], list[Entry]]:
    """(``size`` and whether it is ``complete``, the entries); the later of two for a photo counts.

    Raises ``FstError`` if there is no such index, and for one that names a file that is no prepared
    photo below ``cache``: what it names is read, and removed when its photo is gone. One that is
    complete is whole, to the bit (older ones have no checksum).
    """
    try:
        with open_regular(cache / INDEX) as handle:
            first, *lines = handle.read().decode("utf-8").splitlines()
        header = json.loads(first)
        if header["format"] != FORMAT["format"] or header["version"] > FORMAT["version"]:
            raise ValueError(f"it is of format {header['format']} {header['version']}")
        known = {"size": int(header["size"]), "complete": bool(header["complete"])}
        wanted = header.get("sha256")
        if known["complete"] and wanted not in (None, _checksum(known["size"], lines)):
            raise ValueError("it does not match its checksum")
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise FstError(
            f"{cache / INDEX} cannot be read ({error}); `fst prepare` into another folder"
        ) from None
    entries: dict[str, Entry] = {}
    folders: dict[Path, bool] = {}
    for line in lines:
        try:
            entry = Entry(**json.loads(line))
        except (ValueError, TypeError, RecursionError):  # the last line may be cut
            continue
        if not _is_prepared(entry, cache, folders):
            raise FstError(
                f"{cache / INDEX} names {str(entry.file)[:100]!r}, which is no {SUFFIX} below it; "
                "`fst prepare` into another folder"
            )
        entries.pop(entry.photo, None)
        entries[entry.photo] = entry
    return known, list(entries.values())


def _is_prepared(entry: Entry, cache: Path, folders: dict[Path, bool]) -> bool:
    """Whether an entry is of the right types and its file's name that of one of ours in ``cache``.

    ``folders`` keeps what is found of each folder: a link may lead out of the cache.
    """
    if not (isinstance(entry.photo, str) and isinstance(entry.file, str)):
        return False
    file = Path(entry.file)
    if file.suffix != SUFFIX or ".." in file.parts or file.is_absolute() or "\0" in entry.file:
        return False
    if file.parent not in folders:
        folders[file.parent] = _is_below(cache / file.parent, cache)
    return folders[file.parent]


def _is_below(folder: Path, cache: Path) -> bool:
    top, real = os.path.realpath(cache), os.path.realpath(folder)
    return real == top or Path(top) in Path(real).parents


def _start(cache: Path, size: int) -> list[Entry]:
    """The entries that are there already; none, and an index of them, in a new folder."""
    old: list[Entry] = []
    if (cache / INDEX).exists():
        header, old = read_index(cache)
        if header["size"] != size:
            there = header["size"]
            raise FstError(
                f"{cache} holds photos of {there} px; give --size {there}, or another folder"
            )
    elif cache.exists() and (not cache.is_dir() or any(cache.iterdir())):
        raise FstError(f"{cache} is not a folder that `fst prepare` made; give a new one with -o")
    _write_index(cache, size, old, complete=False)  # whole again, if it was cut
    return old


def _write_index(cache: Path, size: int, entries: Sequence[Entry], *, complete: bool) -> None:
    lines = [json.dumps(asdict(entry)) for entry in entries]
    header = {**FORMAT, "size": size, "complete": complete}
    if complete:  # nothing is added to it then
        header["sha256"] = _checksum(size, lines)
    text = "".join(f"{line}\n" for line in (json.dumps(header), *lines))
    write_whole(cache / INDEX, text.encode())


def _checksum(size: int, lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([str(size), *lines]).encode()).hexdigest()


def _small(path: Path, size: int) -> SmallPhoto:
    image = read_picture(path).rgb
    return SmallPhoto.of(resize_shorter(image, size) if min(image.size) > size else image)


def _write(small: SmallPhoto, cache: Path, photo: str) -> str:
    data = small.to_bytes()
    file = Path(photo).with_name(file_name(Path(photo).name, data))
    try:
        (cache / file).parent.mkdir(parents=True, exist_ok=True)
        if not _is_below((cache / file).parent, cache):
            raise FstError(f"{(cache / file).parent} leads out of {cache}; remove that link")
        (cache / file).unlink(missing_ok=True)  # it may be a link to somewhere else
        with open(cache / file, "xb") as handle:
            handle.write(data)  # no more than that: the checksum is in the name
    except OSError as error:
        raise FstError(f"{cache / file} cannot be written: {error.strerror or error}") from None
    return os.fspath(file)


def _is_there(cache: Path, entry: Entry, *, check: bool) -> bool:
    try:
        if check:
            read_small_photo(cache / entry.file)
        return (cache / entry.file).is_file()
    except FstError:
        return False


def _is_current(entry: Entry | None, path: Path) -> bool:
    return entry is not None and (entry.bytes, entry.mtime_ns) == _status(path)


def _status(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _below(path: Path, photos: Path) -> str:
    return os.fspath(path.relative_to(photos))


def _require_room(cache: Path, todo: Sequence[Path], size: int) -> None:
    probes = [s for s in map(picture_size, todo[:: max(1, len(todo) // PROBES)]) if s]
    if not probes:
        return
    needed = 1.5 * len(todo) * sum(_pixels(shape, size) for shape in probes) / len(probes)
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise FstError(
            f"{cache}: {len(todo)} photos of {size} px take about {needed / 1e9:.1f} GB and "
            f"{free / 1e9:.1f} GB are free; use a smaller --size or another disk"
        )


def _pixels(shape: tuple[int, int], size: int) -> float:
    return shape[0] * shape[1] * min(1.0, size / min(shape)) ** 2
