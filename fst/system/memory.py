"""How much memory there is to take: the least of what the machine, its cgroups and its shell leave.

A container or a cluster's job is a cgroup: the kernel kills what takes more than the cgroup may,
however much the machine has. Functions take the ``root`` of the file system that they read, so
that a test can plant one. Sources: Linux' admin-guide/cgroup-v2, cgroup-v1/memory, proc(5).
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")
PLENTY, LATELY = 10, 1.0  # times what is needed, and seconds: no need to look again
NO_LIMIT = 2**60  # bytes; v1 has no word for "unlimited" but 2^63 less a page
# the phrases that follow "are free" or "are here"
OF_CGROUP = " in what this container or job may take"
OF_SHELL = " in what this shell allows (ulimit -v)"


# how Python, the loader, glibc, PyTorch and its kernels say that there is no memory
NO_MEMORY = re.compile(
    r"(not enough|out of|(cannot|can't|unable to) allocate) memory|bad_alloc|failed to map segment|"
    r"can't start new thread",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Room:
    """Bytes under one limit, all of them and those still free, and the phrase that names it."""

    total: int
    free: int
    of: str = ""


def available_memory() -> int:
    """Bytes that can be taken without swapping and without being killed for it."""
    return max(min(room.free for room in rooms()), 0)


def total_memory() -> int:
    """Bytes that could be taken here if nothing held any."""
    return min(room.total for room in rooms())


def held_memory() -> int:
    """Bytes that this process holds now."""
    if len(pages := _numbers(ROOT / "proc/self/statm")) > 1:
        import resource

        return pages[1] * resource.getpagesize()
    import psutil

    return int(psutil.Process().memory_info().rss)


class LatelyFree:
    """The memory that was free at the last look, which spares many small photos a look for each.

    A look reads a dozen files of the system: a millisecond alone, and six where other threads run.
    """

    def __init__(self, limit: int | None = None) -> None:
        """``limit`` are the bytes that the whole process may take, however much is free."""
        self._limit = limit
        self._seen = (0, -LATELY)  # bytes, and when

    def look(self) -> int:
        """``available_memory``, or what the limit leaves of it, remembered."""
        free = available_memory()
        if self._limit is not None:
            free = max(min(free, self._limit - held_memory()), 0)
        self._seen = (free, time.monotonic())
        return free

    def is_plenty(self, needed: float) -> bool:
        """Whether within the last second ``PLENTY`` times as much was free."""
        free, when = self._seen
        return PLENTY * needed <= free and time.monotonic() - when < LATELY


def bound_of_memory(*, at_all: bool = False) -> str:
    """Which limit ``available_memory`` or, ``at_all``, ``total_memory`` is; '' is the machine."""
    return min(rooms(), key=lambda room: room.total if at_all else room.free).of


def says_no_memory(error: BaseException) -> bool:
    """Whether an error that no one expected says that there is not enough memory."""
    return isinstance(error, MemoryError) or NO_MEMORY.search(str(error)) is not None


def rooms(root: Path = ROOT) -> list[Room]:
    """The limits that hold for this process, that of the machine first."""
    return [machine_room(root), *cgroup_rooms(root), *shell_rooms(root)]


def machine_room(root: Path = ROOT) -> Room:
    """The machine's memory: Linux' own figures, whose reading costs nothing, elsewhere psutil's."""
    lines = (line.split() for line in _lines(root / "proc/meminfo"))
    found = {words[0]: 1024 * int(words[1]) for words in lines if words[2:] == ["kB"]}
    if "MemTotal:" in found and "MemAvailable:" in found:
        return Room(found["MemTotal:"], found["MemAvailable:"])
    import psutil

    machine = psutil.virtual_memory()
    return Room(machine.total, machine.available)


def shell_rooms(root: Path = ROOT) -> list[Room]:
    """What ``ulimit -v`` and ``ulimit -d`` leave, less what the process has mapped."""
    if sys.platform == "win32":
        return []
    import resource

    found = []
    mapped = _numbers(root / "proc/self/statm")
    for limit, field, letter in ((resource.RLIMIT_AS, 0, "v"), (resource.RLIMIT_DATA, 5, "d")):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY and len(mapped) > field:
            of = OF_SHELL.replace("-v", f"-{letter}")
            found.append(Room(soft, soft - mapped[field] * resource.getpagesize(), of))
    return found


def cgroup_rooms(root: Path = ROOT) -> list[Room]:
    """The limits of this process's memory cgroups, of version 1 and 2, and of all their parents."""
    found = []
    for folder, version in _cgroups(root):
        files = FILES[version]
        limits = [_limit(folder / name) for name in files.limits]
        stat = _fields(folder / "memory.stat")
        limits += [stat.get(files.limit_in_stat, NO_LIMIT)]  # of parents that are not mounted, too
        total = min(limits)
        used = _limit(folder / files.used)
        if total >= NO_LIMIT:
            continue
        used = 0 if used >= NO_LIMIT else used
        # a mapped page is in use, whatever list it is on
        cache = sum(stat.get(name, 0) for name in files.cache) - stat.get(files.mapped, 0)
        held = max(used - max(cache, 0), 0)
        found.append(Room(total, total - held, OF_CGROUP))
    return found


@dataclass(frozen=True)
class _Files:
    """The names in a memory cgroup's folder, and of the lines of its ``memory.stat``."""

    limits: tuple[str, ...]
    limit_in_stat: str
    used: str
    cache: tuple[str, ...]
    mapped: str


FILES = {
    2: _Files(
        limits=("memory.max", "memory.high"),  # above high it is slowed down to a halt
        limit_in_stat="",
        used="memory.current",
        cache=("inactive_file", "active_file", "slab_reclaimable"),
        mapped="file_mapped",
    ),
    1: _Files(
        limits=("memory.limit_in_bytes",),
        limit_in_stat="hierarchical_memory_limit",
        used="memory.usage_in_bytes",
        cache=("total_inactive_file", "total_active_file"),
        mapped="total_mapped_file",
    ),
}


def _cgroups(root: Path) -> Iterator[tuple[Path, int]]:
    """The folders of this process's memory cgroups and of their parents, with their versions."""
    paths = dict(_own_paths(root))
    for version, top, point in _mounts(root):
        own = paths.get(version)
        if own is None:
            continue
        try:
            inner = PurePosixPath(own).relative_to(top)
        except ValueError:  # the mount shows another part than the namespace: it begins with ours
            inner = PurePosixPath()
        if ".." in inner.parts:  # outside of the namespace
            inner = PurePosixPath()
        for folder in (inner, *inner.parents):
            place = root / point.lstrip("/") / folder
            if place.is_dir():
                yield place, version


def _own_paths(root: Path) -> Iterator[tuple[int, str]]:
    """The version and the path of each cgroup in /proc/self/cgroup that may limit memory."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield 2, path
        elif "memory" in controllers.split(","):
            yield 1, path


def _mounts(root: Path) -> Iterator[tuple[int, str, str]]:
    """The version, the top and the mount point of each cgroup mount that may limit memory."""
    for line in _lines(root / "proc/self/mountinfo"):
        first, _, last = line.partition(" - ")
        fields, kind = first.split(), last.split()
        if len(fields) < 5 or len(kind) < 1:
            continue
        top, point = (_unescaped(field) for field in fields[3:5])
        if kind[0] == "cgroup2":
            yield 2, top, point
        elif kind[0] == "cgroup" and "memory" in kind[-1].split(","):
            yield 1, top, point


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _limit(path: Path) -> int:
    """The number in a file; ``NO_LIMIT`` for "max", for a file that is not there or not ours."""
    numbers = _numbers(path)
    return numbers[0] if numbers else NO_LIMIT


def _numbers(path: Path) -> list[int]:
    words = " ".join(_lines(path)).split()
    return [int(word) for word in words if word.isdecimal()]


def _fields(path: Path) -> dict[str, int]:
    pairs = [line.split() for line in _lines(path)]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
