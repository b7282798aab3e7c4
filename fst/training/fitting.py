"""From a trainer with its parts to a fitted net: disk room, signals, lost processes."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
import torch

from fst.data.dataset import PhotoData
from fst.errors import FstError
from fst.experiments.run_folder import RunFolder
from fst.system.console import say
from fst.system.machine import keep_freed_memory
from fst.system.signals import STOP
from fst.training.checkpoint_files import step_of

CHECKPOINT_EXTRA = 100_000  # bytes of a checkpoint besides its tensors
# by these words torch says that it waits for a process that is gone
LOST_PROCESS = ("Connection closed", "Connection reset", "Broken pipe", "gloo", "NCCL", "TCPStore")


def fit(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    data: PhotoData,
    run: RunFolder,
    checkpoint: Path | None,
    *,
    keep: int,
) -> None:
    """``trainer.fit`` from a checkpoint; a signal ends it after the step and its checkpoint.

    Raises ``FstError`` where the checkpoints will not fit on the disk, before the first step, and
    where another process of the run has died.
    """
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    elif "mixed" in str(trainer.precision):
        # for Gram matrices: TF32 has all bits of the half-precision features they are products of
        torch.set_float32_matmul_precision("high")
    if trainer.is_global_zero:
        for later in run.checkpoints.go_back_to(step_of(checkpoint)) if checkpoint else []:
            say(f"checkpoint     {later.name} is of a later step and is set aside")
        run.checkpoints.require_room(checkpoint_size(module), keep)
    try:
        with STOP.noting():
            trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        if _started_by_lightning(trainer):
            raise SystemExit(0) from None  # Lightning would kill the first process for our code
        raise
    except RuntimeError as error:
        if "loading state_dict" in str(error):
            raise FstError(
                f"{checkpoint} is of another net than these settings make; give those it was "
                "trained with, or begin anew with resume=false"
            ) from None
        if trainer.world_size == 1 or not any(word in str(error) for word in LOST_PROCESS):
            raise
        newest = run.checkpoints.newest()
        kept = f"the same command goes on from {newest}" if newest else "there is no checkpoint yet"
        raise FstError(f"another process of this run has ended; {kept}") from None


def validate(trainer: pl.Trainer, module: pl.LightningModule, data: PhotoData) -> None:
    """The last validation, logged one step after those of the training."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = (
        trainer.global_step
    )  # not so if none was left
    try:
        trainer.validate(module, data, verbose=False)
    except SystemExit as leaving:  # Lightning's answer to Ctrl-C, whose exit code is 1
        if isinstance(leaving.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def checkpoint_size(module: pl.LightningModule) -> int:
    """Bytes of a checkpoint, roughly: the weights and the two moments that Adam keeps of each."""
    size = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    return 3 * size + CHECKPOINT_EXTRA


def _started_by_lightning(trainer: pl.Trainer) -> bool:
    environment = getattr(trainer.strategy, "cluster_environment", None)
    return (
        environment is not None
        and not environment.creates_processes_externally
        and trainer.local_rank > 0
    )
