"""What is shown beside the training step: previews, photos skipped and waited for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from fst.data.dataset import PhotoBatch
from fst.data.photo_files import read_photo
from fst.pictures.image import Picture, save_picture, to_image, to_tensor
from fst.pictures.sheet import contact_sheet
from fst.system.console import say
from fst.training.datamodule import TimedLoader
from fst.training.lightning_internals import at_step_boundary
from fst.training.lightning_module import FastStyleTransfer

EARLY_PREVIEWS = (0, 25, 50, 100)  # steps; the first comes before the first step
TOO_LONG = 0.1  # share of the time spent waiting for photos from which there is something to mend


class Previews(pl.Callback):
    """Fixed held-out photos, stylized every ``every`` steps, as JPEG files and in TensorBoard.

    ``photos`` are shown whole with the shorter side at ``size`` pixels, below them a row for each
    of the ``paintings``, (1, 3, H, W) by name, which go into TensorBoard once.
    """

    def __init__(
        self,
        *,
        photos: Sequence[Path],
        paintings: Mapping[str, Tensor],
        size: int,
        every: int,
        folder: Path,
    ) -> None:
        self.contents = [to_tensor(read_photo(path).resized(size).rgb) for path in photos]
        self.paintings = dict(paintings)
        self.every = every
        self.folder = folder

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before the first step: a preview, and paintings and photos into TensorBoard."""
        if trainer.global_step == 0 or self._due(trainer):  # again, as curves end before this step
            self.show(trainer, pl_module)
        if trainer.global_step == 0:
            for writer in _writers(trainer):
                for name, painting in self.paintings.items():
                    writer.add_image(self._tag("painting", name), painting[0], 0)
                for number, content in enumerate(self.contents):
                    writer.add_image(f"photo/{number}", content[0], 0)

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """A preview where one is due."""
        if at_step_boundary(trainer) and self._due(trainer):
            self.show(trainer, pl_module)

    def _due(self, trainer: pl.Trainer) -> bool:
        step = trainer.global_step
        return step in EARLY_PREVIEWS or step % self.every == 0 or step == trainer.max_steps

    @rank_zero_only
    def show(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stylize the photos with the net as it is."""
        assert isinstance(pl_module, FastStyleTransfer)
        if not self.contents:
            return
        step = trainer.global_step
        made = {name: self._stylized(pl_module, row) for row, name in enumerate(self.paintings)}
        for writer in _writers(trainer):
            for name, stylized in made.items():
                for number, picture in enumerate(stylized):
                    writer.add_image(f"{self._tag('preview', name)}/{number}", picture[0], step)
            writer.flush()
        rows = [[to_image(x) for x in row] for row in (self.contents, *made.values())]
        sheet = contact_sheet(rows)
        save_picture(self.folder / f"step_{step:06d}.jpg", Picture(rgb=sheet), quality=90)

    def _tag(self, tag: str, name: str) -> str:
        return tag if len(self.paintings) == 1 else f"{tag}/{name}"

    def _stylized(self, module: FastStyleTransfer, row: int) -> list[Tensor]:
        """The photos after the painting of a row, (1, 3, H, W) each."""
        like = module.net.conv1.conv.weight
        rows = [] if module.net.paintings == 1 else [torch.tensor([row], device=like.device)]
        with torch.no_grad():
            return [module.net(photo.to(like), *rows).float().cpu() for photo in self.contents]


def _writers(trainer: pl.Trainer) -> list[Any]:
    return [lg.experiment for lg in trainer.loggers if isinstance(lg, TensorBoardLogger)]


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
        pl_module.log("data_wait_share", _share(waited, busy))
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
