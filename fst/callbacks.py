"""What happens beside the training step: previews, checkpoints, progress, bad photos named."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from fst.console import duration
from fst.data import PhotoBatch
from fst.errors import FstError
from fst.image import Picture, contact_sheet, read_picture, save_picture, to_image, to_tensor
from fst.lightning_module import FastStyleTransfer

EARLY_PREVIEWS = (0, 25, 50, 100)  # steps; the first comes before the first step


class Previews(pl.Callback):
    """Fixed held-out photos, stylized every ``every`` steps, as JPEG files and in TensorBoard.

    ``photos`` are shown whole with the shorter side at ``size`` pixels; the painting goes into
    TensorBoard once.
    """

    def __init__(
        self, *, photos: Sequence[Path], painting: Tensor, size: int, every: int, folder: Path
    ) -> None:
        self.contents = [to_tensor(read_picture(path).resized(size).rgb) for path in photos]
        self.painting = painting
        self.every = every
        self.folder = folder

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            for writer in _writers(trainer):
                writer.add_image("painting", self.painting[0], 0)
                for number, content in enumerate(self.contents):
                    writer.add_image(f"photo/{number}", content[0], 0)
            self._show(trainer, pl_module)

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        step = trainer.global_step
        if trainer.fit_loop._should_accumulate():
            return
        if step in EARLY_PREVIEWS or step % self.every == 0 or step == trainer.max_steps:
            self._show(trainer, pl_module)

    def _show(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FastStyleTransfer)
        step = trainer.global_step
        stylized = []
        with torch.no_grad():
            for content in self.contents:
                stylized.append(pl_module.net(content.to(pl_module.device)).float().cpu())
        for writer in _writers(trainer):
            for number, picture in enumerate(stylized):
                writer.add_image(f"preview/{number}", picture[0], step)
            writer.flush()
        rows = [[to_image(picture) for picture in row] for row in (self.contents, stylized)]
        sheet = contact_sheet(rows)
        save_picture(self.folder / f"step_{step:06d}.jpg", Picture(rgb=sheet), quality=90)


def _writers(trainer: pl.Trainer) -> list[Any]:
    return [lg.experiment for lg in trainer.loggers if isinstance(lg, TensorBoardLogger)]


class LastCheckpoint(pl.Callback):
    """Writes ``last.ckpt`` every ``every`` steps and at the end, whole or not at all."""

    def __init__(self, *, path: Path, every: int) -> None:
        self.path = path
        self.every = every
        self._saved_step = -1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        if trainer.global_step % self.every == 0 and not trainer.fit_loop._should_accumulate():
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if isinstance(exception, KeyboardInterrupt) and trainer.global_step > 0:
            self.save(trainer)
            if trainer.is_global_zero:
                print(
                    f"\nstopped at step {trainer.global_step}; the same command goes on from there"
                )

    def save(self, trainer: pl.Trainer) -> None:
        step = trainer.global_step
        if step == self._saved_step:
            return
        temporary = self.path.with_suffix(".part")
        trainer.save_checkpoint(temporary)  # every process takes part; only the first one writes
        if trainer.is_global_zero:
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, self.path)
        self._saved_step = step


class StopOnNaN(pl.Callback):
    """Stops at the first loss that is not finite, naming the step, before it is saved anywhere."""

    def __init__(self, *, every: tuple[int, int]) -> None:
        self.every = every  # steps between logs, between checkpoints: no look, no wait for a GPU

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        looks = any(trainer.global_step % every == 0 for every in self.every)
        if looks and not torch.isfinite(loss):
            raise FstError(
                f"the loss is {loss.item()} at step {trainer.global_step}; the last good state is "
                "in last.ckpt; lower optimizer.learning_rate, or set trainer.gradient_clip_val=1"
            )


class SkippedPhotos(pl.Callback):
    """Names every unreadable photo once in a report file and counts them at the end."""

    def __init__(self, *, report: Path) -> None:
        self.report = report
        self.seen: set[str] = set()
        with contextlib.suppress(OSError):
            self.seen = {line.split("\t")[0] for line in report.read_text().splitlines()}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: PhotoBatch, *args: Any
    ) -> None:
        new = [(path, reason) for path, reason in batch.skipped if path not in self.seen]
        if not new:
            return
        report = self.report
        if trainer.global_rank:
            report = report.with_name(f"{report.stem}.rank{trainer.global_rank}{report.suffix}")
        with report.open("a", encoding="utf-8") as handle:
            for path, reason in dict(new).items():
                handle.write(f"{path}\t{reason}\n")
                self.seen.add(path)


class Progress(TQDMProgressBar):
    """The bar on a terminal (ETA and the three terms); plain lines where there is none.

    Also logs ``images_per_s`` and ``learning_rate`` every ``every`` steps.
    """

    def __init__(self, *, terminal: bool, every: int) -> None:
        super().__init__(refresh_rate=1 if terminal else 0)
        self.every = every
        self.terminal = terminal
        self._mark = (0.0, 0)
        self._images = 0
        self._started = (0.0, 0)
        self._before_s = 0.0

    def elapsed_s(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self._before_s + time.monotonic() - self._started[0] if self._started[0] else 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"elapsed_s": self.elapsed_s()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before_s = float(state_dict["elapsed_s"])

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {name.removeprefix("train/"): value for name, value in metrics.items()}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._started = (time.monotonic(), trainer.global_step)
        self._mark, self._images = (time.monotonic(), trainer.global_step), 0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: PhotoBatch,
        batch_idx: int,
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._images += len(batch.paths) * trainer.world_size
        step = trainer.global_step
        if step % self.every or step == self._mark[1]:
            return
        now = time.monotonic()
        speed = self._images / max(now - self._mark[0], 1e-9)
        pl_module.log("images_per_s", speed)
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        pl_module.log("learning_rate", lr)
        self._mark, self._images = (now, step), 0
        if not self.terminal and trainer.is_global_zero and self._speak(step, trainer):
            terms = {k: float(v) for k, v in trainer.callback_metrics.items()}
            named = "  ".join(
                f"{t} {terms[f'train/{t}']:.4g}" for t in ("total", "content", "style", "tv")
            )
            per_step = (now - self._started[0]) / (step - self._started[1])
            left = duration(per_step * (int(trainer.max_steps) - step))
            print(
                f"step {step}/{trainer.max_steps}  {named}  {speed:.1f} images/s  ETA {left}",
                flush=True,
            )

    def _speak(self, step: int, trainer: pl.Trainer) -> bool:
        every = max(self.every, int(trainer.max_steps) // 100)
        return step % every < self.every or step == trainer.max_steps
