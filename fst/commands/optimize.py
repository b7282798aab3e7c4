"""fst optimize PHOTO PAINTING: the picture itself is optimized, no net.

fst optimize photo.jpg painting.jpg
fst optimize content=photo.jpg style=great_wave style.root=paintings/ size=[128,256,512]
fst optimize content=photo.jpg style.image=painting.jpg recipe=gatys
fst optimize photo.jpg painting.jpg look=true
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fst.errors import FstError
from fst.evaluation.look import (
    SIZES,
    STRENGTHS,
    Look,
    command_of,
    look_sheet,
    looks,
    require_look,
)
from fst.evaluation.optimization import Log, at_size, optimized, repainted, start_picture
from fst.experiments.config import Config
from fst.experiments.parts import build_network, build_painting
from fst.experiments.run_folder import choose_run
from fst.experiments.settings import check_settings, run_hydra
from fst.experiments.settle import name_of, settled
from fst.loss.loss_network import LossNetwork
from fst.nets.style_file import MIN_SIDE
from fst.pictures.image import Picture, read_picture, save_picture, to_image, to_tensor
from fst.pictures.painting import Painting
from fst.system.console import say
from fst.system.files import fingerprint
from fst.system.machine import choose_device
from fst.system.paths import user_path


def main(argv: list[str] | None = None) -> None:
    """``argv`` are Hydra overrides and flags, as after ``fst optimize`` on a command line."""
    run_hydra("optimize", run_optimize, sys.argv[1:] if argv is None else argv)


def run_optimize(composed: DictConfig) -> Path:
    """Optimize one picture as the config says, or a sheet of them; returns the path of the result.

    Stopped by Ctrl-C, it keeps the best picture so far.
    """
    check_settings(composed)
    if OmegaConf.is_missing(composed, "content"):
        raise FstError("no photo is named; give one with content=PHOTO")
    name = composed.style.name or name_of(composed.style)
    label = f"{Path(composed.content).stem}_{name}" + ("_look" if composed.look is True else "")
    folder = composed.run_dir or f"runs/optimize/{label}"
    run = choose_run(user_path(folder), resume="false")
    config = settled(composed, run, name=name)
    sizes = check_sizes(config.size)
    require_look(config)
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
        if config.look:
            return find_look(config, network, content, painting, run.path / f"{label}.png")
        log = Log(run, every=config.previews.every)
        target = run.path / f"{label}.png"
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


def find_look(
    config: Config, network: LossNetwork, content: Picture, painting: Painting, target: Path
) -> Path:
    """Write a sheet over strength and stroke size; returns its path, ``target``.

    It is there after every tile, so that one that is stopped shows those it has.
    """
    made: list[Look] = []
    count, start = len(STRENGTHS) * len(SIZES), time.monotonic()
    for look in looks(config, network, content, check_sizes(config.size)[-1]):
        made.append(look)
        sheet = look_sheet(content.rgb, to_image(painting.image), made)
        save_picture(target, Picture(rgb=sheet), quality=95)
        seconds = time.monotonic() - start
        say(f"tile {len(made)} of {count}    {look.words}  {seconds:.0f} s")
    chosen = HydraConfig.get().runtime.choices.get("style") if HydraConfig.initialized() else None
    for look in made:
        say(f"train it       {command_of(config, chosen, look)}")
    say(f"sheet          {target}")
    return target


def check_sizes(size: Any) -> list[int]:
    """One or several sizes as a list; ``FstError`` for anything but sizes of 16 pixels or more."""
    sizes = list(size) if isinstance(size, list) else [size]
    if not sizes or not all(isinstance(s, int) and s >= MIN_SIDE for s in sizes):
        raise FstError(
            f"size={size} must be whole numbers of {MIN_SIDE} or more, as 256 or [128,256]"
        )
    return sizes
