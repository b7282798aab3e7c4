"""What Lightning refuses, said before any work; and a training that ends before its last step."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl

from fst.errors import FstError
from fst.training.datamodule import PhotoData
from fst.training.lightning_internals import agreed, at_step_boundary

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")
# of the same precisions
OTHER_NAMES = {"32": "32-true", "64": "64-true", "bf16": "bf16-mixed", "16": "16-mixed"}
SAME = "the same command"  # unless the run is told apart by another word
DURATION = re.compile(r"(\d+):(\d\d):(\d\d):(\d\d)")


class EndInTime(pl.Callback):
    """Ends the training with the step in which ``seconds`` are over, counted from its start.

    Unlike Lightning's own, it counts anew in a run that resumes, which would stop at once.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._start = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """End after a whole step; all processes agree on it."""
        if self.seconds is not None and at_step_boundary(trainer):
            over = time.monotonic() - self._start >= self.seconds
            trainer.should_stop = trainer.should_stop or agreed(trainer, int(over)) > 0


def seconds_of(max_time: Any) -> float | None:
    """``trainer.max_time`` in seconds: 'DD:HH:MM:SS', or what ``timedelta`` takes by name."""
    if max_time is None:
        return None
    found = DURATION.fullmatch(str(max_time).strip())
    try:
        if found:
            days, hours, minutes, seconds = map(int, found.groups())
            time_left = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        else:
            time_left = timedelta(**max_time)
    except (TypeError, ValueError, OverflowError):
        raise FstError(
            f"trainer.max_time={max_time} must be like 00:01:30:00, days:hours:minutes:seconds"
        ) from None
    return time_left.total_seconds()


def require_sound(options: Mapping[str, Any], data: PhotoData) -> None:
    """Raise ``FstError`` for what Lightning refuses late, or takes and cannot mean."""
    precision = str(options["precision"])
    if OTHER_NAMES.get(precision, precision) not in PRECISIONS:
        raise FstError(
            f"the trainer refuses these settings: trainer.precision={precision} is not one that "
            "fst trains in, as weights and loss need float32; use one of "
            f"{', '.join(PRECISIONS)}, or auto"
        )
    clip = options["gradient_clip_val"]
    if clip is not None and (not _is_number(clip) or not 0 <= clip < float("inf")):
        raise FstError(f"trainer.gradient_clip_val={clip} must be a number of 0 or more, or null")
    steps = options["max_steps"] * options["accumulate_grad_batches"]
    held_out = -(-len(data.val_paths) // data.batch_size)
    for key, batches, least in (("train", steps, 1), ("val", held_out, 0)):
        name = f"limit_{key}_batches"
        limit = options.get(name, 1.0)
        share = isinstance(limit, float)
        if not _is_number(limit) or limit < least * (not share) or (share and not 0 <= limit <= 1):
            raise FstError(
                f"trainer.{name}={limit} must be a share in 0.0 .. 1.0 or a whole number of batches"
            )
        if share and limit * batches < 1 and (limit > 0 or least):
            raise FstError(
                f"trainer.{name}={limit} of {batches} batches is less than one; {1 / batches:.2g} "
                "is one"
            )


def ended_early(trainer: pl.Trainer, max_time: Any, again: str = SAME) -> str | None:
    """Why a training ended before its last step, and by which command (``again``) it goes on.

    None if it did not end early.
    """
    if trainer.global_step >= int(trainer.max_steps):
        return None
    where = f"at step {trainer.global_step} of {trainer.max_steps}"
    goes_on = f"{again} resumes from there"
    limit = trainer.limit_train_batches
    if max_time is not None and trainer.should_stop:
        return f"{where}: trainer.max_time={max_time} is over; {goes_on}"
    if limit != 1.0:
        return f"{where}: trainer.limit_train_batches={limit}; without it {goes_on}"
    return f"{where}; {goes_on}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
