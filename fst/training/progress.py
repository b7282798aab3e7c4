"""How far a training is: a line of a terminal that moves, or a line now and then."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from fst.data.dataset import PhotoBatch
from fst.system.console import duration, say
from fst.system.progress import ProgressLine
from fst.training.lightning_internals import at_step_boundary
from fst.training.metrics import metrics_of

TERMS = ("content", "style", "tv", "moving")  # their sum is the total
FRESH_S = 1.0  # after which the line's terms are taken anew, where that costs nothing


class StepsLine(ProgressLine):
    """The line of a training: its steps, the terms of the loss, images a second, the time left.

    ``images_per_s`` is None until it is known; ``note`` stands in place of the terms.
    """

    terms: Mapping[str, float] = {}
    images_per_s: float | None = None
    note = ""

    def line(self, columns: int) -> str:
        """As of ``ProgressLine``; the time left comes from the steps since the start or resume."""
        seconds, made = self._clock() - self._start, self._done - self._begun
        told = [f"step {self._done}/{self._many}"]
        told += [self.note] if self.note else [f"{k} {v:.3g}" for k, v in self.terms.items()]
        if self.images_per_s is not None:
            told.append(f"{self.images_per_s:.3g} images/s")
        if made:
            left = seconds / made * (self._many - self._done)
            told.append(f"{duration(left)} left" if left else duration(seconds))
        return self.with_bar("  ".join(told), columns)


class Progress(pl.Callback):
    """The line on a terminal, with the three terms; plain lines where there is none.

    Also logs ``work/images_per_s`` and ``work/learning_rate`` every ``every`` steps.
    """

    def __init__(self, *, terminal: bool, every: int, compiles: bool = False) -> None:
        self.terminal, self.every, self.compiles = terminal, every, compiles
        self._line: StepsLine | None = None
        self._mark = (0.0, 0)
        self._images = 0
        self._started = (0.0, 0)
        self._before_s = 0.0
        self._taken = 0.0  # when the line's terms were

    def elapsed_s(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self._before_s + (time.monotonic() - self._started[0] if self._started[0] else 0.0)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the seconds of training so far."""
        return {"elapsed_s": self.elapsed_s()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on from the seconds that a checkpoint has."""
        self._before_s = float(state_dict["elapsed_s"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; the speed is measured from here."""
        step, many = trainer.global_step, int(trainer.max_steps)
        self._started = self._mark = (time.monotonic(), step)
        self._images = 0
        if self.terminal and trainer.is_global_zero:
            self._line = StepsLine(many, "steps", begun=step)
            self._line.note = "compiling" if self.compiles else ""

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: PhotoBatch,
        batch_idx: int,
    ) -> None:
        """Move the line; every ``every`` steps log speed and rate, show or print the terms."""
        self._images += len(batch.paths) * trainer.world_size
        if not at_step_boundary(trainer):
            return
        step, now = trainer.global_step, time.monotonic()
        speed = self._images / max(now - self._mark[0], 1e-9)
        due = step % self.every == 0 and step != self._mark[1]
        if due:
            pl_module.log("work/images_per_s", speed)
            pl_module.log("work/learning_rate", trainer.optimizers[0].param_groups[0]["lr"])
            self._mark, self._images = (now, step), 0
        if self._line is not None:
            fresh = now - self._taken < FRESH_S or trainer.strategy.root_device.type != "cpu"
            if due or not fresh:  # to take them from a GPU is to wait for it
                self._taken = now
                losses = metrics_of(trainer, "train")
                self._line.terms = {k: losses[k] for k in TERMS if k in losses} or losses
            if due or self._line.images_per_s is None:
                self._line.images_per_s = speed
            self._line.note = ""
            self._line.reach(step)
        elif due and trainer.is_global_zero and self._speak(step, trainer):
            self._say(trainer, step, speed, now)

    def _say(self, trainer: pl.Trainer, step: int, speed: float, now: float) -> None:
        losses, many = metrics_of(trainer, "train"), int(trainer.max_steps)
        named = "  ".join(f"{k} {v:.4g}" for k, v in losses.items())
        left = (now - self._started[0]) / (step - self._started[1]) * (many - step)
        facts = {"step": step, "of": many, "losses": losses}
        facts |= {"images_per_s": round(speed, 2), "seconds_left": round(left)}
        text = f"step {step}/{many}  {named}  {speed:.1f} images/s  ETA {duration(left)}"
        say(text, event="step", **facts)

    def _speak(self, step: int, trainer: pl.Trainer) -> bool:
        every = max(self.every, int(trainer.max_steps) // 100)
        return step % every < self.every or step == trainer.max_steps

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the line as it is."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave the terminal to what is said of it."""
        self._close()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say on the line that held-out photos are tried."""
        if self._line is not None:
            self._line.note = "trying held-out photos"
            self._line.show()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the terms again."""
        if self._line is not None:
            self._line.note = ""
            self._line.show()

    def _close(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None
