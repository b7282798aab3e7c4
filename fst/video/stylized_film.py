"""A film from frames to frames: read, stylized and written side by side, and gone on with."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fst.errors import FstError
from fst.inference.overlap import overlap
from fst.system.files import make_folder, write_whole
from fst.video.frames import Frame, Parts, Source

PLAN, LOCK = "plan.json", "lock"
# pieces of film, frames, what blending goes on from, and what a kill has left of writing these
OURS = re.compile(r"[-\d]+_[-\d]+_\d+(_\d+)?\.(nut|png)|steady_.*\.npz|\..*\.part")
Paint = Callable[[np.ndarray], np.ndarray]


def stylized(
    source: Source, parts: Parts, paint: Paint, start: Fraction | None, end: Fraction | None
) -> Iterator[int]:
    """All frames that are not kept yet, painted and added to ``parts``; their number so far.

    The next frame is decoded and the last one encoded while one is painted. At most four frames
    are in memory, however long the film.
    """
    if parts.last is not None:
        start = parts.last + source.info.tick
    coming, ended = source.frames(start, end), threading.Event()

    def turns() -> Iterator[None]:
        while not ended.is_set():
            yield None

    def read(_: None) -> Frame | None:
        frame = next(coming, None)
        if frame is None:
            ended.set()
        return frame

    def work(frame: Frame | None) -> Frame:
        assert frame is not None  # ``overlap`` asks for no work on what was not there
        return Frame(frame.at, frame.lasts, paint(frame.pixels), frame.pixels)

    done = 0
    for outcome in overlap(turns(), read=read, work=work, write=parts.add):
        if outcome.error is not None:
            raise outcome.error
        if outcome.work_s:
            done += 1
            yield done


@contextlib.contextmanager
def kept_parts(output: Path, settings: Mapping[str, Any], *, force: bool) -> Iterator[Path]:
    """The folder ``OUTPUT.parts`` of what is done of ``output``, by these ``settings``.

    It stays where the work is stopped, and is removed once it is done. Raises ``FstError`` where
    another process works in it, where it was made with other settings and is not to go (``force``),
    or where it is somebody else's.
    """
    folder = output.with_name(f"{output.name}.parts")
    plan = folder / PLAN
    wanted = json.dumps(settings, indent=1, sort_keys=True).encode()
    make_folder(folder)
    known = {*_ours(folder), folder / LOCK}  # a kill may have come before the plan was written
    if folder.is_symlink() or (not plan.is_file() and not known.issuperset(folder.iterdir())):
        raise FstError(f"{folder} is not a folder of ours; rename it, or give another -o")
    with _locked(folder):
        there = plan.read_bytes() if plan.is_file() else None
        if there != wanted:
            if there is not None and not force:
                raise FstError(
                    f"{folder} holds a part of {output.name} that was made with other settings "
                    f"({_differing(there, settings)}); go on with those, or use --force to begin "
                    "anew"
                )
            for path in _ours(folder):
                path.unlink()
            write_whole(plan, wanted)
        yield folder
        for path in [*_ours(folder), plan, folder / LOCK]:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # what somebody has put there stays
        folder.rmdir()


def _ours(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if OURS.fullmatch(path.name)]


def _differing(there: bytes, settings: Mapping[str, Any]) -> str:
    try:
        before = json.loads(there)
        named = [key for key in settings if before.get(key) != settings[key]]
    except (ValueError, AttributeError):
        return "its plan cannot be read"
    return ", ".join(named)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with open(folder / LOCK, "a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FstError(f"another process works on {folder}; wait for it, or stop it") from None
        yield
