"""Finished runs side by side: what varies between them, their pictures, and how they rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fst.errors import FstError
from fst.evaluation.run_settings import run_settings
from fst.experiments.known_settings import may_change
from fst.inference.stylizer import Stylizer
from fst.nets.style_card import SUFFIX, Card, is_plain_name, read_cards
from fst.pictures.artifacts import Artifacts, find_artifacts
from fst.pictures.image import Picture, to_array
from fst.pictures.painting import find_painting
from fst.pictures.sheet import contact_sheet, label
from fst.system.console import flat


@dataclass(frozen=True)
class Run:
    """One finished run: its folder, style file, card and flattened settings."""

    folder: Path
    style: Path
    card: Card
    settings: dict[str, Any]


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """The finished runs in ``folders`` or one level below them, such as those of a multirun.

    Raises ``FstError`` where there are none; unfinished ones are left out.
    """
    found: list[Run] = []
    for folder in folders:
        if not folder.is_dir():
            raise FstError(f"{folder} is not a folder; give run folders or the folder of a sweep")
        for place in [folder, *sorted(p for p in folder.iterdir() if p.is_dir())]:
            config = place / "config.yaml"
            if not config.exists():
                continue
            settings = run_settings(config)
            name = (settings.get("style") or {}).get("name")
            style = place / f"{name}{SUFFIX}"
            if not is_plain_name(name) or not style.exists():
                continue
            cards = read_cards(style)
            if len(cards) == 1:
                found.append(Run(place, style, cards[0], flat(settings)))
                continue
            several = settings.get("paintings", [])
            if len(several) != len(cards):
                raise FstError(f"{config} is damaged: {style} has {len(cards)} paintings, not it")
            for card, own in zip(cards, several, strict=True):
                address = Path(f"{style}:{card.name}")
                found.append(Run(place, address, card, flat({**settings, "style": own})))
    if not found:
        named = ", ".join(map(str, folders))
        raise FstError(f"there is no finished run in {named}; `fst train -m ...` makes a sweep")
    return sorted(found, key=lambda run: _natural(run.folder.name))


def varying(runs: Sequence[Run]) -> list[str]:
    """The settings in which runs differ, those that change nothing left out."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [
        key
        for key in keys
        if len({repr(run.settings.get(key)) for run in runs}) > 1 and not may_change(key)
    ]


def rank(runs: Sequence[Run], artifacts: Sequence[Artifacts]) -> list[dict[str, Any]]:
    """One row a run, best first: by the mean of its ranks in content, style and artifacts.

    Content and style are the held-out losses over their weights, so that runs of other weights
    compare; runs of other losses or paintings do not.
    """
    rows: list[dict[str, Any]] = []
    keys = varying(runs)
    for run, scores in zip(runs, artifacts, strict=True):
        weights = run.card.training.get("weights")
        weights = weights if isinstance(weights, dict) else {}
        row: dict[str, Any] = {"run": str(run.folder)}
        row |= {key: run.settings.get(key) for key in keys}
        row |= {
            key: _number(run.card.losses.get(key)) / (_number(weights.get(key) or 1) or 1)
            for key in ("content", "style")
        }
        row |= {"total": run.card.losses.get("total"), "findings": " ".join(scores.findings())}
        row |= {key: round(value, 4) for key, value in scores._asdict().items()}
        rows.append(row)
    orders = [sorted(row[key] for row in rows) for key in ("content", "style")]
    worst = sorted(len(row["findings"].split()) for row in rows)
    for row in rows:
        ranks = [
            order.index(row[key]) if row[key] in order else len(rows)
            for key, order in zip(("content", "style"), orders, strict=True)
        ]
        row["rank"] = round((sum(ranks) + worst.index(len(row["findings"].split()))) / 3 + 1, 2)
    return sorted(rows, key=lambda row: (row["rank"], row["lattice"]))


def pictures(run: Run, photos: Sequence[Image.Image]) -> tuple[list[Image.Image], Artifacts]:
    """The photos stylized by a run, and their mean artifacts.

    The painting's colors are welcome; without a painting any are.
    """
    stylizer = Stylizer(run.style)
    painting = painting_of(run)
    made = [stylizer.picture(Picture(rgb=photo)).rgb for photo in photos]
    found = [
        find_artifacts(_colors(picture), _colors(photo), painting)
        for picture, photo in zip(made, photos, strict=True)
    ]
    means = Artifacts(*(sum(values) / len(found) for values in zip(*found, strict=True)))
    return made, means if painting is not None else means._replace(color_drift=0.0)


def painting_of(run: Run) -> np.ndarray | None:
    """The painting of a run (3, H, W), RGB in [0, 1]; None where it is gone."""
    keys = ("image", "painted", "file", "root", "size")
    named: dict[str, Any] = {key: run.settings.get(f"style.{key}") for key in keys}
    try:
        return _colors(find_painting(**named)[2])
    except FstError:
        return None


def grid_of(
    runs: Sequence[Run], made: Sequence[Sequence[Image.Image]], photos: Sequence[Image.Image]
) -> Image.Image:
    """A labeled sheet: one setting down and one across if two vary, else a row for each run."""
    keys = varying(runs)
    if len(keys) == 2:
        down, across = keys
        values = [_distinct([run.settings.get(key) for run in runs]) for key in keys]
        if len(runs) == len(values[0]) * len(values[1]):
            place = {
                (repr(run.settings.get(down)), repr(run.settings.get(across))): pictures[0]
                for run, pictures in zip(runs, made, strict=True)
            }
            blank = Image.new("RGB", photos[0].size, "white")
            rows = [[label(""), *(label(f"{across}={v}", photos[0].width) for v in values[1])]]
            for value in values[0]:
                cells = [place.get((repr(value), repr(v)), blank) for v in values[1]]
                rows.append([label(f"{down}=\n{value}", height=photos[0].height), *cells])
            return contact_sheet(rows)
    rows = [[label("photo", height=photos[0].height), *photos]]
    for run, pictures in zip(runs, made, strict=True):
        text = "\n".join(f"{key}=\n{run.settings.get(key)}" for key in keys) or run.folder.name
        rows.append([label(text, height=photos[0].height), *pictures])
    return contact_sheet(rows)


def _colors(image: Image.Image) -> np.ndarray:
    """An RGB picture -> (3, H, W) in [0, 1]."""
    return to_array(image)[0] / 255


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _distinct(values: Sequence[Any]) -> list[Any]:
    return list({repr(value): value for value in values}.values())


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (10**9, name)
