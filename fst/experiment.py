"""A config, composed and complete -> the parts of an experiment: data, loss, trainer, card."""

from __future__ import annotations

import difflib
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
from hydra.errors import HydraException, MissingConfigException
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.loggers import TensorBoardLogger

from fst.callbacks import Previews, Progress, SkippedPhotos
from fst.checkpointing import LastCheckpoint, StopOnNaN, StopOnSignal
from fst.data import PhotoData
from fst.errors import FstError
from fst.image import resize_shorter, to_image, to_tensor
from fst.loss_network import load_loss_network
from fst.painting import Painting, load_painting
from fst.paths import configs_dir
from fst.perceptual_loss import PerceptualLoss
from fst.run_folder import RunFolder, machine
from fst.style_file import Card

CARD_ONLY = ("description", "licence")  # what configs say for the card, not to a constructor


def plain(config: DictConfig) -> dict[str, Any]:
    """A group of the config as a plain dictionary, resolved."""
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


# settings that must be numbers and the least each may be; the rest is checked where it is used
LEAST: dict[str, float] = {
    "seed": 0,
    "checkpoint_every": 1,
    "previews.every": 1,
    "previews.photos": 0,
    "previews.size": 16,
    "style.size": 1,
    "net.width": 1,
    "net.residual_blocks": 0,
    "data.size": 16,
    "data.batch_size": 1,
    "data.workers": 0,
    "data.val_photos": 1,
    "trainer.max_steps": 1,
    "trainer.log_every_n_steps": 1,
    "trainer.accumulate_grad_batches": 1,
}
NUMBERS = (
    *("style.weights.content", "style.weights.style", "style.weights.tv"),
    *("loss.content_weight", "loss.style_weight", "loss.tv_weight"),
    *("optimizer.learning_rate", "learning_rate", "net.output_gain"),
)


def check_settings(config: DictConfig) -> None:
    """Raise ``FstError`` for the first setting that is no number where one is needed, or is off."""
    for key, least in LEAST.items():
        value = OmegaConf.select(config, key, default=least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise FstError(f"{key}={value} must be a whole number of {least} or more")
    for key in NUMBERS:
        value = OmegaConf.select(config, key, default=0)
        if not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise FstError(f"{key}={value} must be a number of 0 or more")
    for group in ("content_layers", "style_layers"):
        for name, weight in config.get("loss", {}).get(group, {}).items():
            if not re.fullmatch(r"relu\d_\d", str(name)):
                raise FstError(f"loss.{group}.{name}: a layer's name is like relu2_2")
            if not isinstance(weight, int | float) or weight < 0:
                raise FstError(f"loss.{group}.{name}={weight} must be a number of 0 or more")
    low, high = (*config.data.crop_scale, None, None)[:2]
    if not (
        isinstance(low, int | float) and isinstance(high, int | float) and 0 < low <= high <= 1
    ):
        raise FstError(f"data.crop_scale={config.data.crop_scale} must be [low,high] in 0 .. 1")


def config_error_sentence(error: Exception) -> str:
    """What Hydra or OmegaConf found wrong with a user's settings, in one sentence."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={name} is unknown; use one of {', '.join(error.options)}"
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        known = [str(key) for key in cause.parent_node or {}]
        near = difflib.get_close_matches(str(cause.key), known, n=1)
        mean = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
        return f"{cause.full_key} is no setting; {mean} (`fst train --cfg job` shows all)"
    text = " ".join(str(error).split("\nSee ")[0].split())
    override = getattr(error, "override", None)
    return f"'{override}' is not understood: {text}" if override else text


def build_data(config: DictConfig) -> PhotoData:
    """The photos; ``FstError`` if none are named or none can be used."""
    if OmegaConf.is_missing(config.data, "root"):
        raise FstError("no photos are named; give a folder of them with data.root=FOLDER")
    options = {key: v for key, v in plain(config.data).items() if key not in CARD_ONLY}
    return PhotoData(seed=config.seed, **options)


def build_painting(config: DictConfig) -> Painting:
    """The configured painting; ``FstError`` if there is none."""
    keys = ("image", "painted", "file", "root", "size")
    return load_painting(**{key: config.style[key] for key in keys})


def build_loss(config: DictConfig, painting: Painting) -> PerceptualLoss:
    """The configured loss against a painting; the style's weights multiply the loss's."""
    options = {key: v for key, v in plain(config.loss_network).items() if key not in CARD_ONLY}
    network = load_loss_network(**options)
    weights = config.style.weights
    return PerceptualLoss(
        network=network,
        style_image=painting.image,
        content_layers=config.loss.content_layers,
        style_layers=config.loss.style_layers,
        content_weight=config.loss.content_weight * weights.content,
        style_weight=config.loss.style_weight * weights.style,
        tv_weight=config.loss.tv_weight * weights.tv,
        relative=config.loss.relative,
    )


def build_previews(
    config: DictConfig, run: RunFolder, data: PhotoData, painting: Painting
) -> Previews:
    """The configured previews of the first held-out photos."""
    return Previews(
        photos=data.val_paths[: config.previews.photos],
        painting=to_tensor(resize_shorter(to_image(painting.image), config.previews.size)),
        size=config.previews.size,
        every=config.previews.every,
        folder=run.previews,
    )


def build_trainer(
    config: DictConfig, run: RunFolder, data: PhotoData, *shown: pl.Callback
) -> pl.Trainer:
    """The configured Lightning trainer with our callbacks and those ``shown`` besides.

    Raises ``FstError`` for settings that Lightning refuses.
    """
    terminal = sys.stderr.isatty() and config.trainer.enable_progress_bar
    every = config.trainer.log_every_n_steps
    checkpoint = LastCheckpoint(path=run.checkpoint, every=config.checkpoint_every)
    callbacks: list[pl.Callback] = [
        Progress(terminal=terminal, every=every),
        StopOnNaN(path=run.checkpoint, every=every),
        SkippedPhotos(report=run.skipped_photos, known=data.unreadable),
        *shown,
        checkpoint,
        StopOnSignal(checkpoint=checkpoint),
    ]
    logger = hydra.utils.instantiate(config.logger) if config.logger else False
    if isinstance(logger, TensorBoardLogger) and run.checkpoint.exists():
        logger._kwargs["purge_step"] = run.steps_done()  # a crash left steps that come again
    options = plain(config.trainer)
    options.pop("enable_progress_bar")
    try:
        return pl.Trainer(
            **options,
            max_epochs=1,  # one long epoch; the loader reshuffles at each pass over the photos
            check_val_every_n_epoch=None,
            callbacks=callbacks,
            logger=logger,
            default_root_dir=run.path,
            use_distributed_sampler=False,  # the sampler knows the processes itself
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise FstError(f"the trainer refuses these settings: {error}") from None


def fit(
    trainer: pl.Trainer, module: pl.LightningModule, data: PhotoData, checkpoint: Path | None
) -> None:
    """``trainer.fit`` from a checkpoint, with the exit code of the signal that stopped it."""
    try:
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:
        if stop.code == 1 and trainer.interrupted:  # Lightning's answer to an early Ctrl-C
            raise SystemExit(128 + signal.SIGINT) from None
        raise


def run_hydra(name: str, task: Callable[[DictConfig], object], arguments: Sequence[str]) -> None:
    """Compose ``configs/NAME.yaml`` with a user's words and run ``task`` on it.

    Raises ``FstError`` with one sentence for words that Hydra does not understand, and
    ``SystemExit`` with the sentence of an ``FstError`` of the task.
    """

    def run(config: DictConfig) -> None:
        try:
            task(config)
        except FstError as error:
            raise SystemExit(f"fst {name}: {error}") from None

    sys.argv = [sys.argv[0], *arguments]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # raise, so that we can say it in a sentence
    try:
        hydra.main(version_base="1.3", config_path=str(configs_dir()), config_name=name)(run)()
    except (HydraException, OmegaConfBaseException) as error:
        raise FstError(config_error_sentence(error)) from None


def build_card(
    config: DictConfig, trainer: pl.Trainer, loss: PerceptualLoss, data: PhotoData
) -> Card:
    """The card of a finished run, with the held-out losses of the last validation."""
    elapsed = [c.elapsed_s() for c in trainer.callbacks if isinstance(c, Progress)]  # type: ignore[attr-defined]
    return Card(
        name=config.style.name,
        net=plain(config.net),
        painting={key: config.style[key] for key in ("title", "artist", "year", "licence")},
        loss_network={
            "description": loss.network.description,
            "licence": config.loss_network.licence or loss.network.licence,
        },
        data={
            **{key: config.data[key] for key in CARD_ONLY},
            "photos": len(data.train_paths),
            "held_out": len(data.val_paths),
        },
        training={
            "steps": trainer.global_step,
            "batch_size": config.data.batch_size * trainer.world_size,
            "size": config.data.size,
            "style_size": config.style.size,
            "loss": plain(config.loss),
            "style_weights": plain(config.style.weights),
            "optimizer": plain(config.optimizer),
            "precision": config.trainer.precision,
            "seed": config.seed,
            "minutes": round(sum(elapsed) / 60, 1),
            "machine": machine(),
        },
        losses={
            key.removeprefix("val/"): round(float(value), 6)
            for key, value in trainer.callback_metrics.items()
            if key.startswith("val/")
        },
    )


def log_hyperparameters(trainer: pl.Trainer, config: DictConfig, losses: dict[str, float]) -> None:
    """Hyper-parameters beside the final losses, so that TensorBoard compares runs."""
    parameters = {
        "style": config.style.name,
        "loss_network": config.loss_network.file or config.loss_network.name,
        **{key: config.loss[key] for key in ("content_weight", "style_weight", "tv_weight")},
        **{f"{key}_multiplier": value for key, value in config.style.weights.items()},
        "style_size": config.style.size,
        **config.optimizer,
        **config.net,
        "size": config.data.size,
        "batch_size": config.data.batch_size,
        "max_steps": config.trainer.max_steps,
        "seed": config.seed,
    }
    for logger in trainer.loggers:
        if isinstance(logger, pl.loggers.TensorBoardLogger):
            logger.log_hyperparams(parameters, {f"final/{k}": v for k, v in losses.items()})
            logger.save()
        else:
            logger.log_hyperparams(parameters)
