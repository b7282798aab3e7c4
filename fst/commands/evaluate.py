"""fst evaluate STYLE PHOTOS: what one pass is worth, in L-BFGS iterations.

fst evaluate starry_night held_out/ style.root=paintings/
fst evaluate 'styles=[runs/a/a.safetensors]' data.root=held_out/ 'sizes=[256,512]' photos=4
"""

from __future__ import annotations

import json
import sys
from typing import Any

from omegaconf import MISSING, DictConfig

from fst.data.photo_files import list_photos, readable
from fst.errors import FstError
from fst.evaluation.equivalent_iterations import STARTS, on_flat_photos, one_photo
from fst.evaluation.report import in_words, store, summary, update_card
from fst.evaluation.trained_with import loss_of, network_of, painting_of, trained_size
from fst.experiments.config import Config, resolved
from fst.experiments.parts import build_network
from fst.experiments.settings import check_settings, run_hydra
from fst.nets.style_card import cards_trusted, parted_address, read_card
from fst.nets.style_names import find_style
from fst.system.console import say
from fst.system.files import make_folder, unused, write_whole
from fst.system.machine import choose_device, machine
from fst.system.paths import user_path

LEAST_SIZE = 32  # pixels that artifacts can be scored on


def main(argv: list[str] | None = None) -> None:
    """``argv`` are Hydra overrides and flags, as after ``fst evaluate`` on a command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    trusted = "--trust-card" in arguments
    with cards_trusted(trusted):
        run_hydra("evaluate", evaluate, [a for a in arguments if a != "--trust-card"])


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
            raise FstError(f"{key} is not given; say `fst evaluate STYLE PHOTOS`")
    paths = [find_style(style) for style in config.styles]
    if config.style.image is not None and len(paths) > 1:
        raise FstError(
            f"style.image={config.style.image} is one painting, but there are {len(paths)} styles; "
            "evaluate them one by one, or give the folder of their paintings with style.root"
        )
    every = list_photos(config.data.root)
    count = min(config.photos, len(every))
    photos = readable([every[k * len(every) // count] for k in range(count)])
    folder = unused(user_path(config.run_dir))
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
        asked = config.loss_network is not None
        network = build_network(config) if asked else network_of(path, card)
        network = network.to(choose_device(config.device))
        named = config.style
        painting = painting_of(path, card, image=named.image, root=named.root)
        say(f"style          {label}: {painting.source}, loss network {network.description}")
        loss = loss_of(card, network, painting)
        measured = []
        for size in sizes:
            made = [
                one_photo(
                    path,
                    photo,
                    loss,
                    painting.image,
                    size=size,
                    trained_at=trained_size(card, "size"),
                    starts=starts,
                    seed=config.seed,
                    limit=config.limit,
                )
                for photo in photos
            ]
            row = {"name": label, "size": size, "loss_network": network.description}
            row |= summary(made, config.limit)
            row["artifacts_flat"] = on_flat_photos(path, painting.image, size, config.device)
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


def as_list(value: Any) -> list[Any]:
    """A setting that may be one value or several."""
    return list(value) if isinstance(value, list) else [value]
