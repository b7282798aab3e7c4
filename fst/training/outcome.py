"""How a run ends beside the untouched photos: what is worse than them is no style."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from fst.loss.paintings_loss import PaintingsLoss
from fst.system.console import say
from fst.training.datamodule import PhotoData
from fst.training.lightning_module import FastStyleTransfer

JUDGED = 8  # held-out photos, or one for each painting where those are more
LONG = 300  # steps by which a net that has learned anything is better than the photos
NO_BETTER = 1.05  # times the total at the start: the steps have led away


class Outcome(pl.Callback):
    """The held-out total of the untouched photos and of the net that the run began with.

    Both are of the first held-out photos, each after one of the paintings in turn, and are kept in
    checkpoints. All processes see the same.
    """

    def __init__(self, data: PhotoData) -> None:
        self.data = data
        self.start: float | None = None
        self.untouched: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: both totals."""
        return {"start": self.start, "untouched": self.untouched}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take both from a checkpoint."""
        start, untouched = state_dict["start"], state_dict["untouched"]
        self.start = None if start is None else float(start)
        self.untouched = None if untouched is None else float(untouched)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Judge the untouched photos, and the net before its first step."""
        assert isinstance(pl_module, FastStyleTransfer)
        if trainer.global_step == 0:
            self.start = self.total(pl_module)
        if self.untouched is None:
            self.untouched = self.total(pl_module, untouched=True)

    def judge(self, trainer: pl.Trainer, module: FastStyleTransfer) -> str | None:
        """Why a run that has ended made no style, in a sentence; None if it made one.

        To be worse than the untouched photos is to have failed. But a net that began with nothing
        and has made few steps is on its way: if it is better than at its start, it is only told.
        """
        if self.untouched is None:
            self.untouched = self.total(module, untouched=True)
        final, steps = self.total(module), trainer.global_step
        if final <= self.untouched:
            return None
        figures = (
            f"worse than the untouched photos (held-out total {final:.4g}, theirs "
            f"{self.untouched:.4g})"
        )
        led_away = self.start is not None and not final <= NO_BETTER * self.start
        if steps >= LONG or led_away:
            return (
                f"after {steps} steps the net is {figures}; begin anew, resume=false, with a lower "
                f"learning rate: optimizer.learning_rate={module.learning_rate / 10:.2g}"
            )
        say(f"note           {steps} steps are few: the net is still {figures}")
        return None

    @torch.no_grad()
    def total(self, module: FastStyleTransfer, *, untouched: bool = False) -> float:
        """The mean total of the net's pictures, or of the photos themselves."""
        totals = []
        for photo, row in self._pairs(module):
            made = photo
            if not untouched:
                rows = (
                    [torch.tensor([row], device=photo.device)] if module.net.paintings > 1 else []
                )
                made = module.net(photo, *rows)
            loss = module.loss
            one = loss.of(row) if isinstance(loss, PaintingsLoss) else loss
            totals.append(float(one(made, photo).total))
        return sum(totals) / len(totals)

    def _pairs(self, module: FastStyleTransfer) -> Iterator[tuple[Tensor, int]]:
        """Photos (1, 3, size, size), RGB in [0, 1], each with the row of its painting."""
        count = module.net.paintings
        photos: list[Tensor] = []
        for batch in self.data.val_dataloader():
            photos += batch.photos.split(1)
            if len(photos) >= JUDGED:
                break
        for number in range(max(min(len(photos), JUDGED), count)):
            photo = photos[number % len(photos)]
            yield photo.to(module.device, module.net.conv1.conv.weight.dtype), number % count
