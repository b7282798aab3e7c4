"""A config, composed and complete -> the parts of an experiment: data, loss, trainer, card."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import hydra
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from fst.callbacks import Previews, Progress, SkippedPhotos
from fst.checkpoint_files import step_of
from fst.checkpointing import KeepCheckpoints, StopOnSignal, WholeFiles
from fst.console import say
from fst.data import PhotoData, collate
from fst.data_wait import DataWait
from fst.divergence import StopOnDivergence
from fst.errors import FstError
from fst.held_photos import HeldPhotos
from fst.image import resize_shorter, to_image, to_tensor
from fst.loss_network import LossNetwork
from fst.loss_network_file import load_loss_network
from fst.memory import keep_freed_memory
from fst.painting import Painting, load_painting
from fst.perceptual_loss import PerceptualLoss
from fst.run_folder import RunFolder, machine
from fst.settings import TERMS, plain
from fst.signals import STOP
from fst.strength import PROBES, calibrate
from fst.style_file import Card, find_style, load_style
from fst.transformer_net import TransformerNet

CHECKPOINT_EXTRA = 100_000  # bytes of a checkpoint besides its tensors
# by these words torch says that it waits for a process that is gone
LOST_PROCESS = ("Connection closed", "Connection reset", "Broken pipe", "gloo", "NCCL", "TCPStore")
CARD_ONLY = ("description", "licence")  # what configs say for the card, not to a constructor


def build_data(config: DictConfig) -> PhotoData:
    """The photos; ``FstError`` if none are named or none can be used."""
    if OmegaConf.is_missing(config.data, "root"):
        raise FstError("no photos are named; give a folder of them with data.root=FOLDER")
    options = {key: v for key, v in plain(config.data).items() if key not in CARD_ONLY}
    held = options.pop("held")
    return PhotoData(seed=config.seed, hold=HeldPhotos if held else None, **options)


def build_painting(config: DictConfig) -> Painting:
    """The configured painting; ``FstError`` if there is none."""
    keys = ("image", "painted", "file", "root", "size")
    return load_painting(**{key: config.style[key] for key in keys})


def build_network(config: DictConfig) -> LossNetwork:
    """The configured loss network."""
    options = {key: v for key, v in plain(config.loss_network).items() if key not in CARD_ONLY}
    return load_loss_network(**options)


def build_loss(
    config: DictConfig,
    painting: Painting,
    network: LossNetwork,
    photos: Callable[[], Tensor],
    known: Mapping[str, float] | None = None,
) -> PerceptualLoss:
    """The configured loss against a painting; the style's weights multiply the loss's.

    Those that are known to suit a painting in the paper's units count where those units do. A
    calibrated loss solves for its weights on ``photos()`` (B, 3, H, W), RGB in [0, 1], unless they
    are ``known`` from before.
    """
    options = plain(config.loss)
    calibrated, weights = options.pop("calibrated"), config.style.weights
    loss = PerceptualLoss(network=network, style_image=painting.image, **options)
    if known is not None:
        return loss.reweighted(**known)
    strength = config.style.strength
    if calibrated:
        for key in ("content_weight", "style_weight"):
            if options[key] != 1:
                raise FstError(
                    f"loss.{key}={options[key]} has no effect in loss=calibrated, which solves for "
                    "it; say style.strength=0.7, or loss=relative for weights of your own"
                )
        solved = calibrate(loss, photos(), strength=strength, tv=loss.tv_weight)
        base = (solved.content_weight, solved.style_weight, solved.tv_weight)
    elif strength != 0.5:
        raise FstError(
            f"style.strength={strength} needs loss=calibrated; other losses take a weight: "
            "style.weights.style=2"
        )
    else:
        base = (loss.content_weight, loss.style_weight, loss.tv_weight)
    authors = config.style.johnson_weights
    factors = [weights[key] * (1 if loss.relative else authors[key]) for key in TERMS]
    content, style, tv = (value * factor for value, factor in zip(base, factors, strict=True))
    return loss.reweighted(content=content, style=style, tv=tv)


def build_net(config: DictConfig) -> tuple[TransformerNet, Card | None]:
    """The configured net and, if it begins with the weights of another style, that one's card.

    Nets of different paintings have most of what they compute in common (Dumoulin et al. 2017,
    section 2.2), so a warm start needs fewer steps than random weights. Raises ``FstError`` for a
    style of another architecture.
    """
    net = TransformerNet(**config.net)
    if config.warm_start is None:
        return net, None
    start, card = load_style(find_style(config.warm_start))
    for key, value in net.arguments.items():
        if start.arguments[key] != value:
            raise FstError(
                f"warm_start={config.warm_start} has net.{key}={start.arguments[key]}, these "
                f"settings {value}; give net.{key}={start.arguments[key]} or another warm_start"
            )
    net.load_state_dict(start.state_dict())
    return net, card


def calibration_photos(data: PhotoData) -> Tensor:
    """The first training crops (B, 3, size, size), RGB in [0, 1]."""
    photos = data.train_set()
    return collate([photos[k] for k in range(PROBES)]).photos


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
    config: DictConfig,
    run: RunFolder,
    data: PhotoData,
    *shown: pl.Callback,
    checkpoint: Path | None,
) -> pl.Trainer:
    """The configured Lightning trainer with our callbacks and those ``shown`` besides.

    ``checkpoint`` is what ``fit`` will go on from: curves are taken to end there. Raises
    ``FstError`` for settings that Lightning refuses.
    """
    terminal = sys.stderr.isatty() and config.trainer.enable_progress_bar
    every = config.trainer.log_every_n_steps
    divergence = StopOnDivergence(
        action=config.on_divergence,
        rollbacks=config.rollbacks,
        every=every,
        files=run.checkpoints,
    )
    checkpoints = KeepCheckpoints(
        files=run.checkpoints,
        every=config.checkpoint_every,
        keep=config.checkpoints_kept,
        look=divergence.remember,
    )
    callbacks: list[pl.Callback] = [
        Progress(terminal=terminal, every=every),
        DataWait(every=every),
        divergence,
        SkippedPhotos(report=run.skipped_photos, known=data.unreadable),
        *shown,
        checkpoints,
        StopOnSignal(checkpoints=checkpoints),
    ]
    logger = hydra.utils.instantiate(config.logger) if config.logger else False
    if isinstance(logger, TensorBoardLogger):  # a run that was killed left steps that come again
        logger._kwargs["purge_step"] = step_of(checkpoint) if checkpoint else 0
    options = plain(config.trainer)
    options.pop("enable_progress_bar")
    try:
        return pl.Trainer(
            **options,
            max_epochs=1,  # one long epoch; the loader reshuffles at each pass over the photos
            check_val_every_n_epoch=None,
            callbacks=callbacks,
            logger=logger,
            plugins=[WholeFiles()],
            default_root_dir=run.path,
            use_distributed_sampler=False,  # the sampler knows the processes itself
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise FstError(f"the trainer refuses these settings: {error}") from None


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


def build_card(
    config: DictConfig,
    trainer: pl.Trainer,
    loss: PerceptualLoss,
    data: PhotoData,
    start: Card | None,
) -> Card:
    """The card of a finished run, with the held-out losses of the last validation.

    ``start`` is the card of the style whose net it began with, if any.
    """
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
            "warm_start": start and {"name": start.name, "sha256": start.sha256},
            "batch_size": config.data.batch_size
            * trainer.world_size
            * trainer.accumulate_grad_batches,
            "size": config.data.size,
            "style_size": config.style.size,
            "loss": plain(config.loss),
            "style_weights": plain(config.style.weights),
            "strength": config.style.strength if config.loss.calibrated else None,
            "weights": loss.weights,
            "optimizer": plain(config.optimizer),
            "precision": config.trainer.precision,
            "seed": config.seed,
            "minutes": round(sum(elapsed) / 60, 1),
            "machine": machine(),
        },
        losses=_final(trainer, "val/"),
        artifacts=_final(trainer, "val_artifacts/"),
    )


def _final(trainer: pl.Trainer, prefix: str) -> dict[str, float]:
    return {
        key.removeprefix(prefix): round(float(value), 6)
        for key, value in trainer.callback_metrics.items()
        if key.startswith(prefix)
    }


def log_hyperparameters(trainer: pl.Trainer, config: DictConfig, card: Card) -> None:
    """Hyper-parameters beside the final losses and artifacts: TensorBoard compares runs."""
    final = {**card.losses, **card.artifacts}
    parameters = {
        "style": config.style.name,
        "loss_network": config.loss_network.file or config.loss_network.name,
        **{key: config.loss[key] for key in ("content_weight", "style_weight", "tv_weight")},
        **{f"{key}_multiplier": value for key, value in config.style.weights.items()},
        "style_size": config.style.size,
        "strength": config.style.strength if config.loss.calibrated else "",
        **config.optimizer,
        **config.net,
        "size": config.data.size,
        "batch_size": config.data.batch_size,
        "max_steps": config.trainer.max_steps,
        "seed": config.seed,
    }
    for logger in trainer.loggers:
        if isinstance(logger, pl.loggers.TensorBoardLogger):
            logger.log_hyperparams(parameters, {f"final/{k}": v for k, v in final.items()})
            logger.save()
        else:
            logger.log_hyperparams(parameters)
