"""Training as a Lightning module: stylize the content batch, compute the losses, log, return."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from fst.artifacts import Artifacts, find_artifacts
from fst.data import PhotoBatch
from fst.errors import FstError
from fst.perceptual_loss import Losses, PerceptualLoss
from fst.transformer_net import TransformerNet

SCHEDULES = ("constant", "one_cycle")


class FastStyleTransfer(pl.LightningModule):
    """Fits a ``TransformerNet`` to one painting (Johnson et al. 2016, section 3).

    The loss holds its network and Gram matrices as non-persistent buffers, so a checkpoint has
    the net and the optimizer and nothing else. ``schedule`` is ``constant`` (the paper's) or
    ``one_cycle`` (torch's ``OneCycleLR``), which reaches ``learning_rate`` at 30% of the steps and
    ends near 0, better for short runs; Adam's first beta swings too, 0.95 to 0.85. ``compile``
    passes the net and the loss through ``torch.compile``.
    """

    def __init__(
        self,
        *,
        net: TransformerNet,
        loss: PerceptualLoss,
        learning_rate: float,
        schedule: str,
        compile: bool,
    ) -> None:
        super().__init__()
        if schedule not in SCHEDULES:
            raise FstError(
                f"optimizer.schedule '{schedule}' is unknown; use one of {', '.join(SCHEDULES)}"
            )
        self.net = net
        self.loss = loss
        self.learning_rate = learning_rate
        self.schedule = schedule
        # in a tuple, so that the compiled twins are not registered as modules of their own
        self._callables = (torch.compile(net), torch.compile(loss)) if compile else (net, loss)

    def forward(self, content: Tensor) -> Tensor:
        """content (B, 3, H, W), RGB in [0, 1] -> stylized, the same shape and range."""
        return self._callables[0](content)

    def on_fit_start(self) -> None:
        """Every process takes the first one's weights of the loss: solving may round otherwise."""
        weights = self.trainer.strategy.broadcast(self.loss.weights)
        self.loss.content_weight, self.loss.style_weight = weights["content"], weights["style"]
        self.loss.tv_weight = weights["tv"]

    def training_step(self, batch: PhotoBatch, batch_idx: int) -> Tensor:
        losses = self._callables[1](self(batch.photos), batch.photos)
        self._log_losses("train", losses, batch, prog_bar=True)
        return losses.total

    def validation_step(self, batch: PhotoBatch, batch_idx: int) -> Tensor:
        stylized = self(batch.photos)
        losses = self._callables[1](stylized, batch.photos)
        self._log_losses("val", losses, batch, prog_bar=False)
        pairs = zip(stylized.float().cpu(), batch.photos.float().cpu(), strict=True)
        found = [find_artifacts(picture, photo) for picture, photo in pairs]
        scores = torch.tensor(found).mean(0).tolist()
        named = {f"val_artifacts/{k}": v for k, v in zip(Artifacts._fields, scores, strict=True)}
        self.log_dict(named, batch_size=len(batch.paths), sync_dist=True)
        return losses.total

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.net.remove_grid()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.net.parameters(), lr=self.learning_rate)
        if self.schedule == "constant":
            return optimizer
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.learning_rate, total_steps=max(2, self.trainer.max_steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _log_losses(self, stage: str, losses: Losses, batch: PhotoBatch, *, prog_bar: bool) -> None:
        terms = {
            f"{stage}/total": losses.total,
            f"{stage}/content": losses.content,
            f"{stage}/style": losses.style,
            f"{stage}/tv": losses.total_variation,
        }
        by_layer = {f"{stage}_style/{k}": v for k, v in losses.style_by_layer.items()}
        options: dict[str, Any] = {"batch_size": len(batch.paths), "sync_dist": stage == "val"}
        values = torch.stack([value.detach() for value in (terms | by_layer).values()])
        logged = self.trainer._logger_connector.should_update_logs  # at other steps nobody waits
        if stage == "train" and self.trainer.world_size > 1 and logged:
            values = self.trainer.strategy.reduce(values, reduce_op="mean")  # of the whole batch
        means = dict(zip(terms | by_layer, values, strict=True))
        self.log_dict({key: means[key] for key in terms}, prog_bar=prog_bar, **options)
        self.log_dict({key: means[key] for key in by_layer}, **options)
