"""What we ask of Lightning that it does not offer: the one room that names its private parts.

Each function says what for. ``PARTS`` lists the paths, and a test looks for each of them on a real
trainer, so that a version of Lightning that moves one says so by name.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

PARTS = (  # of a trainer
    "_logger_connector._first_loop_iter",
    "_logger_connector.should_update_logs",
    "_logger_connector.update_train_step_metrics",
    "_results",
    "fit_loop._data_fetcher",
    "fit_loop._should_accumulate",
    "fit_loop.epoch_loop._batches_that_stepped",
    "fit_loop.epoch_loop._should_check_val_fx",
    "fit_loop.epoch_loop.batch_progress.is_last_batch",
    "fit_loop.epoch_loop.val_loop.restarting",
    "fit_loop.epoch_loop.val_loop.run",
)
LOGGER_PARTS = ("_kwargs",)  # of a TensorBoardLogger


def agreed(trainer: pl.Trainer, number: int) -> int:
    """The largest ``number`` of all processes. Lightning itself waits for them at every batch."""
    if trainer.world_size == 1:
        return number
    mine = torch.tensor(number, device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(mine, reduce_op="max"))


def at_step_boundary(trainer: pl.Trainer) -> bool:
    """Whether the batch that has just ended completed an optimizer step."""
    return not trainer.fit_loop._should_accumulate()


def validation_follows(trainer: pl.Trainer) -> bool:
    """Whether Lightning runs a validation after the batch that has just ended."""
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    if fetcher is None or trainer.limit_val_batches == 0:
        return False
    return loop._should_check_val_fx(fetcher)


def log_now(trainer: pl.Trainer) -> None:
    """Log the step that has just ended, which Lightning does after the last callback.

    A checkpoint must not be ahead of the curves: a run that resumes from it does not log its step.
    """
    trainer._logger_connector.update_train_step_metrics()
    if trainer._results is not None:
        trainer._results.clear()  # once is enough


def validate_between_steps(trainer: pl.Trainer) -> None:
    """Run the validation that Lightning runs between two steps."""
    loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
    first = connector._first_loop_iter
    trainer.validating = True
    loop.val_loop.restarting = False  # from its first batch
    loop.val_loop.run()
    trainer.training = True
    connector._first_loop_iter = first


def let_batches_follow(trainer: pl.Trainer) -> None:
    """Have a run take more steps whose checkpoint is of the last batch that it was limited to."""
    if trainer.global_step < int(trainer.max_steps):
        trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = False


def let_steps_follow(state: dict[str, Any]) -> None:
    """Change what a checkpoint of a run's last batch holds, so that Lightning takes more from it.

    The epoch that had ended goes on, as in a checkpoint of any other batch.
    """
    loop = state["loops"]["fit_loop"]
    loop["epoch_loop.batch_progress"]["is_last_batch"] = False
    for counts in loop["epoch_progress"].values():
        counts |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    state["epoch"] = 0


def logs_this_step(trainer: pl.Trainer) -> bool:
    """Whether a logger takes what the step that is under way logs."""
    return trainer._logger_connector.should_update_logs


def log_after_the_last_step(trainer: pl.Trainer) -> None:
    """Have a validation that follows the training logged at the step it ended with.

    Lightning's own count of steps is behind where a resumed run had none left to take.
    """
    trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def end_curves_at(logger: TensorBoardLogger, step: int) -> None:
    """Have TensorBoard forget what it has from ``step`` on: it comes again."""
    logger._kwargs["purge_step"] = step
