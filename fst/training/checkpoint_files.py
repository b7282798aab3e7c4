"""Files of checkpoints: each is whole or not there, and says so by a checksum at its end.

A run keeps its newest few and the best. A file that was cut, zeroed or changed by the disk is
recognized, set aside and not resumed from; the one before it is taken.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fst.errors import FstError
from fst.system.files import write_whole
from fst.system.untrusted import load_torch

MARK = b"fst-sha256:"
TRAILER_BYTES = len(MARK) + hashlib.sha256().digest_size  # torch.load does not mind them
DAMAGED, SUPERSEDED = ".damaged", ".superseded"  # end the names of those that are set aside
# what every checkpoint has that a run can resume from, of what kind
NEEDED: dict[str, type] = {
    "global_step": int,
    "epoch": int,
    "state_dict": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "loops": dict,
    "callbacks": dict,
}
MARGIN_BYTES = 2 * 1024**2  # for curves, previews, the style file


def write_checkpoint(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a dictionary of tensors and plain values, whole or not at all; else ``FstError``.

    NaN and infinity are refused: no run could resume from there.
    """
    bad = next(not_finite(checkpoint), None)
    if bad is not None:
        raise FstError(f"{path} is not written: {bad} holds NaN or infinity")
    buffer = io.BytesIO()
    torch.save(dict(checkpoint), buffer)
    data = buffer.getvalue()
    write_whole(path, data + MARK + hashlib.sha256(data).digest())


class DamagedCheckpoint(FstError):
    """A file that is missing, cut short or changed since it was written; the sentence says so."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been read and found whole: its file, its step and what it holds."""

    path: Path
    step: int
    state: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a file once; ``FstError`` as of ``read_checkpoint``."""
        state = read_checkpoint(path)
        found = cls(path, state.get("global_step", -1), state)
        found.require("global_step", "state_dict")
        return found

    def require(self, *keys: str) -> None:
        """Raise ``FstError`` where one of ``NEEDED`` is missing or of another kind."""
        for key in keys:
            value = self.state.get(key)
            right = isinstance(value, NEEDED[key]) and not isinstance(value, bool)
            if not right or (key == "global_step" and not 0 <= self.step < 2**53):
                raise FstError(f"{self.path} is not a checkpoint of fst: it has no {key}")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What ``write_checkpoint`` was given; ``FstError`` for a file that is missing or damaged."""
    data = _verified(path)
    try:
        state = load_torch(data)
    except ValueError as error:  # whole, and yet not ours: pickles of anything
        raise FstError(f"{path} is not a checkpoint of fst: {error}") from None
    bad = not isinstance(state, dict) or next(not_finite(state), None)
    if bad:
        what = "it holds no settings by name" if bad is True else f"{bad} holds NaN or infinity"
        raise FstError(f"{path} is not a checkpoint of fst: {what}")
    return state


def fault(path: Path) -> str | None:
    """Why a file is not a whole checkpoint; None if it is one."""
    try:
        _verified(path)
    except DamagedCheckpoint as error:
        return str(error)
    return None


def not_finite(value: Any, name: str = "") -> Iterator[str]:
    """The names of the tensors in nested dictionaries and lists that hold NaN or infinity."""
    if isinstance(value, Tensor):
        if value.is_floating_point() and not torch.isfinite(value).all():
            yield name
        return
    items: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    for key, part in items:
        yield from not_finite(part, f"{name}.{key}" if name else str(key))


class Checkpoints:
    """The checkpoints in a folder: ``step_00000250.ckpt`` and so on, and ``best.ckpt``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def best(self) -> Path:
        """Where the checkpoint of the lowest validation loss belongs."""
        return self.folder / "best.ckpt"

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step belongs."""
        return self.folder / f"step_{step:08d}.ckpt"

    def found(self) -> list[Path]:
        """The checkpoints that are there, whole or not: the newest first, the best one last."""
        steps = [p for p in self.folder.glob("step_*.ckpt") if re.fullmatch(r"step_\d+", p.stem)]
        steps.sort(key=lambda path: int(path.stem.removeprefix("step_")), reverse=True)
        return steps + [path for path in (self.best,) if path.exists()]

    def newest_whole(self) -> tuple[Checkpoint | None, dict[Path, str]]:
        """The newest whole checkpoint, and those newer ones that are damaged with the reason."""
        faults: dict[Path, str] = {}
        for path in self.found():
            try:
                return Checkpoint.read(path), faults
            except DamagedCheckpoint as error:
                faults[path] = str(error)
        return None, faults

    def go_back_to(self, step: int) -> list[Path]:
        """Rename the checkpoints of later steps, but not the best; returns the names they had.

        Only the holder of the run's lock may call it: a run under way resumes from the newest.
        """
        later = [p for p in self.found() if p != self.best and p > self.path(step)]
        for path in later:
            set_aside(path, SUPERSEDED)
        return later

    def newest(self) -> Path | None:
        """The newest checkpoint, unread."""
        return next(iter(self.found()), None)

    def last_step(self) -> int:
        """The step of the newest checkpoint; -1 without one."""
        steps = [p.stem.removeprefix("step_") for p in self.found() if p != self.best]
        return int(steps[0]) if steps else -1

    def prune(self, keep: int) -> None:
        """Remove all but the newest ``keep`` checkpoints; the best one stays."""
        for path in [p for p in self.found() if p != self.best][keep:]:
            path.unlink(missing_ok=True)

    def require_room(self, size: int, keep: int) -> None:
        """Raise ``FstError`` if ``keep`` checkpoints of ``size`` bytes and the best cannot fit.

        One more is counted, as a new one is written before an old one goes.
        """
        there = sum(path.stat().st_size for path in self.found())
        wanted = max((keep + 2) * size - there, size) + MARGIN_BYTES
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise FstError(
                f"{self.folder} cannot be written: {error.strerror}; choose another run_dir"
            ) from None
        if free < wanted:
            raise FstError(
                f"{self.folder} has {free / 1e6:.1f} MB free and the checkpoints need "
                f"{wanted / 1e6:.1f} MB; make room, choose another run_dir, or keep fewer: "
                "checkpoints_kept=1"
            )
        limit = _file_size_limit()
        if limit is not None and limit < size:
            raise FstError(
                f"{self.folder}: a checkpoint needs {size / 1e6:.1f} MB and this shell allows "
                f"files of {limit / 1e6:.1f} MB; raise it with ulimit -f"
            )


def set_aside(path: Path, suffix: str = DAMAGED) -> None:
    """Rename a checkpoint so that nothing resumes from it; it may be gone already."""
    try:
        os.replace(path, path.with_name(path.name + suffix))
    except FileNotFoundError:  # another process of this run has done it
        return
    except OSError as error:
        raise FstError(f"{path} cannot be renamed: {error.strerror}") from None


def _verified(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedCheckpoint(f"{path} cannot be read: {error.strerror}") from None
    if not data:
        raise DamagedCheckpoint(f"{path} is empty")
    body, trailer = data[:-TRAILER_BYTES], data[-TRAILER_BYTES:]
    if not trailer.startswith(MARK):
        raise DamagedCheckpoint(f"{path} is cut short or not a checkpoint of fst")
    if trailer != MARK + hashlib.sha256(body).digest():
        raise DamagedCheckpoint(f"{path} is damaged: its checksum does not match")
    return body


def _file_size_limit() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if soft == resource.RLIM_INFINITY else soft
