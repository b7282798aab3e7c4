"""Training as a Lightning module: stylize the content batch, compute the losses, log, return."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from fst.data.dataset import PhotoBatch
from fst.errors import FstError
from fst.loss.perceptual_loss import Losses, PerceptualLoss
from fst.nets.transformer_net import TransformerNet
from fst.pictures.artifacts import Artifacts, find_artifacts

SCHEDULES = ("constant", "one_cycle")
CUDA_GRAPHS = ("reduce-overhead", "max-autotune")
COMPILE_MODES = ("default", *CUDA_GRAPHS, "max-autotune-no-cudagraphs")


class FastStyleTransfer(pl.LightningModule):
    """Fits a ``TransformerNet`` to one painting (Johnson et al. 2016, section 3).

    The loss holds its network and Gram matrices as non-persistent buffers, so a checkpoint has
    the net and the optimizer and nothing else. ``schedule`` is ``constant`` (the paper's) or
    ``one_cycle`` (torch's ``OneCycleLR``), which reaches ``learning_rate`` at 30% of the steps and
    ends near 0, better for short runs; Adam's first beta swings too, 0.95 to 0.85.

    ``compile`` passes net and loss, as one function, through ``torch.compile``; ``compile_mode`` is
    its mode, of which ``reduce-overhead`` replays CUDA graphs. Validation is never compiled. On a
    CUDA device all is in ``channels_last`` memory and Adam is one kernel. What is logged is taken
    from a GPU every ``trainer.log_every_n_steps`` steps only: to look is to wait for it.
    """

    def __init__(
        self,
        *,
        net: TransformerNet,
        loss: PerceptualLoss,
        learning_rate: float,
        schedule: str,
        compile: bool,
        compile_mode: str = "default",
    ) -> None:
        super().__init__()
        if schedule not in SCHEDULES:
            raise FstError(
                f"optimizer.schedule '{schedule}' is unknown; use one of {', '.join(SCHEDULES)}"
            )
        if compile_mode not in COMPILE_MODES:
            raise FstError(
                f"compile_mode={compile_mode} is unknown; use one of {', '.join(COMPILE_MODES)}"
            )
        self.net = net
        self.loss = loss
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.replays_graphs = compile and compile_mode in CUDA_GRAPHS
        self._step = torch.compile(losses_of, mode=compile_mode) if compile else losses_of

    def forward(self, content: Tensor) -> Tensor:
        """content (B, 3, H, W), RGB in [0, 1] -> stylized, the same shape and range."""
        return self.net(content)

    def on_fit_start(self) -> None:
        """Every process takes the first one's weights of the loss: solving may round otherwise."""
        weights = self.trainer.strategy.broadcast(self.loss.weights)
        self.loss.content_weight, self.loss.style_weight = weights["content"], weights["style"]
        self.loss.tv_weight = weights["tv"]
        if self.replays_graphs and self.trainer.accumulate_grad_batches > 1:
            raise FstError(
                f"compile_mode={CUDA_GRAPHS[0]} overwrites the gradients that "
                "trainer.accumulate_grad_batches adds up; use compile_mode=default"
            )
        if self.device.type == "cuda":
            self.net.to(memory_format=torch.channels_last)
            self.loss.to(memory_format=torch.channels_last)

    def training_step(self, batch: PhotoBatch, batch_idx: int) -> Tensor:
        if self.replays_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        losses = self._step(self.net, self.loss, self._ordered(batch.photos))
        if self._logged() or self.device.type == "cpu":
            self._log_losses("train", losses, batch)
        return losses.total

    def validation_step(self, batch: PhotoBatch, batch_idx: int) -> Tensor:
        photos = self._ordered(batch.photos)
        stylized = self(photos)
        losses = self.loss(stylized, photos)
        self._log_losses("val", losses, batch)
        pairs = zip(stylized.float().cpu(), batch.photos.float().cpu(), strict=True)
        found = [find_artifacts(picture, photo) for picture, photo in pairs]
        scores = torch.tensor(found).mean(0).tolist()
        named = {f"val_artifacts/{k}": v for k, v in zip(Artifacts._fields, scores, strict=True)}
        self.log_dict(named, batch_size=len(batch.paths), sync_dist=True)
        return losses.total

    def _logged(self) -> bool:
        """Whether a logger takes this step's losses; at other steps nobody waits for them."""
        return self.trainer._logger_connector.should_update_logs

    def _ordered(self, photos: Tensor) -> Tensor:
        """In the memory order of the net's weights."""
        if self.device.type != "cuda":
            return photos
        return photos.contiguous(memory_format=torch.channels_last)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.net.remove_grid()
        if self.replays_graphs:
            self.net.zero_grad()  # they lie in memory that the next replay writes to

    def configure_optimizers(self) -> Any:
        # Lightning clips no gradients of a fused optimizer in mixed precision
        fused = self.device.type == "cuda" and not self.trainer.gradient_clip_val
        optimizer = torch.optim.Adam(
            self.net.parameters(), lr=self.learning_rate, fused=fused or None
        )
        if self.schedule == "constant":
            return optimizer
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.learning_rate, total_steps=max(2, self.trainer.max_steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _log_losses(self, stage: str, losses: Losses, batch: PhotoBatch) -> None:
        terms = {
            f"{stage}/total": losses.total,
            f"{stage}/content": losses.content,
            f"{stage}/style": losses.style,
            f"{stage}/tv": losses.total_variation,
        }
        by_layer = {f"{stage}_style/{k}": v for k, v in losses.style_by_layer.items()}
        options: dict[str, Any] = {"batch_size": len(batch.paths), "sync_dist": stage == "val"}
        values = torch.stack([value.detach() for value in (terms | by_layer).values()])
        if stage == "train" and self.trainer.world_size > 1 and self._logged():
            values = self.trainer.strategy.reduce(values, reduce_op="mean")  # of the whole batch
        self.log_dict(dict(zip(terms | by_layer, values, strict=True)), **options)


def losses_of(net: TransformerNet, loss: PerceptualLoss, content: Tensor) -> Losses:
    """One function of both, for one graph of the compiler's."""
    return loss(net(content), content)
