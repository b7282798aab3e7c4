"""What loggers are told of a run in words, and what a terminal is told at its end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from fst.experiments.config import Config
from fst.experiments.loggers import how_to_look
from fst.experiments.run_folder import RunFolder
from fst.nets.style_card import Card, read_cards
from fst.nets.style_names import shipped_styles, trained_styles
from fst.pictures.artifact_words import artifacts_in_words
from fst.system.console import duration, say
from fst.training.callbacks import read_skipped
from fst.training.datamodule import PhotoData
from fst.training.journal import note_text


def note_start(
    trainer: pl.Trainer, config: Config, run: RunFolder, data: PhotoData, step: int
) -> None:
    """Tell every logger the command, the resolved config, the versions and the photos of a run."""
    about = run.about()
    command = " ".join(map(str, about.get("command", [])))
    versions = {key: about.get(key) for key in ("fst", "commit", "python", "machine", "packages")}
    settings = yaml.safe_dump(config.plain(), sort_keys=False, allow_unicode=True)
    note_text(trainer, "about/command", fenced(command), step)
    note_text(trainer, "about/config", fenced(settings, "yaml"), step)
    note_text(trainer, "about/versions", fenced(json.dumps(versions, indent=1), "json"), step)
    note_text(trainer, "about/photos", photos_in_words(config, run, data), step)


def note_end(
    trainer: pl.Trainer, config: Config, run: RunFolder, data: PhotoData, cards: Sequence[Card]
) -> None:
    """Tell every logger the card of each painting, and the photos that could not be read."""
    step = trainer.global_step
    for card in cards:
        name = "about/card" if len(cards) == 1 else f"about/card_{card.name}"
        told = {key: value for key, value in asdict(card).items() if key != "thumbnail"}
        note_text(trainer, name, fenced(json.dumps(told, indent=1, default=str), "json"), step)
    note_text(trainer, "about/photos", photos_in_words(config, run, data), step)


def fenced(text: str, kind: str = "") -> str:
    """A text as a block of Markdown."""
    return f"```{kind}\n{text.rstrip()}\n```"


def photos_in_words(config: Config, run: RunFolder, data: PhotoData) -> str:
    """How many photos there are, where, and which of them could not be read; in Markdown."""
    lines = [
        f"{len(data.train_paths)} photos to train on, {len(data.val_paths)} held out, of "
        f"`{config.data.root}`; {len(skipped(run))} could not be read."
    ]
    return "\n".join([*lines, "", *(f"- `{path}`" for path in sorted(skipped(run)))]).rstrip()


def skipped(run: RunFolder) -> set[str]:
    """The photos that any process of a run could not read."""
    reports = run.path.glob(f"{run.skipped_photos.stem}*")
    return {photo for report in reports for photo in read_skipped(report)}


def say_result(config: Config, run: RunFolder, path: Path, painting: str) -> None:
    """The result of a run, right at its end or later; ``painting`` is the first one's name."""
    bad = skipped(run)
    if bad:
        say(f"skipped        {len(bad)} unreadable photos, named in {run.skipped_photos}")
    card = read_cards(path)[0]
    say(f"style file     {path} ({path.stat().st_size / 1e6:.1f} MB)", path=path)
    picture = run.picture_file(config.style.name)
    if picture.exists():
        say(f"picture        {picture}: photo, painting, result", path=picture)
    if card.losses:
        say(f"held out       {losses_in_words(card)}", losses=card.losses)
    if card.artifacts:
        say(f"artifacts      {artifacts_in_words(card.artifacts)}", scores=card.artifacts)
    steps, minutes = card.training.get("steps"), card.training.get("minutes")
    if isinstance(minutes, int | float):
        say(
            f"time taken     {duration(60 * minutes)} of training, {steps} steps",
            minutes=minutes,
            steps=steps,
        )
    address = path if config.style.name == painting else Path(f"{path}:{painting}")
    known = {**trained_styles(), **shipped_styles()}.get(painting)  # as fst stylize looks for it
    by_name = known is not None and known.resolve() == address.resolve()
    say(f'try it         fst stylize PHOTO.jpg --style "{painting if by_name else address}"')
    for number, line in enumerate(how_to_look(config, run)):
        say(f"{'' if number else 'curves':<15}{line}")


def losses_in_words(card: Card) -> str:
    """The held-out losses of a card; those of the untouched photos beside them, if it has them."""
    names = {"content": "content", "style": "style", "tv": "total variation", "moving": "moving"}
    parts = [f"{word} {card.losses[k]:.3g}" for k, word in names.items() if k in card.losses]
    total = card.losses.get("total")
    told = f"{' + '.join(parts)} = {total:.3g}" if parts and total is not None else ""
    if total is not None and not parts:
        told = f"total {total:.3g}"
    untouched = _number(card.training, "untouched")
    return f"{told}; the untouched photos have {untouched:.3g}" if untouched is not None else told


def _number(mapping: Mapping[str, Any], key: str) -> float | None:
    value = mapping.get(key)
    return float(value) if isinstance(value, int | float) else None
