"""A style file of an unfinished run: of its newest checkpoint, or of the one given.

python scripts/style_of_run.py RUN -o FILE.safetensors [--checkpoint RUN/checkpoints/STEP.ckpt]

To begin another run with (warm_start=FILE), or to look at what there is so far. The card has the
settings, the step and the weights of the loss, but no held-out losses: those come when a run ends.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from fst.errors import FstError
from fst.experiments.run_folder import RunFolder
from fst.loss.loss_network_file import load_loss_network
from fst.nets.style_card import Card
from fst.nets.style_file import save_styles
from fst.nets.transformer_net import TransformerNet
from fst.system.old_names import in_new_names
from fst.training.checkpoint_files import Checkpoint


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE")
    asked = parser.parse_args(argv)
    run = RunFolder(asked.run)
    path = asked.checkpoint or run.checkpoints.newest()
    if path is None or not run.config_file.exists():
        raise FstError(f"{asked.run} holds no run of fst train with a checkpoint")
    checkpoint = Checkpoint.read(path)
    config = in_new_names(yaml.safe_load(run.config_file.read_text("utf-8")))
    about = in_new_names(run.about())
    styles = config.get("paintings") or [config["style"]]
    weights = about["weights"] if isinstance(about["weights"], list) else [about["weights"]]
    net = TransformerNet(**config["net"], paintings=len(styles))
    of_net = {k: v for k, v in checkpoint.state["state_dict"].items() if k.startswith("net.")}
    net.load_state_dict({key.removeprefix("net."): value for key, value in of_net.items()})
    cards = [
        card_of(config, about, style, of_style, checkpoint.step, len(styles))
        for style, of_style in zip(styles, weights, strict=True)
    ]
    save_styles(asked.output, net, cards, half=config["half"])
    print(f"{asked.output}: {len(cards)} painting(s), step {checkpoint.step}")
    return 0


def card_of(
    config: dict[str, Any],
    about: dict[str, Any],
    style: dict[str, Any],
    weights: dict[str, float],
    step: int,
    count: int,
) -> Card:
    """What is known of a painting's style before its run has ended."""
    described = {k: v for k, v in config["loss_network"].items() if k != "license"}
    network = load_loss_network(**described)
    data = config["data"]
    return Card(
        name=style["name"],
        net=config["net"],
        painting={key: style.get(key) for key in ("title", "artist", "year", "license")},
        loss_network={"description": network.description, "license": network.license},
        data={"description": data.get("description"), "license": data.get("license")},
        training={
            "steps": step,
            "warm_start": about.get("warm_start"),
            "batch_size": data["batch_size"],
            "size": data["size"],
            "style_size": style["size"],
            "loss": config["loss"],
            "style_weights": style["weights"],
            "strength": style["strength"] if config["loss"]["calibrated"] else None,
            "weights": weights,
            "optimizer": config["optimizer"],
            "precision": config["trainer"]["precision"],
            "seed": config["seed"],
            "machine": about.get("machine"),
            **({"together_with": count - 1} if count > 1 else {}),
        },
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FstError as error:
        sys.exit(str(error))
