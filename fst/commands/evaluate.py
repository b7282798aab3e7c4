"""fst evaluate 'styles=[a,b]' data.root=PHOTOS: what one pass is worth, in L-BFGS iterations.

fst evaluate 'styles=[great_wave]' data.root=held_out/ style.root=paintings/
fst evaluate 'styles=[runs/a/a.safetensors]' data.root=held_out/ 'sizes=[256,512]' photos=4
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib
import torch
import yaml
from matplotlib import pyplot as plt
from omegaconf import DictConfig

from fst.artifacts import find_artifacts
from fst.console import say
from fst.errors import FstError
from fst.evaluation import Curve, confidence_interval, iterations_to_reach, terms_of
from fst.experiment import build_network
from fst.image import (
    Picture,
    contact_sheet,
    read_picture,
    save_picture,
    to_image,
    to_tensor,
    write_whole,
)
from fst.loss_network import LossNetwork
from fst.loss_network_file import load_loss_network
from fst.painting import Painting, load_painting
from fst.paths import configs_dir, shipped_loss_networks
from fst.perceptual_loss import PerceptualLoss
from fst.photo_files import list_photos
from fst.run_folder import machine
from fst.settings import check_settings, run_hydra
from fst.style_file import Card, find_style, read_card, rewrite_card
from fst.stylizer import Stylizer, choose_device

matplotlib.use("Agg")

STARTS = ("noise", "content")


def main(argv: list[str] | None = None) -> None:
    """``argv`` are Hydra overrides and flags, as after ``fst evaluate`` on a command line."""
    run_hydra("evaluate", evaluate, sys.argv[1:] if argv is None else argv)


def evaluate(config: DictConfig) -> list[dict[str, Any]]:
    """Measure every style at every size; returns the rows of the table that is printed."""
    check_settings(config)
    unknown = [start for start in config.starts if start not in STARTS]
    if unknown or not config.starts:
        raise FstError(f"starts={config.starts} must be some of {', '.join(STARTS)}")
    paths = [find_style(style) for style in config.styles]
    every = list_photos(config.data.root)
    photos = [every[k * len(every) // config.photos] for k in range(min(config.photos, len(every)))]
    folder = Path(config.run_dir).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    say(f"machine        {machine()}")
    say(f"photos         {len(photos)} of {config.data.root}")
    rows: list[dict[str, Any]] = []
    for path in paths:
        card = read_card(path)
        network = network_of(config, path, card).to(choose_device(config.device))
        painting = painting_of(config, path, card)
        say(f"style          {card.name}: {painting.source}, loss network {network.description}")
        loss = loss_of(card, network, painting)
        for size in config.sizes:
            made = [one_photo(config, loss, painting, path, photo, size) for photo in photos]
            row = summary(config, card, network, size, made)
            rows.append(row)
            say(in_words(row))
            store(folder / f"{card.name}_{size}", made)
        if config.update_card:
            update_card(path, [row for row in rows if row["style"] == card.name])
    write_whole(folder / "evaluation.json", (json.dumps(rows, indent=1) + "\n").encode())
    say(f"figures        {folder / 'evaluation.json'}, curves, plots and sheets beside it")
    return rows


def settings_beside(path: Path) -> dict[str, Any]:
    """The config of the run that made a style file; empty where the file stands alone."""
    file = path.parent / "config.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}


def painting_of(config: DictConfig, path: Path, card: Card) -> Painting:
    """The painting that a style was trained on, as its run or its shipped config names it."""
    named = settings_beside(path).get("style")
    if named is None:
        known = configs_dir() / "style" / f"{card.name}.yaml"
        if not known.exists() and config.style.image is None:
            raise FstError(
                f"which painting {card.name} was trained on is not known here; give it with "
                "style.image=FILE"
            )
        named = yaml.safe_load(known.read_text(encoding="utf-8")) if known.exists() else {}
    return load_painting(
        image=config.style.image or named.get("image"),
        painted=named.get("painted") if config.style.image is None else None,
        file=named.get("file"),
        root=config.style.root or named.get("root"),
        size=card.training["style_size"],
    )


def network_of(config: DictConfig, path: Path, card: Card) -> LossNetwork:
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
        options.pop("calibrated", None)
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


def one_photo(
    config: DictConfig,
    loss: PerceptualLoss,
    painting: Painting,
    path: Path,
    photo: Path,
    size: int,
) -> dict[str, Any]:
    """The net's picture of one photo, its terms and artifacts, and the optimizations it beats."""
    device = loss.network.mean.device
    source = read_picture(photo).resized(size)
    stylizer = Stylizer(path, device=str(device))
    stylizer.picture(source)  # the first pass of a size is slower
    began = time.monotonic()
    picture = to_tensor(stylizer.picture(source).rgb).to(device)
    seconds = time.monotonic() - began
    content = to_tensor(source.rgb).to(device)
    terms = terms_of(loss, picture, content)
    curves: dict[str, Curve] = {}
    for start in config.starts:
        image = content
        if start == "noise":
            generator = torch.Generator().manual_seed(config.seed)
            image = torch.rand(content.shape, generator=generator).to(device)
        curves[start] = iterations_to_reach(loss, content, image, terms.total, config.limit)
    found = find_artifacts(picture[0].cpu(), content[0].cpu(), painting.image[0].cpu())
    return {
        "photo": photo.name,
        "terms": terms._asdict(),
        "before": terms_of(loss, content, content).total,
        "net_s": seconds,
        "curves": curves,
        "artifacts": found._asdict(),
        "pictures": (content.cpu(), picture.cpu()),
    }


def summary(
    config: DictConfig, card: Card, network: LossNetwork, size: int, made: list[dict[str, Any]]
) -> dict[str, Any]:
    """Means over the photos; equivalent iterations with a confidence interval."""

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    row: dict[str, Any] = {
        "style": card.name,
        "size": size,
        "photos": len(made),
        "loss_network": network.description,
        "limit": config.limit,
        **{key: mean([m["terms"][key] for m in made]) for key in made[0]["terms"]},
        "photo_itself": mean([m["before"] for m in made]),
        "net_s": mean([m["net_s"] for m in made]),
    }
    for start in config.starts:
        curves = [m["curves"][start] for m in made]
        counts = [float(curve.iterations) for curve in curves]
        row[f"iterations_from_{start}"] = mean(counts)
        row[f"interval_from_{start}"] = confidence_interval(counts)
        row[f"beyond_limit_from_{start}"] = sum(not curve.crossed for curve in curves)
        row[f"seconds_from_{start}"] = mean([curve.seconds for curve in curves])
        row[f"speed_up_from_{start}"] = row[f"seconds_from_{start}"] / row["net_s"]
    row["artifacts"] = {
        key: mean([m["artifacts"][key] for m in made]) for key in made[0]["artifacts"]
    }
    return row


def in_words(row: dict[str, Any]) -> str:
    """A row as lines for people."""
    lines = [
        f"{row['size']} px, {row['photos']} photos: total {row['total']:.4g} = content "
        f"{row['content']:.4g} + style {row['style']:.4g} + total variation "
        f"{row['total_variation']:.4g} (the photos themselves: {row['photo_itself']:.4g}); "
        f"{row['net_s']:.2f} s a pass"
    ]
    for start in STARTS:
        if f"iterations_from_{start}" not in row:
            continue
        low, high = row[f"interval_from_{start}"]
        beyond = row[f"beyond_limit_from_{start}"]
        more = f", {beyond} of them >{row['limit']}" if beyond else ""
        least = "at least " if beyond else ""
        count, seconds, speed_up = (
            row[f"{key}_from_{start}"] for key in ("iterations", "seconds", "speed_up")
        )
        lines.append(
            f"  worth {least}{count:.0f} iterations of L-BFGS from {start} (95% CI {low:.0f} to "
            f"{high:.0f}{more}), {seconds:.1f} s: {speed_up:.0f} times faster"
        )
    lines.append("  artifacts " + ", ".join(f"{k} {v:.2f}" for k, v in row["artifacts"].items()))
    return "\n".join(lines)


def store(stem: Path, made: list[dict[str, Any]]) -> None:
    """CSV by photo and of the curves, a plot, and a sheet of photos over pictures."""
    with open(stem.with_suffix(".csv"), "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["photo", "start", "iteration", "total", "net_total"])
        for one in made:
            for start, curve in one["curves"].items():
                for iteration, value in enumerate(curve.values):
                    shown = [one["photo"], start, iteration, f"{value:.6g}"]
                    table.writerow([*shown, f"{one['terms']['total']:.6g}"])
    rows = [[to_image(one["pictures"][k]) for one in made] for k in (0, 1)]
    save_picture(stem.with_suffix(".jpg"), Picture(rgb=contact_sheet(rows)), quality=92)
    curves_plot(made, stem.with_name(f"{stem.name}_curves.png"))


def curves_plot(made: list[dict[str, Any]], path: Path) -> None:
    """Each photo's objective by iteration over that of the net, as in the paper's figure 5."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    colors = {"noise": "tab:blue", "content": "tab:orange"}
    for one in made:
        for start, curve in one["curves"].items():
            over = [value / one["terms"]["total"] for value in curve.values]
            axes.plot(over, color=colors[start], alpha=0.6, linewidth=1)
    for start in made[0]["curves"]:
        axes.plot([], color=colors[start], label=f"L-BFGS from {start}")
    axes.axhline(1, color="black", linewidth=1, label="one pass of the net")
    axes.set(xlabel="iterations", ylabel="objective over that of the net", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def update_card(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the figures into a style file, whose tensors stay as they are."""
    card = read_card(path)
    keys = ("size", "photos", "loss_network", "limit", "total", "photo_itself")
    card.evaluation = [
        {key: row[key] for key in row if key in keys or key.startswith(("iterations", "interval"))}
        | {"artifacts": {key: round(value, 4) for key, value in row["artifacts"].items()}}
        for row in rows
    ]
    rewrite_card(path, card)
    say(f"card           {path} now says so")
