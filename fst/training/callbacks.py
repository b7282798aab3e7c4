"""What is shown beside the training step: photos skipped and waited for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from fst.data.dataset import PhotoBatch
from fst.system.console import say
from fst.training.datamodule import TimedLoader
from fst.training.lightning_internals import at_step_boundary

TOO_LONG = 0.1  # share of the time spent waiting for photos from which there is something to mend


class SkippedPhotos(pl.Callback):
    """Names every unreadable photo once in a report file: path, tab, reason.

    ``known`` are those found before training. Other processes write reports of their own.
    """

    def __init__(self, *, report: Path, known: Sequence[tuple[str, str]]) -> None:
        self.report = report
        self.known = list(known)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose this process's report; the first process adds what is ``known``."""
        # of the first process: another may have counted itself a folder further
        self.report = trainer.strategy.broadcast(self.report)
        if trainer.global_rank:
            name = f"{self.report.stem}.rank{trainer.global_rank}{self.report.suffix}"
            self.report = self.report.with_name(name)
        else:
            self._add(self.known)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: PhotoBatch, *args: Any
    ) -> None:
        """Add the photos that this batch had to skip."""
        if batch.skipped:
            self._add(batch.skipped)

    def _add(self, skipped: Sequence[tuple[str, str]]) -> None:
        seen = set(read_skipped(self.report))
        new = {path: reason for path, reason in skipped if path not in seen}
        if new:
            with self.report.open("a", encoding="utf-8", errors="surrogateescape") as handle:
                handle.writelines(f"{path}\t{reason}\n" for path, reason in new.items())


def read_skipped(report: Path) -> list[str]:
    """The paths in a report of skipped photos; none if there is no report."""
    if not report.exists():
        return []
    text = report.read_text(encoding="utf-8", errors="surrogateescape")
    return [line.split("\t")[0] for line in text.splitlines()]


class DataWait(pl.Callback):
    """Logs ``work/data_wait_share``, over the last ``every`` steps, and says it of all at the end.

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
        """The batch is there: the step's own time begins."""
        self._start = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Add the step's time; log the share every ``every`` steps."""
        self._busy_s += time.monotonic() - self._start
        if trainer.global_step % self.every or not at_step_boundary(trainer):
            return
        now = (_waited_s(trainer), self._busy_s)
        waited, busy = (after - before for after, before in zip(now, self._mark, strict=True))
        pl_module.log("work/data_wait_share", _share(waited, busy))
        self._mark = now

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say the share over the whole run, and the cure where it is high."""
        share = _share(_waited_s(trainer), self._busy_s)
        cure = "; try `fst prepare`, or more data.workers" if share > TOO_LONG else ""
        say(f"waiting        for photos: {share:.1%} of the steps' time{cure}")


def _waited_s(trainer: pl.Trainer) -> float:
    loader = trainer.train_dataloader
    assert isinstance(loader, TimedLoader)
    return loader.waited_s


def _share(waited: float, busy: float) -> float:
    return waited / max(waited + busy, 1e-9)
