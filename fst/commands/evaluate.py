"""fst evaluate 'styles=[a,b]' data.root=PHOTOS: what one pass is worth, in L-BFGS iterations.

fst evaluate 'styles=[starry_night]' data.root=held_out/ style.root=paintings/
fst evaluate 'styles=[runs/a/a.safetensors]' data.root=held_out/ 'sizes=[256,512]' photos=4
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import MISSING, DictConfig
from torch import Tensor

from fst.data.photo_files import list_photos, read_photo
from fst.errors import FstError
from fst.evaluation.equivalent_iterations import (
    STARTS,
    Curve,
    PhotoResult,
    iterations_to_reach,
    terms_of,
)
from fst.evaluation.report import in_words, store, summary
from fst.experiments.config import Config, resolved
from fst.experiments.parts import build_network
from fst.experiments.settings import check_settings, compose, run_hydra
from fst.inference.stylizer import Stylizer
from fst.loss.loss_network import LossNetwork
from fst.loss.loss_network_file import load_loss_network
from fst.loss.perceptual_loss import PerceptualLoss
from fst.nets.style_file import Card, find_style, parted_address, read_card, rewrite_card
from fst.pictures.artifacts import find_artifacts, flat_photos
from fst.pictures.image import to_image, to_tensor
from fst.pictures.painting import Painting, load_painting
from fst.system.console import say
from fst.system.files import make_folder, unused, write_whole
from fst.system.machine import choose_device, machine
from fst.system.paths import configs_dir, shipped_loss_networks

LEAST_SIZE = 32  # pixels that artifacts can be scored on


def main(argv: list[str] | None = None) -> None:
    """``argv`` are Hydra overrides and flags, as after ``fst evaluate`` on a command line."""
    run_hydra("evaluate", evaluate, sys.argv[1:] if argv is None else argv)


def evaluate(composed: DictConfig) -> list[dict[str, Any]]:
    """Measure every style at every size; returns the rows of the table that is printed."""
    check_settings(composed)
    config = Config(resolved(composed))
    starts = as_list(config.starts)
    if not starts or any(start not in STARTS for start in starts):
        raise FstError(f"starts={config.starts} must be some of {', '.join(STARTS)}")
    sizes = as_list(config.sizes)
    if not sizes or not all(isinstance(s, int) and s >= LEAST_SIZE for s in sizes):
        raise FstError(
            f"sizes={config.sizes} must be whole numbers of {LEAST_SIZE} or more: [256,512]"
        )
    for key, value in (("styles", config.styles), ("data.root", config.data.root)):
        if value == MISSING:
            raise FstError(f"{key} is not given; say `fst evaluate styles=NAME data.root=FOLDER`")
    paths = [find_style(style) for style in config.styles]
    if config.style.image is not None and len(paths) > 1:
        raise FstError(
            f"style.image={config.style.image} is one painting, but there are {len(paths)} styles; "
            "evaluate them one by one, or give the folder of their paintings with style.root"
        )
    every = list_photos(config.data.root)
    count = min(config.photos, len(every))
    photos = readable([every[k * len(every) // count] for k in range(count)])
    folder = unused(Path(config.run_dir).expanduser())
    make_folder(folder)
    say(f"machine        {machine()}")
    say(f"photos         {len(photos)} of {config.data.root}")
    names = [parted_address(path)[1] or path.stem for path in paths]
    labels = [  # several checkpoints of one style are told apart by their folders
        name if names.count(name) == 1 else f"{path.parent.name}_{name}"
        for path, name in zip(paths, names, strict=True)
    ]
    rows: list[dict[str, Any]] = []
    for path, label in zip(paths, labels, strict=True):
        card = read_card(path)
        network = network_of(config, path, card).to(choose_device(config.device))
        painting = painting_of(config, path, card)
        say(f"style          {label}: {painting.source}, loss network {network.description}")
        loss = loss_of(card, network, painting)
        trained_at = card.training["size"]
        measured = []
        for size in sizes:
            made = [one_photo(config, loss, painting, path, p, size, trained_at) for p in photos]
            row = {"name": label, "size": size, "loss_network": network.description}
            row |= summary(made, config.limit)
            row["artifacts_flat"] = on_flat_photos(path, painting, size, config.device)
            measured.append(row)
            rows.append(row)
            say(in_words(row))
            store(folder, f"{label}_{size}", made)
            text = json.dumps(rows, indent=1) + "\n"
            write_whole(folder / "evaluation.json", text.encode())
        if config.update_card:
            update_card(path, measured)
    say(f"figures        {folder / 'evaluation.json'}, curves, plots and sheets beside it")
    return rows


def readable(photos: list[Path]) -> list[Path]:
    """Those that can be read; the others are named. ``FstError`` if none can."""
    good = []
    for photo in photos:
        try:
            read_photo(photo)
        except FstError as error:
            say(f"left out       {error}")
        else:
            good.append(photo)
    if not good:
        raise FstError(f"none of the {len(photos)} photos can be read; give another data.root")
    return good


def as_list(value: Any) -> list[Any]:
    """A setting that may be one value or several."""
    return list(value) if isinstance(value, list) else [value]


def settings_beside(path: Path) -> dict[str, Any]:
    """The config of the run that made a style file; empty where the file stands alone."""
    file = path.parent / "config.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}


def painting_of(config: Config, path: Path, card: Card) -> Painting:
    """The painting that a style was trained on, as its run or its shipped config names it."""
    settings = settings_beside(path)
    several = {style["name"]: style for style in settings.get("paintings", [])}
    named = several.get(card.name) if several else settings.get("style")
    if named is None:
        known = configs_dir() / "style" / f"{card.name}.yaml"
        if not known.exists() and config.style.image is None:
            raise FstError(
                f"which painting {card.name} was trained on is not known here; give it with "
                "style.image=FILE"
            )
        named = compose("train", [f"style={card.name}"]).style.plain() if known.exists() else {}
    return load_painting(
        image=config.style.image or named.get("image"),
        painted=named.get("painted") if config.style.image is None else None,
        file=named.get("file"),
        root=config.style.root or named.get("root"),
        size=card.training["style_size"],
    )


def network_of(config: Config, path: Path, card: Card) -> LossNetwork:
    """The loss network asked for, or else the one that a style was trained with."""
    if config.loss_network is not None:
        return build_network(config)
    named = settings_beside(path).get("loss_network")
    if named is not None:
        named.pop("licence", None)
        return load_loss_network(**named)
    described = card.loss_network.get("description", "")
    for name in shipped_loss_networks():
        if described == f"{name} (shipped)":
            return load_loss_network(name=name)
    raise FstError(
        f"{card.name} was trained with {described or 'an unknown loss network'}, which does not "
        "ship; give it with loss_network=file loss_network.file=FILE, or judge by "
        "loss_network=lite"
    )


def loss_of(card: Card, network: LossNetwork, painting: Painting) -> PerceptualLoss:
    """The loss that a style was trained with, by its card."""
    try:
        options = dict(card.training["loss"])
        for other in ("calibrated", "moving_weight"):  # of the recipe, not of the loss itself
            options.pop(other, None)
        loss = PerceptualLoss(
            network=network,
            style_image=painting.image.to(network.mean.device),
            **options,
        )
        weights = card.training.get("weights")
        if weights is None:
            times = card.training["style_weights"]
            weights = {
                key: options[f"{key}_weight"] * times[key] for key in ("content", "style", "tv")
            }
    except (KeyError, TypeError):
        raise FstError(f"the card of {card.name} does not say which loss it had") from None
    return loss.reweighted(**weights)


def at_size(loss: PerceptualLoss, trained_at: int, photo: Tensor) -> PerceptualLoss:
    """The loss of training for a photo (1, 3, H, W) of another size.

    Content and style are means over pixels, total variation is a sum: its weight goes down as the
    picture grows, so that the balance stays that of crops of ``trained_at`` pixels a side.
    """
    weights = loss.weights
    weights["tv"] *= trained_at**2 / (photo.shape[-2] * photo.shape[-1])
    return loss.reweighted(**weights)


def one_photo(
    config: Config,
    loss: PerceptualLoss,
    painting: Painting,
    path: Path,
    photo: Path,
    size: int,
    trained_at: int,
) -> PhotoResult:
    """The net's picture of one photo, its terms and artifacts, and the optimizations it beats."""
    device = loss.network.mean.device
    source = read_photo(photo).resized(size)
    stylizer = Stylizer(path, device=str(device))
    stylizer.picture(source)  # the first pass of a size is slower
    began = time.monotonic()
    picture = to_tensor(stylizer.picture(source).rgb).to(device)
    seconds = time.monotonic() - began
    content = to_tensor(source.rgb).to(device)
    loss = at_size(loss, trained_at, content)
    terms = terms_of(loss, picture, content)
    curves: dict[str, Curve] = {}
    for start in as_list(config.starts):
        image = content
        if start == "noise":
            generator = torch.Generator().manual_seed(config.seed)
            image = torch.rand(content.shape, generator=generator).to(device)
        curves[start] = iterations_to_reach(loss, content, image, terms.total, config.limit)
    found = find_artifacts(picture[0].cpu(), content[0].cpu(), painting.image[0].cpu())
    return PhotoResult(
        name=photo.name,
        photo=content.cpu(),
        picture=picture.cpu(),
        terms=terms,
        before=terms_of(loss, content, content).total,
        net_s=seconds,
        curves=curves,
        artifacts=found,
    )


def on_flat_photos(
    path: Path, painting: Painting, size: int, device: str
) -> dict[str, dict[str, float]]:
    """The artifacts of a constant color and of a flat sky, by name."""
    stylizer = Stylizer(path, device=device)
    found = {}
    for name, photo in flat_photos(size).items():
        picture = to_tensor(stylizer(to_image(photo[None])))[0]
        found[name] = find_artifacts(picture, photo, painting.image[0].cpu())._asdict()
    return found


def rounded(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores to four decimals."""
    return {key: round(value, 4) for key, value in scores.items()}


def update_card(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the figures into a style file, whose tensors stay as they are."""
    card = read_card(path)
    keys = ("size", "photos", "loss_network", "limit", "total", "photo_itself")
    card.evaluation = [
        {key: row[key] for key in row if key in keys or key.startswith(("iterations", "interval"))}
        | {"artifacts": rounded(row["artifacts"])}
        | {"artifacts_flat": {name: rounded(of) for name, of in row["artifacts_flat"].items()}}
        for row in rows
    ]
    rewrite_card(path, card)
    say(f"card           {path} now says so")
