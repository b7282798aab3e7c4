"""NaN, infinity and weights that run away: noticed within a step, named, stopped or rolled back."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from fst.errors import FstError
from fst.system.console import say
from fst.training.checkpoint_files import Checkpoints, not_finite
from fst.training.lightning_internals import at_step_boundary

ACTIONS = ("stop", "rollback")
RATE_FACTOR = 0.5  # of the learning rate, at a rollback
GROWTH = 2.0  # of all weights' norm between two looks; a step that fits changes it by percents
# of the same since the run began; 1.1 to 1.7 are seen of trainings that end well, long ones too.
# A rate that rises from a small one grows the weights by less at each step, and as far
GROWTH_IN_ALL = 4.0
RATES = ("lr", "initial_lr", "max_lr", "min_lr")  # of an optimizer's group: Adam's, OneCycleLR's
PHOTOS_NAMED = 4


class StopOnDivergence(pl.Callback):
    """Looks at photos, loss, gradients and weights; stops the run, or rolls it back.

    On a CPU it looks at every step, elsewhere every ``every`` steps, as a look waits for the
    device; and always before a checkpoint. What is not finite is found before the optimizer steps
    where it can be. ``action`` is ``stop``, an ``FstError`` with step, term and photos (which are
    known where every step is looked at), or ``rollback``: the net and the optimizer as of the last
    checkpoint, at half the learning rate, ``rollbacks`` times at most. The steps and the photos
    that follow are the same as without it.
    """

    def __init__(self, *, action: str, rollbacks: int, every: int, files: Checkpoints) -> None:
        if action not in ACTIONS:
            raise FstError(f"on_divergence={action} is unknown; use one of {', '.join(ACTIONS)}")
        self.action, self.rollbacks, self.files = action, rollbacks, files
        self.every = every
        self.used = 0
        self._photos: list[tuple[Tensor, Sequence[str]]] = []  # of the step under way
        self._norm: float | None = None
        self._first: float | None = None  # the norm at step 0
        self._good: tuple[int, dict[str, Any], dict[str, Any]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: how many rollbacks were used, and the norm at step 0."""
        return {"used": self.used, "first": self._first}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take that from a checkpoint."""
        self.used = int(state_dict["used"])
        first = state_dict.get("first")  # older ones have none
        self._first = None if first is None else float(first)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the state that training begins with, and remember it."""
        if trainer.strategy.root_device.type == "cpu":
            self.every = 1
        self._norm = None
        self.remember(trainer)
        if self._first is None:
            self._first = self._norm

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember the photos of the step, to be named."""
        self._photos.append((batch.photos, batch.paths))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Look at the gradients before they are used."""
        if (trainer.global_step + 1) % self.every or _scaled(trainer):
            return
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if not _finite(_norm(gradients)):  # the mean of all processes: they see the same
            self._diverged(trainer, trainer.global_step + 1, self._cause(trainer))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Look at the weights after a whole step that is due."""
        if not at_step_boundary(trainer):
            return
        if trainer.global_step % self.every == 0:
            self.look(trainer)
        self._photos.clear()

    def look(self, trainer: pl.Trainer) -> None:
        """Look at the weights and at what the optimizer keeps of them."""
        before, now = self._norm, _norm(_weights(trainer.lightning_module))
        self._norm = now
        if not _finite(now) or not _finite(_norm(_kept(trainer.optimizers[0]))):
            self._diverged(trainer, trainer.global_step, self._cause(trainer))
        elif before is not None and now > GROWTH * before:
            cause = f"the weights grew to {now / before:.1f} times their size"
            self._diverged(trainer, trainer.global_step, cause)
        elif self._first is not None and now > GROWTH_IN_ALL * self._first:
            cause = f"the weights grew to {now / self._first:.1f} times their size at the start"
            self._diverged(trainer, trainer.global_step, cause)

    def remember(self, trainer: pl.Trainer) -> None:
        """Look at the state and keep it as the one to roll back to: a checkpoint is written."""
        self.look(trainer)
        if self.action == "rollback":
            net = copy.deepcopy(trainer.lightning_module.state_dict())
            state = copy.deepcopy(trainer.optimizers[0].state_dict())
            self._good = trainer.global_step, net, state

    def _cause(self, trainer: pl.Trainer) -> str:
        """What is not finite: photos, terms of the loss, weights or gradients, of any process."""
        mine = self._own_cause(trainer)
        if trainer.world_size == 1:
            return mine[1]
        causes: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(causes, mine)
        return min(causes)[1]

    def _own_cause(self, trainer: pl.Trainer) -> tuple[int, str]:
        """A sentence, and before it how little it explains."""
        named = list(trainer.lightning_module.named_parameters())
        weights = [name for name, weight in named if not _finite(_norm([weight.detach()]))]
        gradients = [
            name for name, w in named if w.grad is not None and not _finite(_norm([w.grad]))
        ]
        photos = [
            path
            for batch, paths in self._photos
            for photo, path in zip(batch, paths, strict=True)
            if not torch.isfinite(photo).all()
        ]
        metrics = {k: v for k, v in trainer.callback_metrics.items() if k.startswith("train")}
        terms = [k.removeprefix("train/").removeprefix("train_") for k in not_finite(metrics)]
        on = _some([path for _, paths in self._photos for path in paths])
        on = f", on the photos {on}" if on and self.every == 1 else ""
        if photos:
            return 0, f"the photos {_some(photos)} hold NaN or infinity"
        if terms:
            culprit = f" as {weights[0]} of the net is not" if weights else ""
            return 1, f"the loss is not finite in {', '.join(terms)}{culprit}{on}"
        if weights:
            return 2, f"{weights[0]} of the net is not finite{on}"
        if gradients:
            return 3, f"the gradient of {gradients[0]} is not finite{on}"
        return 4, f"the optimizer holds NaN or infinity{on}"

    def _diverged(self, trainer: pl.Trainer, step: int, cause: str) -> None:
        sentence = f"{cause} at step {step}"
        if self.every > 1:
            sentence += f" or in the {self.every - 1} before it"
        if self._good is None or self.used >= self.rollbacks:
            newest = self.files.newest()
            tried = f" after {self.used} rollbacks" if self.action == "rollback" else ""
            good = f"; the last good state is in {newest}" if newest else ""
            raise FstError(
                f"{sentence}{tried}{good}; on_divergence=rollback resumes from there at half the "
                "learning rate; or start again, resume=false, with a lower one or with "
                "trainer.gradient_clip_val=1"
            )
        self.used += 1
        good_step, net, state = self._good
        optimizer = trainer.optimizers[0]
        rates = [
            {key: group[key] * RATE_FACTOR for key in RATES if key in group}
            for group in optimizer.param_groups
        ]
        trainer.lightning_module.load_state_dict(copy.deepcopy(net))
        optimizer.load_state_dict(copy.deepcopy(state))
        for group, lowered in zip(optimizer.param_groups, rates, strict=True):
            group.update(lowered)
        optimizer.zero_grad(set_to_none=True)  # a step that is under way then changes nothing
        self._norm = _norm(_weights(trainer.lightning_module))
        if trainer.is_global_zero:
            rate = optimizer.param_groups[0]["lr"]
            say(
                f"{sentence}: rolled back to the state of step {good_step}, learning rate "
                f"{rate:.3g} ({self.used} of {self.rollbacks} rollbacks)",
                event="rollback",
            )


def _scaled(trainer: pl.Trainer) -> bool:
    """Whether a gradient scaler of float16 is at work, which skips steps with infinity itself."""
    return getattr(trainer.precision_plugin, "scaler", None) is not None


def _weights(module: pl.LightningModule) -> list[Tensor]:
    return [parameter.detach() for parameter in module.parameters()]


def _kept(optimizer: Optimizer) -> list[Tensor]:
    values: Iterator[Any] = (v for state in optimizer.state.values() for v in state.values())
    return [v for v in values if isinstance(v, Tensor) and v.is_floating_point()]


def _norm(tensors: Sequence[Tensor]) -> float:
    """The Euclidean norm of all, in one wait for the device; NaN or infinity if any holds them."""
    return float(torch.nn.utils.get_total_norm(tensors)) if tensors else 0.0


def _finite(value: float) -> bool:
    return value - value == 0


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - PHOTOS_NAMED} more" if len(names) > PHOTOS_NAMED else ""
    return ", ".join(names[:PHOTOS_NAMED]) + more
