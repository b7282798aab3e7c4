"""What Lightning has last been told of a group of metrics."""

from __future__ import annotations

import pytorch_lightning as pl


def metrics_of(trainer: pl.Trainer, group: str) -> dict[str, float]:
    """Those called ``GROUP/NAME``, by name. On a GPU, to look is to wait for it."""
    prefix = f"{group}/"
    return {
        key.removeprefix(prefix): float(value)
        for key, value in trainer.callback_metrics.items()
        if key.startswith(prefix)
    }
