"""Whether the photos keep up with the net: the share of a step's time spent waiting for them."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl

from fst.data.dataset import TimedLoader
from fst.system.console import say
from fst.training.checkpointing import at_step_boundary

TOO_LONG = 0.1  # share from which there is something to mend


class DataWait(pl.Callback):
    """Logs ``data_wait_share``, over the last ``every`` steps, and says it of all at the end.

    A step's time is that from its batch being there to its end, and the waiting before it;
    validation, previews and checkpoints are not in it. On a GPU, which works on while the CPU
    waits, it is an upper bound of the time lost.
    """

    def __init__(self, *, every: int) -> None:
        self.every = every
        self._start = 0.0
        self._busy_s = 0.0
        self._mark = (0.0, 0.0)  # waited and busy when last logged

    def on_train_batch_start(self, *args: Any) -> None:
        self._start = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        self._busy_s += time.monotonic() - self._start
        if trainer.global_step % self.every or not at_step_boundary(trainer):
            return
        now = (_waited_s(trainer), self._busy_s)
        waited, busy = (after - before for after, before in zip(now, self._mark, strict=True))
        pl_module.log("data_wait_share", _share(waited, busy))
        self._mark = now

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        share = _share(_waited_s(trainer), self._busy_s)
        cure = "; try `fst prepare`, or more data.workers" if share > TOO_LONG else ""
        say(f"waiting        for photos: {share:.1%} of the steps' time{cure}")


def _waited_s(trainer: pl.Trainer) -> float:
    loader = trainer.train_dataloader
    assert isinstance(loader, TimedLoader)
    return loader.waited_s


def _share(waited: float, busy: float) -> float:
    return waited / max(waited + busy, 1e-9)
