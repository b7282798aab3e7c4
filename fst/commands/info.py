"""fst info STYLE: what a style is, as a label; its whole card with --json.

fst info great_wave
fst info runs/mine/mine.safetensors --json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fst.nets.style_card import (
    TRUST_HELP,
    Card,
    bf16_in_words,
    cards_trusted,
    parted_address,
    read_card,
)
from fst.nets.style_names import find_style
from fst.pictures.artifact_words import artifacts_in_words
from fst.system.console import Parser, duration, shown_in_line


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="fst info", description="Show what a style is: its card.")
    parser.add_argument("style", metavar="STYLE", help="name or style file")
    parser.add_argument("--json", action="store_true", help="print the whole card as JSON")
    parser.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
    options = parser.parse_args(argv)
    with cards_trusted(options.trust_card):
        return _show(options)


def _show(options: argparse.Namespace) -> int:
    path = find_style(options.style)
    card = read_card(path)
    if options.json:
        told = asdict(card)
        del told["thumbnail"]  # a picture in letters: `fst list --sheet` shows it
        print(_escaped(json.dumps(told, indent=1, ensure_ascii=False)))
        return 0
    for name, text in label(path, card, options.style):
        if text:
            print(f"{name:<15}{shown_in_line(text)}")
    return 0


def label(path: Path, card: Card, asked: str) -> Iterator[tuple[str, str]]:
    """The lines of a style's label: what each is about, and what is to be said; "" if nothing.

    ``asked`` is what the user called it.
    """
    training, data, painting = card.training, card.data, card.painting
    title = _listed(painting, "title", "artist", "year") or "your own painting"
    size = parted_address(path)[0].stat().st_size / 1e6
    yield "style", f"{card.name}: {title}"
    yield "license", f"of the painting: {painting['license']}" if painting.get("license") else ""
    yield "file", f"{path} ({size:.1f} MB)"
    width, blocks = card.net.get("width"), card.net.get("residual_blocks")
    takes = ", takes a strength" if card.net.get("strengths") else ""
    yield "net", f"width {width}, {blocks} residual blocks{takes}" if width else ""
    minutes = training.get("minutes")
    parts = [
        f"{training['steps']} steps" if "steps" in training else "",
        f"of {training['batch_size']} photos" if "batch_size" in training else "",
        f"at {training['size']} px" if "size" in training else "",
        f"in {duration(60 * minutes)}" if isinstance(minutes, int | float) else "",
        f"on {training['machine']}" if training.get("machine") else "",
    ]
    yield "trained", " ".join(part for part in parts if part)
    origin = training.get("warm_start")
    yield "begun with", f"the net of {origin.get('name')}" if isinstance(origin, dict) else ""
    went_on = training.get("went_on")
    yield "went on", "; ".join(map(str, went_on)) if isinstance(went_on, list) else ""
    strength = training.get("strength")
    yield "strength", str(strength) if strength is not None else ""
    weights = training.get("weights")
    yield "weights", _figures(weights) if isinstance(weights, dict) else ""
    photos = [
        f"{data['photos']} to train on" if data.get("photos") else "",
        f"{data['held_out']} held out" if data.get("held_out") else "",
        _listed(data, "description", "license"),
    ]
    yield "photos", ", ".join(part for part in photos if part)
    yield "loss network", _listed(card.loss_network, "description", "license")
    yield "held out", _figures(card.losses)
    yield "artifacts", artifacts_in_words(card.artifacts) if card.artifacts else ""
    yield "bfloat16", bf16_in_words(card)
    for row in card.evaluation:
        worth = row.get("iterations_from_content", row.get("iterations_from_noise"))
        if isinstance(worth, int | float):
            yield "worth", f"{worth:.0f} iterations of optimization at {row.get('size')} px"
    yield "made by", f"fst {card.fst_version}" if card.fst_version else ""
    yield "checksum", card.sha256_all or card.sha256
    yield "use it", f'fst stylize PHOTO.jpg --style "{asked}"; --json prints the whole card'


def _listed(mapping: Mapping[str, Any], *keys: str) -> str:
    return ", ".join(str(mapping[key]) for key in keys if mapping.get(key))


def _figures(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" for name, value in values.items() if isinstance(value, int | float)
    )


def _escaped(text: str) -> str:
    """JSON that means the same, with what would steer a terminal as its escapes."""
    return "".join(c if c == "\n" or shown_in_line(c) == c else json.dumps(c)[1:-1] for c in text)
