"""Held-out photos that are stylized again and again while a net is trained, on one sheet a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from fst.data.photo_files import read_photo
from fst.pictures.image import Picture, save_picture, to_image, to_tensor
from fst.pictures.sheet import contact_sheet, label, labeled
from fst.training.journal import show_picture
from fst.training.lightning_internals import at_step_boundary
from fst.training.lightning_module import FastStyleTransfer

EARLY_PREVIEWS = (0, 25, 50, 100)  # steps; the first comes before the first step
TAG = "val_preview"  # behind the losses, which TensorBoard sorts by name
LETTER = 7  # pixels, about: of a caption


class Previews(pl.Callback):
    """Fixed held-out photos, stylized every ``every`` steps, as a captioned JPEG and for loggers.

    Of one painting each row of the sheet is a photo, the painting and the result; of several, the
    first row are the photos, and below each painting stands before its results. ``photos`` are
    shown whole with the shorter side at ``size`` pixels; ``paintings`` are (1, 3, H, W) by name.
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
        self.names = [path.name for path in photos]
        self.contents = [to_tensor(read_photo(path).resized(size).rgb) for path in photos]
        self.paintings = dict(paintings)
        self.every = every
        self.folder = folder

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A preview before the first step."""
        if trainer.global_step == 0 or self._due(trainer):  # again, as curves end before this step
            self.show(trainer, pl_module)

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: object
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
        step = trainer.global_step
        sheet = self.sheet(pl_module, step)
        if sheet is not None:
            caption = f"{', '.join(self.names)} after {', '.join(self.paintings)}, step {step}"
            show_picture(trainer, TAG, sheet, step, caption)
            path = self.folder / f"step_{step:06d}.jpg"
            save_picture(path, Picture(rgb=sheet), quality=90)

    def sheet(self, module: FastStyleTransfer, step: int) -> Image.Image | None:
        """Photos, paintings and results of the net as it is, with captions; None without photos."""
        if not self.contents:
            return None
        photos = [
            captioned(to_image(content), name)
            for content, name in zip(self.contents, self.names, strict=True)
        ]
        rows = []
        for row, (name, painting) in enumerate(self.paintings.items()):
            made = self._stylized(module, row)
            shown = [captioned(to_image(one), f"step {step}, {name}") for one in made]
            rows.append([captioned(to_image(painting), name), *shown])
        if len(rows) == 1:
            own, *shown = rows[0]
            pairs = zip(photos, shown, strict=True)
            return contact_sheet([[photo, own, result] for photo, result in pairs])
        return contact_sheet([[label(f"step {step}"), *photos], *rows])

    def _stylized(self, module: FastStyleTransfer, row: int) -> list[Tensor]:
        """The photos after the painting of a row, (1, 3, H, W) each."""
        like = module.net.conv1.conv.weight
        rows = [] if module.net.paintings == 1 else [torch.tensor([row], device=like.device)]
        with torch.no_grad():
            return [module.net(photo.to(like), *rows).float().cpu() for photo in self.contents]


def captioned(picture: Image.Image, text: str) -> Image.Image:
    """A picture below as much of a text as it is wide."""
    most = max(picture.width // LETTER, 1)
    return labeled(picture, text if len(text) <= most else f"{text[: most - 1]}…")
