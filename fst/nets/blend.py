"""Blends: one net between several of the paintings that it was trained for.

Paintings of one net share its convolutions and differ in the scales and shifts of the instance
norms, and what lies between two rows of those is a picture between the two (Dumoulin, Shlens and
Kudlur 2017, section 3.2). Nets that were trained apart cannot be blended in this way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fst.errors import FstError
from fst.nets.style_card import Card, parted_address, read_cards
from fst.nets.style_file import OF_PAINTING, arrays_of, read_checked, read_several, tensors_sha256
from fst.nets.trained_strength import at_strength, takes_strength

MOST_IN_LABEL = 4  # names


def require_weights(weights: Mapping[str, Any]) -> None:
    """Raise ``FstError`` unless there are names, and numbers in 0 .. 1 that are not all 0."""
    if not isinstance(weights, Mapping) or not weights:
        raise FstError("a blend needs the names of paintings with their weights: NAME=0.6 NAME=0.4")
    for name, weight in weights.items():
        kinds = (int, float, np.integer, np.floating)
        number = isinstance(weight, kinds) and not isinstance(weight, bool)
        if not number or not 0 <= weight <= 1:
            raise FstError(f"the weight {weight!r} of {name} in a blend is not a number in 0 .. 1")
    if not any(weights.values()):
        raise FstError(f"the weights of the blend ({', '.join(weights)}) are all 0")


def parse_blend(words: list[str]) -> dict[str, float]:
    """``NAME=0.6`` ... -> weights by name; ``FstError`` for other words."""
    weights: dict[str, float] = {}
    for word in words:
        name, equals, number = word.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not (name and equals) or math.isnan(weight):
            raise FstError(
                f"--blend {word} is not NAME=WEIGHT, for instance --blend udnie=0.6 dots=0.4; "
                "photos come before it"
            )
        if name in weights:
            raise FstError(f"--blend names {name} twice; give it one weight")
        weights[name] = weight
    require_weights(weights)
    return weights


def blend_label(weights: Mapping[str, float]) -> str:
    """What pictures of a blend are called after: ``udnie+dots``."""
    names = [name for name, weight in weights.items() if weight > 0]
    return "+".join(names) if len(names) <= MOST_IN_LABEL else f"blend_of_{len(names)}"


def read_blend(path: str | Path, weights: Mapping[str, float]) -> tuple[Card, bytes]:
    """A file of several paintings -> the card and tensors of an ordinary style between them.

    ``weights`` are divided by their sum; those left out are 0. One alone is that painting's own
    style. The card is the first one's, under the blend's name, without what was measured of that
    painting. Raises ``FstError`` for a file of one painting, for unknown names and for weights
    outside 0 .. 1, and as ``read_checked``.
    """
    require_weights(weights)
    file, _ = parted_address(path)
    cards = _several(file)
    names = [card.name for card in cards]
    for name in weights:
        if name not in names:
            raise FstError(f"{file} holds no style '{name}' to blend; it has {', '.join(names)}")
    used = {name: float(weight) for name, weight in weights.items() if weight > 0}
    found = read_several(file, list(used))
    if len(found) == 1:
        return found[0]
    from safetensors.numpy import save

    total = sum(used.values())
    shares = np.array(list(used.values())) / total
    parts = [arrays_of(data) for _, data in found]
    tensors = dict(parts[0])
    for name in filter(OF_PAINTING.search, tensors):
        rows = np.stack([part[name] for part in parts]).astype(np.float64)
        tensors[name] = (shares @ rows).astype(np.float32)
    data = save(tensors)
    card = Card(name=blend_label(used), net=cards[0].net, painting={"title": _title(used, total)})
    card.sha256 = tensors_sha256(data)
    return card, data


def _several(file: Path) -> list[Card]:
    cards = read_cards(file)
    if len(cards) == 1:
        raise FstError(
            f"{file} holds one painting, and a blend is between those of one net: "
            "`fst train 'styles=[A,B]'` trains such a net, and the shipped `base` is one of 24"
        )
    return cards


def card_of_several(path: str | Path) -> Card:
    """The name and the net that the paintings of a file share; ``FstError`` for other files."""
    require_unnamed(path)
    file = Path(path)
    return Card(name=file.stem, net=_several(file)[0].net)


def require_unnamed(path: str | Path) -> None:
    """Raise ``FstError`` for the address of one painting, where several are to be blended."""
    file, name = parted_address(path)
    if name is not None:
        raise FstError(f"{path} names one painting, and a blend several; give {file} alone")


def read_style(
    path: str | Path, blend: Mapping[str, float] | None = None, strength: float = 1.0
) -> tuple[Card, bytes]:
    """``read_blend``, or ``read_checked`` where nothing is blended.

    Of a net that takes strengths, the ordinary style that it is at ``strength``.
    """
    card, data = read_checked(path) if blend is None else read_blend(path, blend)
    return at_strength(card, data, strength) if takes_strength(card) else (card, data)


def _title(used: Mapping[str, float], total: float) -> str:
    return " and ".join(f"{weight / total:.0%} {name}" for name, weight in used.items())
