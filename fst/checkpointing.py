"""What keeps a run from being lost: whole checkpoints, a clean stop on a signal, no NaN on disk."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch

from fst.errors import FstError


class LastCheckpoint(pl.Callback):
    """Writes ``last.ckpt`` every ``every`` steps and at the end, whole or not at all.

    A state with NaN or infinity is never written; ``FstError`` stops the run instead.
    """

    def __init__(self, *, path: Path, every: int) -> None:
        self.path = path
        self.every = every
        self._saved_step = -1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        if at_step_boundary(trainer) and trainer.global_step % self.every == 0:
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint beside its place, flush it to the disk, rename it."""
        step = trainer.global_step
        if step == self._saved_step:
            return
        for name, parameter in trainer.lightning_module.named_parameters():
            if not torch.isfinite(parameter).all():
                raise FstError(diverged(f"{name} of the net is not finite", step, self.path))
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            trainer.save_checkpoint(temporary)  # all processes take part, the first one writes
            if trainer.is_global_zero:
                with open(temporary, "rb") as handle:
                    os.fsync(handle.fileno())
                os.replace(temporary, self.path)
        except OSError as error:
            raise FstError(f"{self.path} cannot be written: {error.strerror or error}") from None
        finally:
            temporary.unlink(missing_ok=True)
        self._saved_step = step


class StopOnNaN(pl.Callback):
    """Stops at a loss that is not finite, naming the step. Looks every ``every`` steps."""

    def __init__(self, *, path: Path, every: int) -> None:
        self.path = path
        self.every = every  # between looks a GPU need not be waited for

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if trainer.global_step % self.every == 0 and not torch.isfinite(loss):
            sentence = f"the loss is {loss.item()}"
            raise FstError(diverged(sentence, trainer.global_step, self.path))


class StopOnSignal(pl.Callback):
    """On SIGINT or SIGTERM finishes the step, writes the checkpoint and exits 130 or 143.

    A second signal stops at once, with the checkpoint before. ``checkpoint`` does the writing.
    """

    def __init__(self, *, checkpoint: LastCheckpoint) -> None:
        self.checkpoint = checkpoint
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        if self._received is None or not at_step_boundary(trainer):
            return
        self.checkpoint.save(trainer)
        if trainer.is_global_zero:
            print(f"\nstopped at step {trainer.global_step}; the same command goes on from there")
        raise SystemExit(128 + self._received)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            raise SystemExit(128 + number)
        self._received = number


def at_step_boundary(trainer: pl.Trainer) -> bool:
    """Whether the batch that has just ended completed an optimizer step."""
    return not trainer.fit_loop._should_accumulate()


def diverged(sentence: str, step: int, checkpoint: Path) -> str:
    """The sentence that says how a run has failed and what to do."""
    good = f"; the last good state is in {checkpoint}" if checkpoint.exists() else ""
    return (
        f"{sentence} at step {step}{good}; lower optimizer.learning_rate or set "
        "trainer.gradient_clip_val=1"
    )
