"""What an optimization of a picture leaves behind: its objective by iteration, and previews."""

from __future__ import annotations

import csv
import time

from torch.utils.tensorboard import SummaryWriter

from fst.experiments.run_folder import RunFolder
from fst.loss.image_optimizer import Iterate
from fst.loss.perceptual_loss import Losses, PerceptualLoss
from fst.pictures.image import Picture, save_picture, to_image
from fst.system.console import say

COLUMNS = (
    *("size", "iteration", "evaluations", "seconds"),
    *("total", "content", "style", "total_variation", "undone"),
)


class Log:
    """The objective by iteration: as CSV, in TensorBoard, on the terminal, and as previews."""

    def __init__(self, run: RunFolder, *, every: int) -> None:
        self.run, self.every = run, every
        self.writer = SummaryWriter(str(run.path))
        self.file = open(run.path / "objective.csv", "w", newline="")  # noqa: SIM115
        self.table = csv.writer(self.file)
        self.table.writerow(COLUMNS)
        self.started = time.monotonic()
        self.total = 0
        self.size = 0
        self.best: Iterate | None = None

    def start(self, size: int, loss: PerceptualLoss) -> None:
        """A new size begins; its objective is another one."""
        self.size, self.best = size, None
        say(
            f"size {size}       weights: content {loss.content_weight:.3g}, style "
            f"{loss.style_weight:.3g}, total variation {loss.tv_weight:.3g}"
        )

    def add(self, iterate: Iterate, losses: Losses, *, last: bool) -> None:
        """One iteration's values, and its picture now and then."""
        if self.best is None or iterate.value < self.best.value:
            self.best = iterate
        named = {
            "total": iterate.value,
            "content": float(losses.content.detach()),
            "style": float(losses.style.detach()),
            "total_variation": float(losses.total_variation.detach()),
        }
        seconds = time.monotonic() - self.started
        row = [self.size, iterate.number, iterate.evaluations, f"{seconds:.3f}"]
        self.table.writerow([*row, *(f"{v:.6g}" for v in named.values()), iterate.undone])
        self.file.flush()
        for key, value in named.items():
            self.writer.add_scalar(f"objective/{key}", value, self.total)
        if iterate.number % self.every == 0 or last:
            self.writer.add_image("picture", iterate.image[0], self.total)
            path = self.run.previews / f"{self.size}px_{iterate.number:06d}.jpg"
            save_picture(path, Picture(rgb=to_image(iterate.image)), quality=90)
            undone = f"  {iterate.undone} steps undone" if iterate.undone else ""
            values = "  ".join(f"{key} {value:.4g}" for key, value in named.items())
            say(f"iteration {iterate.number:>4}  {values}  {seconds:.0f} s{undone}")
        self.total += 1

    def close(self) -> None:
        """Everything is on disk afterwards."""
        self.file.close()
        self.writer.close()
