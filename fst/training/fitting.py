"""From a trainer with its parts to a fitted net: disk room, signals, lost processes."""

from __future__ import annotations

import time
import traceback

import pytorch_lightning as pl
import torch

from fst.errors import FstError
from fst.system.console import duration, say
from fst.system.machine import keep_freed_memory, machine
from fst.system.signals import STOP
from fst.training.checkpoint_files import Checkpoint, Checkpoints
from fst.training.datamodule import PhotoData
from fst.training.lightning_internals import log_after_the_last_step
from fst.training.lightning_module import FastStyleTransfer

CHECKPOINT_EXTRA = 100_000  # bytes of a checkpoint in addition to its tensors
# by these words torch says that it waits for a process that is gone
LOST_PROCESS = ("Connection closed", "Connection reset", "Broken pipe", "gloo", "NCCL", "TCPStore")


def fit(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    data: PhotoData,
    checkpoints: Checkpoints,
    checkpoint: Checkpoint | None,
    *,
    keep: int,
    compiles: bool = False,
) -> None:
    """``trainer.fit`` from a checkpoint; a signal ends it after the step and its checkpoint.

    Before the first step of a single process that ``compiles``, which takes minutes and leaves
    nothing to save, a signal ends it at once.

    Raises ``FstError`` where the checkpoints will not fit on the disk, before the first step; where
    the checkpoint is of another net; and where another process of the run has died.
    """
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    elif "mixed" in str(trainer.precision):
        # for Gram matrices: TF32 has all bits of the half-precision features they are products of
        torch.set_float32_matmul_precision("high")
    if trainer.is_global_zero:
        for later in checkpoints.go_back_to(checkpoint.step) if checkpoint else []:
            say(f"checkpoint     {later.name} is of a later step and is set aside")
        checkpoints.require_room(checkpoint_size(module), keep)
    path = checkpoint.path if checkpoint else None
    try:
        with STOP.noting(later=compiles and trainer.world_size == 1):
            trainer.fit(module, data, ckpt_path=path, weights_only=True)
    except SystemExit:
        if _started_by_lightning(trainer):
            raise SystemExit(0) from None  # Lightning would kill the first process for our code
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if _restoring(error):
            raise FstError(
                f"{path} is not a checkpoint that a run can resume from: what it holds is not what "
                "fst writes; give another with resume=FILE, or start again with resume=false"
            ) from None
        raise
    except RuntimeError as error:
        if "loading state_dict" in str(error):
            raise FstError(
                f"{path} is of another net than these settings make; give those it was "
                "trained with, or start again with resume=false"
            ) from None
        if trainer.world_size == 1 or not any(word in str(error) for word in LOST_PROCESS):
            raise
        newest = checkpoints.newest()
        kept = (
            f"the same command resumes from {newest}" if newest else "there is not a checkpoint yet"
        )
        raise FstError(f"another process of this run has ended; {kept}") from None


def say_estimate(trainer: pl.Trainer, module: FastStyleTransfer, data: PhotoData) -> None:
    """Time a few steps beside the training, which they do not touch; say how long it will be.

    Only on a CPU, where a run takes long.
    """
    if trainer.strategy.root_device.type != "cpu" or trainer.max_steps < 20:
        return
    batch = data.crops(data.batch_size)
    seconds: list[float] = []
    while len(seconds) < 6 and (len(seconds) < 3 or min(seconds) < 0.9 * sorted(seconds)[1]):
        start = time.monotonic()  # the first ones are slow; stop when the two best agree
        with trainer.precision_plugin.train_step_context():
            total = module.losses(batch, range(data.batch_size)).total
        total.backward()
        seconds.append(time.monotonic() - start)
    module.net.zero_grad(set_to_none=True)
    steps = int(trainer.max_steps) * trainer.accumulate_grad_batches
    left = duration(min(seconds) * steps)
    say(f"estimate       about {left} for {trainer.max_steps} steps on {machine()}")


def validate(trainer: pl.Trainer, module: pl.LightningModule, data: PhotoData) -> None:
    """The last validation, logged one step after those of the training."""
    log_after_the_last_step(trainer)
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


def _restoring(error: BaseException) -> bool:
    """Whether an error came up while Lightning put a checkpoint's contents in their places."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(file.endswith("checkpoint_connector.py") for file in files)
