"""One folder a run: its config, versions, checkpoints, curves, previews and, at the end, its style.

``runs/NAME`` is resumed when the same command is given again, and never mixed with a run of
other settings.
"""

from __future__ import annotations

import json
import math
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

import fst
from fst.errors import FstError
from fst.experiments.going_on import Stages, may_go_on, stages
from fst.experiments.known_settings import before, may_change
from fst.system.console import first_process, say
from fst.system.files import unused, write_whole
from fst.system.machine import machine
from fst.system.old_names import in_new_names
from fst.system.paths import user_path
from fst.system.untrusted import read_json, read_yaml
from fst.training.checkpoint_files import (
    NEEDED,
    Checkpoint,
    Checkpoints,
    DamagedCheckpoint,
    set_aside,
)
from fst.training.limits import SAME

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "pillow", "numpy")


class RunFolder:
    """The paths of one run, and what is written before its first step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def config_file(self) -> Path:
        """The resolved settings."""
        return self.path / "config.yaml"

    @property
    def about_file(self) -> Path:
        """What ``write_about`` writes."""
        return self.path / "run.json"

    @property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints."""
        return Checkpoints(self.path / "checkpoints")

    @property
    def previews(self) -> Path:
        """The folder of the preview pictures."""
        return self.path / "previews"

    @property
    def skipped_photos(self) -> Path:
        """The list of photos that could not be read."""
        return self.path / "skipped_photos.tsv"

    def style_file(self, name: str) -> Path:
        """The file of the trained style of that name."""
        return self.path / f"{name}.safetensors"

    def resumed_by(self, resume: str) -> str:
        """What resumes this run, in words: of ``resume=false`` not the same command once more."""
        if resume.lower() != "false":
            return SAME
        return f"{SAME} with run_dir={self.path} in place of resume=false"

    def picture_file(self, name: str) -> Path:
        """The picture of what came out: photo, painting and result."""
        return self.path / f"{name}.jpg"

    def failed_file(self, name: str) -> Path:
        """The file of a net that is no style: no name finds it, as the folder is not called so."""
        return self.path / f"{name}.failed.safetensors"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other job out of this folder; ``FstError`` if one is in it.

        The first process of a job does it for all. What a killed run left half-written is removed.
        Raises ``FstError`` too for a folder that cannot be written.
        """
        if not first_process():
            yield
            return
        # A loader's worker outlives a killed run for seconds and does not hold this lock: filelock
        # closes it in a child. No file that stands for a lock: a killed run would leave it behind.
        lock = FileLock(self.path / ".lock", timeout=0, fallback_to_soft=False)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise FstError(
                f"{self.path} is in use by another run; wait for it or use resume=false"
            ) from None
        except OSError as error:
            raise FstError(
                f"{self.path} cannot be written: {error.strerror or error}; choose another run_dir"
            ) from None
        try:
            for unfinished in self.path.rglob(".*.part"):
                unfinished.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def about(self) -> dict[str, Any]:
        """What ``write_about`` wrote when the run began; empty if it is gone or cannot be read."""
        try:
            return in_new_names(read_json(self.about_file))
        except FstError:
            return {}

    def went_on(self, config: Mapping[str, Any], step: int) -> Stages:
        """How the run has gone on for longer, with ``config`` and from ``step`` this time."""
        try:
            old = read_yaml(self.config_file)
        except FstError:
            return []
        return stages(config, old, self.about(), step)

    def weights_and_start(self, paintings: int) -> tuple[list[Any], dict[str, Any] | None]:
        """Of ``about``: the loss's weights for each painting, None where they are not known, and
        what the net was warm-started from.

        Raises ``FstError`` for values of a wrong kind.
        """
        about = self.about()
        found, start = about.get("weights"), about.get("warm_start")
        weights = found if isinstance(found, list) else [found] * paintings
        if len(weights) != paintings or not all(
            one is None or _are_weights(one) for one in weights
        ):
            raise FstError(f"{self.about_file} is damaged: its weights are not those of a loss")
        if start is not None and not isinstance(start, dict):
            raise FstError(f"{self.about_file} is damaged: its warm_start is not a mapping")
        return weights, start

    def write_longer(self, config: Mapping[str, Any], went_on: Sequence[Mapping[str, int]]) -> None:
        """The config of a run that goes on for longer, and from which steps it ``went_on``."""
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        about = {**read_json(self.about_file), "went_on": list(went_on)}
        write_whole(self.about_file, json.dumps(about, indent=1, ensure_ascii=False).encode())
        write_whole(self.config_file, text.encode())

    def write_about(
        self,
        command: str,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
        **found: Any,
    ) -> None:
        """The resolved config and the versions, commit, seed, machine and inputs behind it.

        ``found`` is what was found out before the first step, such as solved weights.
        """
        about = {
            "fst": fst.__version__,
            "commit": git_commit(),
            "seed": config.get("seed"),
            "command": ["fst", command, *sys.argv[1:]],
            "inputs": dict(inputs),
            **found,
            "machine": machine(),
            "python": platform.python_version(),
            "packages": dict(_versions()),
        }
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        write_whole(self.config_file, text.encode())
        write_whole(self.about_file, json.dumps(about, indent=1, ensure_ascii=False).encode())


def _are_weights(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"content", "style", "tv"}
        and all(
            isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one)
            for one in value.values()
        )
    )


def choose_run(path: Path, *, resume: str) -> RunFolder:
    """The folder to run in: ``path``, or a new numbered sibling of one in use (``resume=false``).

    Nothing is written.
    """
    run = RunFolder(path)
    new = resume.lower() == "false" and run.config_file.exists()
    return RunFolder(unused(path)) if new else run


def checkpoint_to_resume(
    run: RunFolder, config: Mapping[str, Any], inputs: Mapping[str, str], *, resume: str
) -> Checkpoint | None:
    """The checkpoint to resume from, read and verified, if there is one.

    ``inputs`` are fingerprints of what is read and not in the config: painting, photos, network.

    ``resume`` is ``auto`` (resume if the settings match, refuse if they differ), ``false`` (start
    again, in the folder of ``choose_run``), or the path of a checkpoint. ``auto`` passes over
    damaged checkpoints, naming them and the one it takes; a path to a damaged one is refused, as is
    one of a run with other settings. Raises ``FstError`` saying what is wrong or differs.
    """
    resume = resume.lower() if resume.lower() in ("auto", "false") else resume
    if resume == "false":
        return None
    chosen = None
    if resume != "auto":
        path = user_path(resume)
        if not path.exists():
            raise FstError(
                f"resume={resume} is unknown; use resume=auto, resume=false or a checkpoint's path"
            )
        try:
            chosen = Checkpoint.read(path)
            chosen.require(*NEEDED)
        except DamagedCheckpoint as error:
            raise FstError(f"{error}; give another checkpoint or resume=auto") from None
    if run.config_file.exists() and run.checkpoints.found():
        _require_same(run, config, inputs, may_be_longer=True)
    if chosen is not None:
        of = RunFolder(chosen.path.resolve().parent.parent)
        if of.path != run.path.resolve() and of.config_file.exists():
            _require_same(of, config, inputs)
        return chosen
    newest, faults = run.checkpoints.newest_whole()
    if faults and newest is None:
        raise FstError(
            f"{'; '.join(faults.values())}: no checkpoint is left to resume from; resume=false "
            f"starts another run beside {run.path}"
        )
    if newest is not None:
        newest.require(*NEEDED)
    for damaged, reason in faults.items():
        assert newest is not None
        say(f"checkpoint     {reason}; resuming from {newest.path}")
        set_aside(damaged)
    return newest


def _require_same(
    run: RunFolder,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    *,
    may_be_longer: bool = False,
) -> None:
    """Raise ``FstError`` for what differs; a run ``may_be_longer`` than it was (``going_on``)."""
    try:
        old = in_new_names(read_yaml(run.config_file))
        old_inputs = read_json(run.about_file).get("inputs")
        if not isinstance(old_inputs, dict):
            raise FstError(f"{run.about_file} does not say from which inputs")
    except FstError as error:
        raise FstError(
            f"the settings of the run in {run.path} cannot be read ({error}); use resume=false"
        ) from None
    changes = list(differences(old, config))
    changes += [f"other {key}" for key in inputs if inputs[key] != old_inputs.get(key)]
    if may_be_longer and len(changes) == 1 and may_go_on(old, config, run.checkpoints.last_step()):
        return
    if changes:
        raise FstError(
            f"{run.path} holds a run with other settings: {'; '.join(changes)}. Give the old "
            "settings to resume it, style.name=NAME to give this one a name and folder of its own, "
            "or resume=false to start another beside it"
        )


def differences(old: Any, new: Any, key: str = "") -> Iterator[str]:
    """'key: old -> new' for every setting that matters and differs."""
    if may_change(key):
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            inner = f"{key}.{name}" if key else str(name)
            was = old.get(name, before(inner))
            yield from differences(was, new.get(name), inner)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            yield from differences(one, other, key)
    elif old != new:
        yield f"{key} {old} -> {new}"


def git_commit() -> str | None:
    """The commit of the clone this runs from, with '+' if it has changes; None if installed."""
    top = Path(fst.__file__).resolve().parent.parent
    if not (top / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(top)]
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if dirty else "")


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
