"""Training as a Lightning module: stylize the content batch, compute the losses, log, return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from fst.data.dataset import PhotoBatch
from fst.errors import FstError
from fst.loss.filmed import MOTIONS
from fst.loss.paintings_loss import PaintingsLoss, losses_of, painting_of
from fst.loss.perceptual_loss import Losses, PerceptualLoss
from fst.loss.strengths_loss import strength_of
from fst.nets.transformer_net import SEVERAL_STRENGTHS, TransformerNet
from fst.pictures.artifacts import Artifacts, find_artifacts
from fst.pictures.lattice_lock import lock
from fst.training.lightning_internals import logs_this_step

SCHEDULES = ("constant", "one_cycle", "linear")
CUDA_GRAPHS = ("reduce-overhead", "max-autotune")
COMPILE_MODES = ("default", *CUDA_GRAPHS, "max-autotune-no-cudagraphs")
ROW_RATE = 3.0  # times the learning rate: a painting's own scales and shifts see few photos
FLAT = 1e-3  # standard deviation below which a crop is of one color: a quarter of a level
HELD_OUT_EACH = 4  # held-out photos that each of several paintings is tried on at least


def require_choices(
    schedule: str,
    compile: bool,
    compile_mode: str,
    *,
    several: bool,
    accumulate: int = 1,
    strengths: bool = False,
    moving: str = "pixels",
    moves: bool = False,
) -> None:
    """Raise ``FstError`` for a schedule, a motion or a way to compile that there is not.

    CUDA graphs take no batches that add up, nor what is another in each step: nets of ``several``
    paintings or with ``strengths``, a loss with a term that ``moves`` photos. Nor does a net of
    several paintings take strengths.
    """
    if schedule not in SCHEDULES:
        raise FstError(
            f"optimizer.schedule '{schedule}' is unknown; use one of {', '.join(SCHEDULES)}"
        )
    if compile_mode not in COMPILE_MODES:
        raise FstError(
            f"compile_mode={compile_mode} is unknown; use one of {', '.join(COMPILE_MODES)}"
        )
    if moving not in MOTIONS:
        raise FstError(f"loss.moving '{moving}' is unknown; use one of {', '.join(MOTIONS)}")
    if several and strengths:
        raise FstError(SEVERAL_STRENGTHS)
    if compile and compile_mode in CUDA_GRAPHS and (several or strengths or moves):
        asker = (
            "styles=" if several else "net.strengths=true" if strengths else "loss.moving_weight"
        )
        raise FstError(
            f"compile_mode={compile_mode} replays one step as it was, and with {asker} each is "
            "another; use compile_mode=default"
        )
    if compile and compile_mode in CUDA_GRAPHS and accumulate > 1:
        raise FstError(
            f"compile_mode={CUDA_GRAPHS[0]} overwrites the gradients that "
            "trainer.accumulate_grad_batches adds up; use compile_mode=default"
        )


class FastStyleTransfer(pl.LightningModule):
    """Fits a ``TransformerNet`` to one painting (Johnson et al. 2016, section 3), or to several.

    The loss holds its network and Gram matrices as non-persistent buffers, so a checkpoint has
    the net and the optimizer and nothing else. ``schedule`` is ``constant`` (the paper's) or
    ``one_cycle`` (torch's ``OneCycleLR``), which reaches ``learning_rate`` at 30% of the steps and
    ends near 0, better for short runs; Adam's first beta swings too, 0.95 to 0.85. ``linear`` falls
    from ``learning_rate`` to 0: to cool a net down that begins with one of a constant rate.

    Of several paintings ``names`` are theirs and ``loss`` is a ``PaintingsLoss``: each photo is
    stylized after one of them, drawn from ``seed`` and its number; each held-out photo after
    several. A net that takes strengths stylizes each photo of training with one, drawn in the same
    way (``fst.loss.strengths_loss``), and held-out photos with the whole strength.
    ``moving_weight`` times the difference that moving a photo makes is added, ``moving`` by whole
    ``pixels`` or as in a ``film`` (``fst.loss.moving``, ``fst.loss.filmed``).

    ``begins`` is the step with which the schedule begins anew, in a run that goes on from its end.

    ``compile`` passes net and loss, as one function, through ``torch.compile``; the net alone where
    the loss depends on the numbers of the photos: that of several paintings, of strengths, and one
    that moves photos. ``compile_mode`` is its mode, of which ``reduce-overhead`` replays CUDA
    graphs. Validation is never compiled. On a
    CUDA device all is in ``channels_last`` memory and Adam is one kernel. What is logged is taken
    from a GPU every ``trainer.log_every_n_steps`` steps only: to look is to wait for it.
    """

    def __init__(
        self,
        *,
        net: TransformerNet,
        loss: PerceptualLoss | PaintingsLoss,
        learning_rate: float,
        schedule: str,
        compile: bool,
        compile_mode: str = "default",
        names: Sequence[str] = (),
        seed: int = 0,
        moving_weight: float = 0.0,
        begins: int = 0,
        moving: str = "pixels",
    ) -> None:
        super().__init__()
        several, strengths = isinstance(loss, PaintingsLoss), net.strengths
        require_choices(
            schedule,
            compile,
            compile_mode,
            several=several,
            strengths=strengths,
            moving=moving,
            moves=moving_weight > 0,
        )
        self.net = net
        self.loss = loss
        self.names = list(names)
        self.seed = seed
        self.moving_weight = moving_weight
        self.motion = MOTIONS[moving] if moving_weight else None
        self.learning_rate = learning_rate
        self.schedule, self.begins = schedule, begins
        self.compile_mode = compile_mode
        self.replays_graphs = compile and compile_mode in CUDA_GRAPHS
        whole = not (several or strengths or moving_weight)
        self._step = torch.compile(losses_of, mode=compile_mode) if compile and whole else losses_of
        self._net: Callable[..., Tensor] = net.at_strength if strengths else net.forward
        if compile and not whole:
            self._net = torch.compile(self._net, mode=compile_mode)

    def forward(self, content: Tensor) -> Tensor:
        """content (B, 3, H, W), RGB in [0, 1] -> stylized, the same shape and range."""
        return self.net(content)

    def on_fit_start(self) -> None:
        """Every process takes the first one's weights of the loss: solving may round otherwise."""
        weights: Any = self.trainer.strategy.broadcast(self.loss.weights)
        self.loss.weights = weights
        accumulate = self.trainer.accumulate_grad_batches
        mode = self.compile_mode
        require_choices(
            self.schedule, self.replays_graphs, mode, several=False, accumulate=accumulate
        )
        if self.device.type == "cuda":
            self.net.to(memory_format=torch.channels_last)
            self.loss.to(memory_format=torch.channels_last)

    def training_step(self, batch: PhotoBatch, batch_idx: int) -> Tensor:
        """Stylize the photos (B, 3, H, W) in [0, 1], log the terms -> their total, a scalar."""
        if self.replays_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        losses = self.losses(self._ordered(grained(batch.photos)), batch.samples)
        if self._logged() or self.device.type == "cpu":
            self._log_losses("train", losses, batch)
        return losses.total

    def losses(self, photos: Tensor, samples: Sequence[int]) -> Losses:
        """The losses of a batch of training, photos (B, 3, H, W) of these sample numbers."""
        rows, strengths = self._paintings(samples), None
        if self.net.strengths:
            strengths = [strength_of(sample, seed=self.seed) for sample in samples]
        moves = self.motion.moves(samples, seed=self.seed) if self.motion else ()
        weight = self.moving_weight
        return self._step(self._net, self.loss, photos, rows, self.motion, moves, weight, strengths)

    def validation_step(self, batch: PhotoBatch, batch_idx: int) -> Tensor:
        """The same on held-out photos, and the scores of artifacts -> the total, a scalar."""
        if isinstance(self.loss, PaintingsLoss):
            return self._validate_paintings(batch)
        photos = self._ordered(batch.photos)
        stylized = self(photos)
        losses = self.loss(stylized, photos)
        self._log_losses("val", losses, batch)
        weights = self.loss.weights  # runs of other strengths compare in what they do not scale
        pairs = (
            ("content", losses.content, weights.content),
            ("style", losses.style, weights.style),
        )
        bare = {f"val_unweighted/{name}": term / weight for name, term, weight in pairs if weight}
        self.log_dict(bare, batch_size=len(batch.paths), sync_dist=True)
        self._log_artifacts(stylized, batch.photos)
        self._log_lock(self, photos)
        return losses.total

    def _validate_paintings(self, batch: PhotoBatch) -> Tensor:
        """Each held-out photo after a few of the paintings: those whose turn it is."""
        assert isinstance(self.loss, PaintingsLoss)
        count = len(self.names)
        held_out = len(self.trainer.datamodule.val_paths)  # type: ignore[attr-defined]
        each = min(-(-HELD_OUT_EACH * count // held_out), count)
        photos = self._ordered(batch.photos)
        made, totals = [], []
        for turn in range(each):
            rows = [(number * each + turn) % count for number in batch.samples]
            painting = torch.tensor(rows, device=self.device)
            stylized = self.net(photos, painting)
            if turn == 0:
                self._log_lock(partial(self.net, painting=painting), photos)
            made.append(stylized)
            for place, row in enumerate(rows):
                one = slice(place, place + 1)
                losses = self.loss.of(row)(stylized[one], photos[one])
                self._log_losses("val", losses, batch, count=1)
                self.log(f"val_painting/{self.names[row]}", losses.total, batch_size=1)
                totals.append(losses.total)
        self._log_artifacts(torch.cat(made), batch.photos.repeat(each, 1, 1, 1))
        return torch.stack(totals).mean()

    def _log_artifacts(self, stylized: Tensor, photos: Tensor) -> None:
        pairs = zip(stylized.float().cpu(), photos.float().cpu(), strict=True)
        found = [find_artifacts(picture, photo) for picture, photo in pairs]
        scores = torch.tensor(found).mean(0).tolist()
        named = {f"val_artifacts/{k}": v for k, v in zip(Artifacts._fields, scores, strict=True)}
        self.log_dict(named, batch_size=len(photos), sync_dist=True)

    def _log_lock(self, stylize: Callable[[Tensor], Tensor], photos: Tensor) -> None:
        named = {f"val_artifacts/lock_{k}": v for k, v in lock(stylize, photos)._asdict().items()}
        self.log_dict(named, batch_size=len(photos), sync_dist=True)

    def _paintings(self, samples: Sequence[int]) -> list[int] | None:
        """Which painting each sample of training is stylized after; None if there is one."""
        if not isinstance(self.loss, PaintingsLoss):
            return None
        return [painting_of(s, seed=self.seed, count=len(self.names)) for s in samples]

    def _logged(self) -> bool:
        """Whether a logger takes this step's losses; at other steps nobody waits for them."""
        return logs_this_step(self.trainer)

    def _ordered(self, photos: Tensor) -> Tensor:
        """In the memory order of the net's weights."""
        if self.device.type != "cuda":
            return photos
        return photos.contiguous(memory_format=torch.channels_last)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A step of Adam, then the projection of the last kernels (``remove_grid``)."""
        super().optimizer_step(*args, **kwargs)
        self.net.remove_grid()
        if self.replays_graphs:
            self.net.zero_grad()  # they lie in memory that the next replay writes to

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """``ValueError`` where it is not of one optimizer and our schedule.

        Lightning would begin anew with what is missing there, in silence.
        """
        schedules = 0 if self.schedule == "constant" else 1
        if (
            len(checkpoint["optimizer_states"]) != 1
            or len(checkpoint["lr_schedulers"]) != schedules
        ):
            raise ValueError("the checkpoint is of other optimizers or schedules")
        if self.begins and checkpoint["global_step"] == self.begins and schedules:
            self._begin_cycle(checkpoint)

    def _begin_cycle(self, checkpoint: dict[str, Any]) -> None:
        """Put the rates of a new cycle in place of those that have ended; Adam's moments stay."""
        fresh = self.configure_optimizers()
        groups = fresh["optimizer"].param_groups
        for kept, new in zip(
            checkpoint["optimizer_states"][0]["param_groups"], groups, strict=True
        ):
            kept |= {key: value for key, value in new.items() if key != "params"}
        checkpoint["lr_schedulers"] = [fresh["lr_scheduler"]["scheduler"].state_dict()]

    def configure_optimizers(self) -> Any:
        """Adam (the paper's, section 4.1) with the ``schedule`` of its learning rate."""
        # Lightning clips no gradients of a fused optimizer in mixed precision
        fused = self.device.type == "cuda" and not self.trainer.gradient_clip_val
        groups, rates = self._groups()
        optimizer = torch.optim.Adam(groups, lr=self.learning_rate, fused=fused or None)
        if self.schedule == "constant":
            return optimizer
        scheduler: Any
        steps = self.trainer.max_steps - self.begins
        if self.schedule == "linear":
            scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: max(1 - step / steps, 0.0)
            )
        else:
            scheduler = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, max_lr=rates, total_steps=max(2, steps)
            )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _groups(self) -> tuple[Any, Any]:
        """What Adam takes and the rate of each: rows of scales and shifts apart."""
        if self.net.paintings == 1 and not self.net.strengths:
            return self.net.parameters(), self.learning_rate
        rows = {id(p) for norm in self.net.norms() for p in norm.parameters()}
        own = [p for p in self.net.parameters() if id(p) in rows]
        shared = [p for p in self.net.parameters() if id(p) not in rows]
        rates = [self.learning_rate, ROW_RATE * self.learning_rate]
        return [
            {"params": params, "lr": rate}
            for params, rate in zip((shared, own), rates, strict=True)
        ], rates

    def _log_losses(
        self, stage: str, losses: Losses, batch: PhotoBatch, *, count: int | None = None
    ) -> None:
        """``count`` are the photos that the losses are of, if not the whole batch."""
        terms = {
            f"{stage}/total": losses.total,
            f"{stage}/content": losses.content,
            f"{stage}/style": losses.style,
            f"{stage}/tv": losses.total_variation,
        }
        if losses.moving is not None:
            terms[f"{stage}/moving"] = losses.moving
        by_layer = {f"{stage}_style/{k}": v for k, v in losses.style_by_layer.items()}
        options: dict[str, Any] = {
            "batch_size": count or len(batch.paths),
            "sync_dist": stage == "val",
        }
        values = torch.stack([value.detach() for value in (terms | by_layer).values()])
        if stage == "train" and self.trainer.world_size > 1 and self._logged():
            values = self.trainer.strategy.reduce(values, reduce_op="mean")  # of the whole batch
        self.log_dict(dict(zip(terms | by_layer, values, strict=True)), **options)
        for row, total in losses.by_painting.items():
            self.log(f"{stage}_painting/{self.names[row]}", total, batch_size=1)


def grained(photos: Tensor) -> Tensor:
    """photos (B, 3, H, W), RGB in [0, 1] -> the same, but crops of one color with grain over them.

    Where nothing varies, each instance norm multiplies the gradient by the root of 1 / eps, which
    is 316: after sixteen of them it is not finite, and one white crop has ended a run.
    """
    flat = photos.flatten(1).std(1) < FLAT
    generator = torch.Generator().manual_seed(0)
    grain = torch.randn(photos.shape[1:], generator=generator).to(photos) / 255
    return torch.where(flat[:, None, None, None], (photos + grain).clamp(0, 1), photos)
