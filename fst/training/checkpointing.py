"""What keeps a run from being lost: whole checkpoints, the best among them, a stop on a signal."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from fst.errors import FstError
from fst.system.console import say
from fst.system.signals import STOP, WARNINGS, requeue
from fst.training.checkpoint_files import Checkpoint, Checkpoints, read_checkpoint, write_checkpoint
from fst.training.lightning_internals import (
    agreed,
    at_step_boundary,
    let_batches_follow,
    let_steps_follow,
    log_now,
    validate_between_steps,
    validation_follows,
)
from fst.training.limits import SAME

BEST_BY = "val/total"


class WholeFiles(CheckpointIO):
    """Lightning's checkpoints through ``checkpoint_files``; the first process writes.

    Lightning's own files are staged in $TMPDIR and not flushed to the disk. A failure is kept in
    ``failure``, for all processes to hear of. The checkpoint that is resumed from is ``known``: it
    is not read again. ``max_steps`` is how many the run shall have.
    """

    def __init__(self, known: Checkpoint | None = None, *, max_steps: int = 0) -> None:
        self.known, self.max_steps = known, max_steps
        self.failure: str | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a file whole or not at all; a failure is kept, not raised."""
        try:
            write_checkpoint(Path(path), checkpoint)
        except FstError as error:
            self.failure = str(error)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The state in a file; ``FstError`` as of ``read_checkpoint``."""
        if self.known is not None and Path(path) == self.known.path:
            state = copy.deepcopy(self.known.state)  # the optimizer changes what it is given
            if self.known.step < self.max_steps:
                let_steps_follow(state)
            return state
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file, if it is there."""
        Path(path).unlink(missing_ok=True)


class KeepCheckpoints(pl.Callback):
    """Writes a checkpoint every ``every`` steps and at the end; keeps the newest and the best.

    Where a validation follows a step, the checkpoint is written after it: what resumes there
    has its curve whole. If the validation is interrupted, the checkpoint says that it is owed, and
    a run that resumes begins with it. ``look`` is called before each checkpoint, to refuse or to
    mend a state that is not finite. The best is the one with the lowest ``val/total``.
    """

    def __init__(
        self, *, files: Checkpoints, every: int, keep: int, look: Callable[[pl.Trainer], None]
    ) -> None:
        self.files, self.every, self.keep, self.look = files, every, keep, look
        self.best = float("inf")
        self.owed = False
        self._saved: tuple[int, bool] | None = None
        self._first = -1  # the step that this process began with

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the best loss, and whether a validation is owed."""
        return {"best": self.best, "owed": self.owed}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take both from a checkpoint."""
        self.best, self.owed = float(state_dict["best"]), bool(state_dict["owed"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the validation that is owed."""
        self._first = trainer.global_step
        let_batches_follow(trainer)
        if self.owed:
            self.owed = False
            validate_between_steps(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Write the checkpoint of a step that no validation follows."""
        if at_step_boundary(trainer) and self._is_due(trainer) and not validation_follows(trainer):
            log_now(trainer)
            self.save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the best checkpoint if this is it, and the step's if one is due."""
        if trainer.state.fn != TrainerFn.FITTING or not at_step_boundary(trainer):
            return
        value = float(trainer.callback_metrics.get(BEST_BY, float("inf")))
        if value < self.best:
            self.look(trainer)
            self.best = value
            self._write(trainer, self.files.best)
        if self._is_due(trainer):
            self.save(trainer)

    def _is_due(self, trainer: pl.Trainer) -> bool:
        """Every so often; and before the loop is over of a run that ends early.

        Of a loop that is over Lightning takes no more steps, also where a checkpoint is resumed.
        """
        ends = trainer.should_stop or trainer.is_last_batch
        early = ends and trainer.global_step < int(trainer.max_steps)
        return early or trainer.global_step % self.every == 0

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the last checkpoint; that of a run which took no step is there already."""
        if trainer.global_step > self._first or not self.files.path(trainer.global_step).exists():
            self.save(trainer)

    def save(self, trainer: pl.Trainer, *, owed: bool = False) -> None:
        """Write the checkpoint of this step; ``owed`` if its validation is still to be run."""
        step = trainer.global_step
        if self._saved == (step, owed):
            return
        self.look(trainer)
        self.owed = owed
        self._write(trainer, self.files.path(step))
        self.owed = False
        self._saved = step, owed
        if trainer.is_global_zero:
            self.files.prune(self.keep)

    def _write(self, trainer: pl.Trainer, path: Path) -> None:
        trainer.save_checkpoint(path, weights_only=False)
        files = trainer.strategy.checkpoint_io
        assert isinstance(files, WholeFiles)
        failure = trainer.strategy.broadcast(files.failure)
        if failure is not None:
            newest = self.files.newest()
            kept = f"; {newest} is as it was" if newest else ""
            raise FstError(f"{failure}{kept}")


class StopOnSignal(pl.Callback):
    """On a noted signal finishes the step, writes the checkpoint and exits 130 or 143.

    All processes agree on it, so that none waits for another. A validation is broken off and
    owed. ``again`` is what resumes it, in words. A cluster's warning has the job put into the queue
    again, if it got anywhere.
    """

    def __init__(self, *, checkpoints: KeepCheckpoints, again: str = SAME) -> None:
        self.checkpoints, self.again = checkpoints, again
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put our signal handlers in place of Lightning's."""
        STOP.install()  # Lightning has put its own in place, which saves nothing
        self._first_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Stop after a whole step, if any process has noted a signal."""
        STOP.note_from_now()
        number = agreed(trainer, STOP.received or 0) if at_step_boundary(trainer) else 0
        if number:
            log_now(trainer)
            self._stop(trainer, number, owed=validation_follows(trainer))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Stop inside a validation of the training, which is then owed."""
        if trainer.state.fn == TrainerFn.FITTING and at_step_boundary(trainer):
            number = agreed(trainer, STOP.received or 0)
            if number:
                self._stop(trainer, number, owed=True)

    def _stop(self, trainer: pl.Trainer, number: int, *, owed: bool) -> None:
        self.checkpoints.save(trainer, owed=owed)
        step = trainer.global_step
        if trainer.is_global_zero:
            if number in WARNINGS and step > self._first_step and (job := requeue()):
                say(f"stopped at step {step}; job {job} is queued again", event="stopped")
            else:
                say(f"stopped at step {step}; {self.again} resumes from there", event="stopped")
        raise SystemExit(128 + number)
