"""Runs as somebody sees them who started forty and comes back: what each is doing, or ended as."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fst.errors import FstError
from fst.experiments.run_folder import RunFolder
from fst.nets.style_card import is_plain_name
from fst.nets.style_names import run_folders
from fst.system.untrusted import read_json, read_yaml
from fst.training.run_status import FAILED, FINISHED, NAME, RUNNING, STOPPED

WAITING, KILLED = "waiting", "killed"
SILENT_S = 600  # without a word of a run whose lock cannot be asked
WORST = "no better than the photos themselves, see docs/reliability.md"
SHOWN = ("content", "style", "total")


@dataclass(frozen=True)
class RunState:
    """One run. ``left_s`` are seconds, ``losses`` the held-out terms, else those of training."""

    folder: Path
    name: str
    state: str
    step: int = 0
    max_steps: int = 0
    left_s: float | None = None
    losses: tuple[tuple[str, float], ...] = ()
    held_out: bool = False
    artifacts: tuple[tuple[str, float], ...] = ()
    ended: str = ""
    updated: float = 0.0
    preview: Path | None = None


def run_states(folder: Path) -> list[RunState]:
    """All runs in a folder and those below it, the newest first; unreadable ones say why."""
    if not folder.is_dir():
        raise FstError(f"{folder} is not a folder; give the folder of runs or of a sweep")
    found = [_state(RunFolder(place)) for place in run_folders([folder])]
    if not found:
        raise FstError(f"there is no run in {folder}; `fst train` makes one")
    return sorted(found, key=lambda run: -run.updated)


def _state(run: RunFolder) -> RunState:
    changed = run.config_file.stat().st_mtime
    try:
        settings = read_yaml(run.config_file)
        name = str((settings.get("style") or {}).get("name") or run.path.name)
        asked = int((settings.get("trainer") or {}).get("max_steps") or 0)
        file = run.path / NAME
        told = read_json(file) if file.exists() else {}
    except (FstError, AttributeError, TypeError, ValueError) as error:
        return RunState(run.path, run.path.name, FAILED, ended=str(error), updated=changed)
    step, most = _whole(told.get("step")), _whole(told.get("max_steps")) or asked
    updated = told.get("updated")
    updated = float(updated) if isinstance(updated, int | float) else changed
    state, ended = _ended(run, name, told, time.time() - updated)
    pace = told.get("seconds_a_step")
    left = None
    if state == RUNNING and isinstance(pace, int | float):
        left = max(pace * (most - step) - max(time.time() - updated, 0), 0)
    held_out = _numbers(told.get("held_out"))
    losses = held_out or _numbers(told.get("train"))
    return RunState(
        folder=run.path,
        name=name,
        state=state,
        step=step,
        max_steps=most,
        left_s=left,
        losses=tuple((key, losses[key]) for key in SHOWN if key in losses),
        held_out=bool(held_out),
        artifacts=tuple(_numbers(told.get("artifacts")).items()),
        ended=ended,
        updated=updated,
        preview=max(run.previews.glob("step_*.jpg"), default=None),
    )


def _ended(run: RunFolder, name: str, told: dict[str, Any], silent_s: float) -> tuple[str, str]:
    """The state, and what ended it."""
    state, ended = str(told.get("state", "")), str(told.get("ended", ""))
    held = is_held(run.path / ".lock")
    plain = is_plain_name(name)
    if plain and run.failed_file(name).exists() and not run.style_file(name).exists():
        return FAILED, ended or WORST
    if held or (held is None and state == RUNNING and silent_s < SILENT_S):
        return (RUNNING if state in (RUNNING, FINISHED) else WAITING), ""
    if plain and run.style_file(name).exists() and state in ("", RUNNING, FINISHED):
        return FINISHED, ""
    if state == RUNNING:
        return KILLED, "the same command resumes"
    return (state or STOPPED), ended


def is_held(lock: Path) -> bool | None:
    """Whether a process has a run's lock; None where that cannot be asked."""
    if not lock.exists():
        return False
    if not os.access(lock, os.W_OK):
        return None
    try:
        with FileLock(lock, timeout=0, fallback_to_soft=False):
            return False
    except Timeout:
        return True
    except OSError:
        return None


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _numbers(value: Any) -> dict[str, float]:
    """What are names and numbers in it."""
    if not isinstance(value, dict):
        return {}
    return {str(k): float(v) for k, v in value.items() if isinstance(v, int | float)}
