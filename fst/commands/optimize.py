"""fst optimize PHOTO PAINTING: the picture itself is optimized, no net.

fst optimize photo.jpg painting.jpg
fst optimize content=photo.jpg style=great_wave style.root=paintings/ size=[128,256,512]
fst optimize content=photo.jpg style.image=painting.jpg recipe=gatys
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from fst.errors import FstError
from fst.evaluation.optimization import Log, optimized, repainted, start_picture
from fst.experiments.config import Config
from fst.experiments.parts import build_loss, build_network, build_painting
from fst.experiments.run_folder import choose_run
from fst.experiments.settings import check_settings, run_hydra
from fst.experiments.settle import name_of, settled
from fst.loss.loss_network import LossNetwork
from fst.loss.perceptual_loss import PerceptualLoss
from fst.nets.style_file import MIN_SIDE
from fst.pictures.image import Picture, read_picture, save_picture, to_tensor
from fst.pictures.painting import MIN_PAINTING
from fst.system.console import say
from fst.system.files import fingerprint
from fst.system.machine import choose_device
from fst.system.paths import user_path


def main(argv: list[str] | None = None) -> None:
    """``argv`` are Hydra overrides and flags, as after ``fst optimize`` on a command line."""
    run_hydra("optimize", run_optimize, sys.argv[1:] if argv is None else argv)


def run_optimize(composed: DictConfig) -> Path:
    """Optimize one picture as the config says; returns the path of the result.

    Stopped by Ctrl-C, it keeps the best picture so far.
    """
    check_settings(composed)
    if OmegaConf.is_missing(composed, "content"):
        raise FstError("no photo is named; give one with content=PHOTO")
    name = composed.style.name or name_of(composed.style)
    folder = composed.run_dir or f"runs/optimize/{Path(composed.content).stem}_{name}"
    run = choose_run(user_path(folder), resume="false")
    config = settled(composed, run, name=name)
    sizes = check_sizes(config.size)
    content = read_picture(user_path(config.content))
    painting = build_painting(config)
    network = build_network(config).to(choose_device(config.device))
    inputs = {
        "content": fingerprint(to_tensor(content.rgb).numpy().tobytes()),
        "painting": fingerprint(painting.image.numpy().tobytes()),
        "loss network": network.fingerprint(),
    }
    say(f"painting       {painting.source} ({config.style.title or name})")
    say(f"loss network   {network.description}")
    say(f"run folder     {run.path}")
    with run.locked():
        run.write_about("optimize", config.plain(), inputs)
        log = Log(run, every=config.previews.every)
        target = run.path / f"{Path(config.content).stem}_{name}.png"
        picture = start_picture(config.start, content, sizes[0], config.seed)
        try:
            for size in sizes:
                photo, loss = at_size(config, network, content, size, sizes[-1])
                picture = optimized(
                    loss,
                    photo,
                    picture,
                    log,
                    size=size,
                    iterations=config.iterations,
                    method=config.method,
                    history=config.history,
                    learning_rate=config.learning_rate,
                    clip_gradient=config.clip_gradient,
                )
                save_picture(target, repainted(content, picture), quality=95)
        except KeyboardInterrupt:
            if log.best is not None:
                save_picture(target, repainted(content, log.best.image), quality=95)
                say(f"stopped        the best picture so far is kept: {target}")
            raise
        finally:
            log.close()
    say(f"picture        {target}")
    say(f"objective      {run.path / 'objective.csv'}")
    say(f'curves         tensorboard --logdir "{run.path.parent}"')
    return target


def check_sizes(size: Any) -> list[int]:
    """One or several sizes as a list; ``FstError`` for anything but sizes of 16 pixels or more."""
    sizes = list(size) if isinstance(size, list) else [size]
    if not sizes or not all(isinstance(s, int) and s >= MIN_SIDE for s in sizes):
        raise FstError(
            f"size={size} must be whole numbers of {MIN_SIDE} or more, as 256 or [128,256]"
        )
    return sizes


def at_size(
    config: Config, network: LossNetwork, content: Picture, size: int, last: int
) -> tuple[Tensor, PerceptualLoss]:
    """The photo (1, 3, H, W), its shorter side ``size``, and the loss for it.

    The painting shrinks in proportion to the ``last`` size, so that strokes keep theirs.
    """
    style_size = max(round(config.style.size * size / last), MIN_PAINTING)
    smaller = config.but("style.size", min(style_size, config.style.size))
    device = network.mean.device
    painting = build_painting(smaller)
    painting = replace(painting, image=painting.image.to(device))
    photo = to_tensor(content.resized(size).rgb).to(device)
    return photo, build_loss(smaller, painting, network, lambda: photo)
