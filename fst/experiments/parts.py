"""A config, composed and complete -> the parts of an experiment: data, loss, trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import MISSING
from torch import Tensor

from fst.data.held_photos import HeldPhotos
from fst.errors import FstError
from fst.experiments.config import Config
from fst.experiments.known_settings import NOT_OF_THE_LOSS, card_only
from fst.experiments.loggers import build_loggers
from fst.experiments.run_folder import RunFolder
from fst.loss.loss_network import LossNetwork
from fst.loss.loss_network_file import load_loss_network
from fst.loss.paintings_loss import PaintingsLoss
from fst.loss.perceptual_loss import PerceptualLoss, Weights
from fst.loss.strength import PROBES, calibrate
from fst.pictures.image import resize_shorter, to_image, to_tensor
from fst.pictures.painting import Painting, load_painting
from fst.system.console import say
from fst.system.progress import moves_here, vanishing_line
from fst.training.callbacks import DataWait, SkippedPhotos
from fst.training.checkpoint_files import Checkpoint
from fst.training.checkpointing import KeepCheckpoints, StopOnSignal, WholeFiles
from fst.training.datamodule import PhotoData
from fst.training.divergence import StopOnDivergence
from fst.training.limits import EndInTime, require_sound, seconds_of
from fst.training.previews import Previews
from fst.training.progress import Progress
from fst.training.run_status import NAME as STATUS
from fst.training.run_status import RunStatus

CPU = torch.device("cpu")


def build_data(config: Config) -> PhotoData:
    """The photos; ``FstError`` if none are named or none can be used."""
    if config.data.root == MISSING:
        raise FstError("no photos are named; give a folder of them with data.root=FOLDER")
    options = {key: v for key, v in config.data.items() if key not in card_only("data")}
    held = options.pop("held")
    return PhotoData(seed=config.seed, hold=HeldPhotos if held else None, **options)


def build_painting(config: Config) -> Painting:
    """The configured painting; ``FstError`` if there is none."""
    keys = ("image", "painted", "file", "root", "size")
    return load_painting(**{key: config.style[key] for key in keys})


def build_losses(
    styles: Sequence[tuple[Config, Painting]],
    network: LossNetwork,
    photos: Callable[[], Tensor],
    known: Sequence[Mapping[str, float] | None],
    *,
    device: torch.device,
) -> PerceptualLoss | PaintingsLoss:
    """The loss of one painting, or of several; ``known`` are the weights that are, one each.

    Solving for those that are not takes its time, of which a terminal is told; a CUDA ``device``
    does it itself.
    """
    losses = []
    for (config, painting), weights in zip(styles, known, strict=True):
        with vanishing_line("iterations") as tell:
            loss = build_loss(config, painting, network, photos, weights, device=device, tell=tell)
        if len(styles) > 1 and weights is None and config.loss.calibrated:
            say(f"               {config.style.name}: style {loss.weights.style:.3g}")
        losses.append(loss)
    return losses[0] if len(losses) == 1 else PaintingsLoss(losses)


def build_network(config: Config) -> LossNetwork:
    """The configured loss network."""
    options = {
        key: v for key, v in config.loss_network.items() if key not in card_only("loss_network")
    }
    return load_loss_network(**options)


def build_loss(
    config: Config,
    painting: Painting,
    network: LossNetwork,
    photos: Callable[[], Tensor],
    known: Mapping[str, float] | None = None,
    *,
    device: torch.device = CPU,
    tell: Callable[[int, int], None] | None = None,
) -> PerceptualLoss:
    """The configured loss against a painting; the style's weights multiply the loss's.

    Those that are known to suit a painting in the paper's units count where those units do. A
    calibrated loss solves for its weights on ``photos()`` (B, 3, H, W), RGB in [0, 1], unless they
    are ``known`` from before: on ``device`` if that is a CUDA one, else on the CPU, where the loss
    is when it is returned. ``tell`` hears how far that is, as of ``calibrate``.
    """
    options = config.loss.plain()
    calibrated = options["calibrated"]
    for other in NOT_OF_THE_LOSS:
        options.pop(other)
    loss = PerceptualLoss(network=network, style_image=painting.image, **options)
    if known is not None:
        return loss.reweighted(Weights(**known))
    strength = config.style.strength
    if calibrated:
        for key in ("content_weight", "style_weight"):
            if options[key] != 1:
                raise FstError(
                    f"loss.{key}={options[key]} has no effect in loss=calibrated, which solves for "
                    "it; say style.strength=0.7, or loss=relative for weights of your own"
                )
        solver = device if device.type == "cuda" else CPU
        solved = calibrate(
            loss.to(solver), photos().to(solver), strength=strength, tv=loss.weights.tv, tell=tell
        )
        loss.to(CPU)
        base = solved.weights
    elif strength != 0.5:
        raise FstError(
            f"style.strength={strength} needs loss=calibrated; other losses take a weight: "
            "style.weights.style=2"
        )
    else:
        base = loss.weights
    return loss.reweighted(weights_for_style(config, base))


def weights_for_style(config: Config, base: Weights) -> Weights:
    """The weights of a loss times those of the style, and what its authors took in their units."""
    weights, authors = config.style.weights, config.style.johnson_weights
    relative = config.loss.relative
    factors = [weights[key] * (1 if relative else authors[key]) for key in Weights._fields]
    return Weights(*(v * f for v, f in zip(base, factors, strict=True)))


def calibration_photos(data: PhotoData) -> Tensor:
    """The first training crops (B, 3, size, size), RGB in [0, 1]."""
    return data.crops(PROBES)


def build_previews(
    config: Config,
    run: RunFolder,
    data: PhotoData,
    styles: Sequence[tuple[Config, Painting]],
) -> Previews:
    """The configured previews of the first held-out photos, after each painting."""
    return Previews(
        photos=data.val_paths[: config.previews.photos],
        paintings={
            str(one.style.name): to_tensor(
                resize_shorter(to_image(painting.image), config.previews.size)
            )
            for one, painting in styles
        },
        size=config.previews.size,
        every=config.previews.every,
        folder=run.previews,
    )


def in_one_line(error: BaseException) -> str:
    """What a library says of its refusal, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def build_trainer(
    config: Config,
    run: RunFolder,
    data: PhotoData,
    *shown: pl.Callback,
    checkpoint: Checkpoint | None,
) -> pl.Trainer:
    """The configured Lightning trainer with our callbacks and also those ``shown``.

    ``checkpoint`` is what ``fit`` will resume from: curves are taken to end there. Raises
    ``FstError`` for settings that Lightning refuses.
    """
    options = config.trainer.plain()
    options.pop("enable_progress_bar")
    in_time = EndInTime(seconds_of(options.pop("max_time", None)))
    require_sound(options, data)
    terminal = moves_here() and config.trainer.enable_progress_bar
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
    again = run.resumed_by(str(config.get("resume")))
    callbacks: list[pl.Callback] = [
        in_time,
        Progress(terminal=terminal, every=every, compiles=bool(config.get("compile"))),
        DataWait(every=every),
        divergence,
        SkippedPhotos(report=run.skipped_photos, known=data.unreadable),
        *shown,
        checkpoints,
        StopOnSignal(checkpoints=checkpoints, again=again),
        RunStatus(file=run.path / STATUS, again=again),
    ]
    try:
        return pl.Trainer(
            **options,
            max_epochs=1,  # one long epoch; the loader reshuffles at each pass over the photos
            check_val_every_n_epoch=None,
            callbacks=callbacks,
            logger=build_loggers(config, run, checkpoint),
            plugins=[WholeFiles(checkpoint, max_steps=config.trainer.max_steps)],
            default_root_dir=run.path,
            use_distributed_sampler=False,  # the sampler knows the processes itself
            enable_progress_bar=False,  # ours is another
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
        )
    except (
        *(ValueError, TypeError, KeyError, AttributeError, AssertionError),
        *(RuntimeError, ImportError, MisconfigurationException),
    ) as error:
        raise FstError(f"the trainer refuses these settings: {in_one_line(error)}") from None
