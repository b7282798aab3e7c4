"""What loggers get beside numbers: pictures with a caption, texts, the settings of a run.

Each kind of Lightning's loggers has its own way: TensorBoard's writer, methods of its own (Weights
& Biases), a client (MLflow), or no way but files (CSV).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

from fst.pictures.image import Picture, save_picture
from fst.system.files import write_whole

# TensorBoard shows the first five settings by their names, those that differ before all others
FIRST = ("style", "strength", "style_weight", "tv_weight", "content_weight")
# what runs of other strengths compare in too: their total is of other weights
METRICS = (
    *("val_unweighted/content", "val_unweighted/style"),
    *(f"val_artifacts/{name}" for name in ("lattice", "weave", "frame", "blobs", "blotch")),
)


def show_picture(
    trainer: pl.Trainer, name: str, picture: Image.Image, step: int, caption: str
) -> None:
    """Give an RGB picture to every logger of the first process, by ``name`` and ``step``."""
    loggers: list[Any] = trainer.loggers if trainer.is_global_zero else []
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            pixels = np.asarray(picture)
            logger.experiment.add_image(name, pixels, step, dataformats="HWC")
            logger.experiment.flush()
        elif hasattr(logger, "log_image"):  # Weights & Biases
            logger.log_image(name, [picture], step, caption=[caption])
        elif isinstance(logger, CSVLogger):
            assert logger.experiment is not None  # makes the folder, which it wants to be empty
            file = Path(logger.log_dir) / f"{name}_{step:06d}.jpg"
            save_picture(file, Picture(rgb=picture), quality=90)
        elif hasattr(logger.experiment, "log_image"):  # MLflow
            logger.experiment.log_image(_run_id(logger), picture, key=name, step=step)


def note_text(trainer: pl.Trainer, name: str, text: str, step: int) -> None:
    """Give a text in Markdown to every logger of the first process."""
    loggers: list[Any] = trainer.loggers if trainer.is_global_zero else []
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text(name, text, step)
            logger.experiment.flush()
        elif hasattr(logger, "log_text"):  # Weights & Biases: a table of one cell
            logger.log_text(name, columns=["text"], data=[[text]], step=step)
        elif isinstance(logger, CSVLogger):
            assert logger.experiment is not None
            write_whole(Path(logger.log_dir) / f"{name}.md", text.encode())
        elif hasattr(logger.experiment, "log_text"):  # MLflow
            logger.experiment.log_text(_run_id(logger), text, f"{name}.md")


def _run_id(logger: Any) -> str:
    return str(logger.run_id)


def note_settings(
    trainer: pl.Trainer,
    settings: Mapping[str, Any],
    *,
    resumed: bool = False,
    ended: bool = False,
) -> None:
    """Give the settings of a run to every logger of the first process; again when it has ``ended``.

    In TensorBoard they stand beside ``METRICS``, which are curves: nothing is logged for them.
    Others know those of a run that is ``resumed``; MLflow takes no others then.
    """
    loggers: list[Any] = trainer.loggers if trainer.is_global_zero else []
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            _note_in_tensorboard(logger, settings, ended=ended)
        elif not ended and (not resumed or isinstance(logger, CSVLogger)):
            logger.log_hyperparams(dict(settings))


def _note_in_tensorboard(
    logger: TensorBoardLogger, settings: Mapping[str, Any], *, ended: bool
) -> None:
    from torch.utils.tensorboard.summary import hparams

    first = {f"{n} {key.replace('_', ' ')}": settings[key] for n, key in enumerate(FIRST, 1)}
    others = {key: value for key, value in settings.items() if key not in FIRST}
    plain = {
        key: value if isinstance(value, bool | int | float) else str(value)
        for key, value in {**first, **others}.items()
    }
    experiment, start, end = hparams(plain, dict.fromkeys(METRICS, 0.0))
    writer = logger.experiment._get_file_writer()
    for summary in (experiment, start, *([end] if ended else [])):
        writer.add_summary(summary)
    logger.experiment.flush()


def without_epochs(logger: Logger) -> Logger:
    """The same logger, which leaves out Lightning's count of epochs: there is one long one."""
    logger.log_metrics = partial(_log, logger.log_metrics)  # type: ignore[method-assign]
    return logger


def _log(log: Any, metrics: Mapping[str, float], step: int | None = None) -> None:
    kept = {key: value for key, value in metrics.items() if key != "epoch"}
    if kept:
        log(kept, step)
