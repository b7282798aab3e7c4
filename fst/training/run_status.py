"""How a run goes, in a small file beside its config, for whoever looks after many of them."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from fst.system.files import write_whole
from fst.training.lightning_internals import at_step_boundary
from fst.training.limits import SAME, ended_early
from fst.training.metrics import metrics_of

NAME = "status.json"
EVERY_S = 10.0  # seconds from one writing to the next, at least
RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped", "failed"


class RunStatus(pl.Callback):
    """Keeps ``file``: state, step, seconds a step, the last losses, what has ended the run.

    The first process writes. A run that is killed leaves "running" behind; that nobody holds its
    folder's lock tells (``fst.evaluation.run_states``). A file that cannot be written now is left:
    a run does not end for it. ``again`` is what resumes it, in words.
    """

    def __init__(self, *, file: Path, again: str = SAME) -> None:
        self.file, self.again = file, again
        self._began = (0.0, 0)  # seconds and step
        self._written = 0.0
        self._losses: dict[str, dict[str, float]] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """It runs."""
        self._began = (time.monotonic(), trainer.global_step)
        self._write(trainer, RUNNING)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Where it is, every few seconds."""
        due = time.monotonic() - self._written >= EVERY_S
        if due and at_step_boundary(trainer):
            self._note(trainer, "train", of="train")
            self._write(trainer, RUNNING)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The held-out losses and the scores of artifacts."""
        self._note(trainer, "held_out", of="val")
        self._note(trainer, "artifacts", of="val_artifacts")
        if not trainer.state.finished and trainer.training:
            self._write(trainer, RUNNING)
        elif self._losses.get("held_out"):
            self._write(trainer, *self._end(trainer))  # the validation after the last step

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """It has done its steps, or as many as its time allowed."""
        self._note(trainer, "train", of="train")
        self._write(trainer, *self._end(trainer))

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """A signal stops it, to be resumed; anything else has failed."""
        if isinstance(exception, SystemExit | KeyboardInterrupt):
            code = exception.code if isinstance(exception, SystemExit) else 130
            signal = f"signal {code - 128}" if isinstance(code, int) and code > 128 else "a signal"
            self._write(trainer, STOPPED, f"{signal}; {self.again} resumes")
        else:
            self._write(trainer, FAILED, " ".join(str(exception).split()) or repr(exception))

    def _end(self, trainer: pl.Trainer) -> tuple[str, str]:
        early = ended_early(trainer, None, self.again)
        return (FINISHED, "") if early is None else (STOPPED, f"ended early {early}")

    def _note(self, trainer: pl.Trainer, name: str, *, of: str) -> None:
        found = {key: round(value, 6) for key, value in metrics_of(trainer, of).items()}
        self._losses[name] = found or self._losses.get(name, {})

    def _write(self, trainer: pl.Trainer, state: str, ended: str = "") -> None:
        if not trainer.is_global_zero:
            return
        self._written = time.monotonic()
        step = trainer.global_step
        done = step - self._began[1]
        status = {
            "state": state,
            "step": step,
            "max_steps": trainer.max_steps,
            "seconds_a_step": (self._written - self._began[0]) / done if done > 0 else None,
            **self._losses,
            "ended": ended,
            "updated": time.time(),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "job": os.environ.get("SLURM_JOB_ID"),
        }
        try:
            write_whole(self.file, json.dumps(status, indent=1).encode())
        except OSError:
            return
