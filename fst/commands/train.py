"""fst train style=NAME data.root=PHOTOS: fit a net to one painting.

fst train style.image=painting.jpg data.root=photos/
fst train style=starry_night style.root=paintings/ data.root=coco/ experiment=paper
"""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from pathlib import Path

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from fst.callbacks import (
    LastCheckpoint,
    Previews,
    Progress,
    SkippedPhotos,
    StopOnNaN,
    duration,
)
from fst.data import PhotoData, collate
from fst.errors import FstError
from fst.image import resize_shorter, to_image, to_tensor
from fst.lightning_module import FastStyleTransfer
from fst.loss_network import load_loss_network
from fst.painting import Painting, find_painting, read_painting
from fst.paths import configs_dir
from fst.perceptual_loss import PerceptualLoss
from fst.run_folder import RunFolder, machine, open_run
from fst.style_file import Card, save_style
from fst.transformer_net import TransformerNet

RUN_FOLDER_VARIABLE = "FST_RUN_FOLDER"  # tells Lightning's other processes which folder it is


@hydra.main(version_base="1.3", config_path=str(configs_dir()), config_name="train")
def hydra_main(config: DictConfig) -> None:
    try:
        train(config)
    except FstError as error:
        raise SystemExit(f"fst train: {error}") from None


def main(argv: list[str] | None = None) -> None:
    """``argv`` are Hydra overrides and flags, as after ``fst train`` on a command line."""
    arguments = sys.argv[1:] if argv is None else argv
    chosen = any(a.startswith(("experiment=", "hydra/launcher=")) for a in arguments)
    if not chosen and not torch.cuda.is_available():
        arguments = ["experiment=laptop", *arguments]
        _say("no CUDA GPU here: experiment=laptop (experiment=paper is the paper's whole recipe)")
    sys.argv = [sys.argv[0], *arguments]
    hydra_main()


def train(config: DictConfig) -> Path:
    """Train one style as the config says; returns the path of the style file.

    Raises ``FstError`` for what the user can mend, before the nets are built wherever it can.
    """
    _quiet_libraries()
    image = find_painting(image=config.style.image, file=config.style.file, root=config.style.root)
    config.style.name = name = config.style.name or image.stem
    if OmegaConf.is_missing(config.data, "root"):
        raise FstError("no photos are named; give a folder of them with data.root=FOLDER")
    data_options = OmegaConf.to_container(config.data)
    assert isinstance(data_options, dict)
    described = {key: data_options.pop(key) for key in ("description", "licence")}
    data = PhotoData(seed=config.seed, **{str(k): v for k, v in data_options.items()})
    painting = read_painting(image, size=config.style.size)

    loss = build_loss(config, painting)
    pl.seed_everything(config.seed, verbose=False)
    net = TransformerNet(**config.net)
    module = FastStyleTransfer(net=net, loss=loss, compile=config.compile, **config.optimizer)

    run, resuming = _open_run(config)
    _say(f"painting       {image} ({config.style.title or name})")
    _say(f"photos         {len(data.train_paths)} to train on, {len(data.val_paths)} held out")
    _say(f"loss network   {loss.network.description}")
    _say(f"run folder     {run.path}" + (" (going on with it)" if resuming else ""))
    trainer = _build_trainer(config, run, data, painting)
    if trainer.is_global_zero and not resuming:
        _say_estimate(trainer, module, data)
    started = time.monotonic()
    trainer.fit(module, data, ckpt_path=run.checkpoint if resuming else None, weights_only=False)
    if trainer.interrupted:
        raise SystemExit(130)
    losses = {
        key.removeprefix("val/"): round(float(value), 6)
        for key, value in trainer.callback_metrics.items()
        if key.startswith("val/")
    }
    path = run.style_file(name)
    if trainer.is_global_zero:
        card = Card(
            name=name,
            net=net.arguments,
            painting={k: config.style[k] for k in ("title", "artist", "year", "licence")},
            loss_network={
                "description": loss.network.description,
                "licence": config.loss_network.licence,
            },
            data={**described, "photos": len(data.train_paths)},
            training={
                "steps": trainer.global_step,
                "batch_size": config.data.batch_size * trainer.world_size,
                "size": config.data.size,
                "style_size": config.style.size,
                "loss": OmegaConf.to_container(config.loss),
                "style_weights": OmegaConf.to_container(config.style.weights),
                "optimizer": OmegaConf.to_container(config.optimizer),
                "precision": config.trainer.precision,
                "seed": config.seed,
                "last_session_minutes": round((time.monotonic() - started) / 60, 1),
                "machine": machine(),
            },
            losses=losses,
        )
        save_style(path, net, card, half=config.half)
        _log_hyperparameters(trainer, config, losses)
        _say_end(trainer, run, path, name)
    return path


def build_loss(config: DictConfig, painting: Painting) -> PerceptualLoss:
    """The configured loss against a painting; the style's weights multiply the loss's."""
    network_options = OmegaConf.to_container(config.loss_network)
    assert isinstance(network_options, dict)
    network_options.pop("licence")
    try:
        network = load_loss_network(**{str(k): v for k, v in network_options.items()})
    except OSError as error:
        raise FstError(f"the loss network cannot be read: {error}") from None
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


def _open_run(config: DictConfig) -> tuple[RunFolder, bool]:
    """Choose the run folder once, on the first process, and write the config into it."""
    resume = str(config.resume).lower()
    if config.run_dir is None:
        swept = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
        folder = HydraConfig.get().runtime.output_dir if swept else f"runs/{config.style.name}"
        config.run_dir = folder
    if RUN_FOLDER_VARIABLE in os.environ and int(os.environ.get("LOCAL_RANK", "0")) > 0:
        config.run_dir, resume = os.environ[RUN_FOLDER_VARIABLE], "auto"
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    settings = {str(key): value for key, value in resolved.items()}
    run, resuming = open_run(Path(config.run_dir).expanduser(), settings, resume=resume)
    config.run_dir = settings["run_dir"] = str(run.path)
    os.environ[RUN_FOLDER_VARIABLE] = str(run.path)
    if _first_process() and not resuming:
        run.write_about(settings)
    return run, resuming


def _build_trainer(
    config: DictConfig, run: RunFolder, data: PhotoData, painting: Painting
) -> pl.Trainer:
    terminal = sys.stderr.isatty() and config.trainer.enable_progress_bar
    shown = data.val_paths[: config.previews.photos]
    thumbnail = to_tensor(resize_shorter(to_image(painting.image), config.previews.size))
    callbacks: list[pl.Callback] = [
        Progress(terminal=terminal, every=config.trainer.log_every_n_steps),
        StopOnNaN(every=config.trainer.log_every_n_steps),
        SkippedPhotos(report=run.skipped_photos),
        Previews(
            photos=shown,
            painting=thumbnail,
            size=config.previews.size,
            every=config.previews.every,
            folder=run.previews,
        ),
        LastCheckpoint(path=run.checkpoint, every=config.checkpoint_every),
    ]
    logger = hydra.utils.instantiate(config.logger) if config.logger else False
    options = OmegaConf.to_container(config.trainer)
    assert isinstance(options, dict)
    options.pop("enable_progress_bar")
    try:
        return pl.Trainer(
            **{str(key): value for key, value in options.items()},
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


def _say_estimate(trainer: pl.Trainer, module: FastStyleTransfer, data: PhotoData) -> None:
    """Time two steps beside the training, which they do not touch, and say how long it will be."""
    if trainer.strategy.root_device.type != "cpu" or trainer.max_steps < 20:
        return
    photos = data.train_set()
    batch = collate([photos[k] for k in range(data.batch_size)]).photos
    seconds = []
    for _ in range(2):
        start = time.monotonic()
        module.loss(module.net(batch), batch).total.backward()
        seconds.append(time.monotonic() - start)
    module.net.zero_grad(set_to_none=True)
    steps = int(trainer.max_steps) * trainer.accumulate_grad_batches
    left = duration(min(seconds) * steps)
    _say(f"estimate       about {left} for {trainer.max_steps} steps on {machine()}")


def _log_hyperparameters(trainer: pl.Trainer, config: DictConfig, losses: dict[str, float]) -> None:
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


def _say_end(trainer: pl.Trainer, run: RunFolder, path: Path, name: str) -> None:
    if run.skipped_photos.exists():
        count = len(run.skipped_photos.read_text(encoding="utf-8").splitlines())
        _say(f"skipped        {count} unreadable photos, named in {run.skipped_photos}")
    _say(f"style file     {path} ({path.stat().st_size / 1e6:.1f} MB)")
    known = run.path == Path("runs") / name
    _say(f'try it         fst stylize PHOTO.jpg --style "{name if known else path}"')
    _say(f'curves         tensorboard --logdir "{run.path.parent}"')


def _first_process() -> bool:
    return all(
        int(os.environ.get(variable, "0")) == 0
        for variable in ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    )


def _say(line: str) -> None:
    if _first_process():
        print(line, flush=True)


def _quiet_libraries() -> None:
    """Keep Lightning's advice out of the output where we have decided otherwise on purpose."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    patterns = (
        ".*does not have many workers.*",  # two are plenty for one net on a CPU
        ".*your dataloader is not resumable.*",  # it is: the sampler starts at the step
        ".*LeafSpec.*",
        ".*You have overridden `on_.*",
        ".*smaller than the logging interval.*",
        ".*Checkpoint directory .* exists.*",
        ".*lr_scheduler.step.*before.*optimizer.step.*",
        ".*tensorboardX.*",
    )
    for pattern in patterns:
        warnings.filterwarnings("ignore", message=pattern)
