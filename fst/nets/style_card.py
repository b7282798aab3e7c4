"""What a style file says of itself: its card, or a card a painting, as JSON in the metadata.

``FILE.safetensors:NAME`` is the address of one painting of several, which every reader takes in
place of a file. Reading a card needs neither torch nor Hydra nor Lightning, and not the tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

import fst
from fst.errors import FstError
from fst.system.old_names import in_new_names

FORMAT = "fst-style"
FORMAT_VERSION = 1  # of a single painting's file
SEVERAL_VERSION = 2
SUFFIX = ".safetensors"


@dataclass
class Card:
    """What a style file says of itself. ``training``, ``losses``, ``export`` are open mappings."""

    name: str
    net: dict[str, Any]  # arguments of TransformerNet
    painting: dict[str, Any] = field(default_factory=dict)  # title, artist, year, license
    loss_network: dict[str, Any] = field(default_factory=dict)  # description, license
    data: dict[str, Any] = field(default_factory=dict)  # description, photos, license
    training: dict[str, Any] = field(default_factory=dict)  # steps, size, weights, time, machine
    losses: dict[str, float] = field(default_factory=dict)  # final, on held-out photos
    artifacts: dict[str, float] = field(default_factory=dict)  # final, on held-out photos
    export: dict[str, Any] = field(default_factory=dict)  # parity of exported graphs
    evaluation: list[dict[str, Any]] = field(default_factory=list)  # by `fst evaluate`, if run
    fst_version: str = ""
    sha256: str = ""  # of the tensors, see tensors_sha256
    format_version: int = FORMAT_VERSION


def read_card(path: str | Path) -> Card:
    """The card of a style, without reading its tensors; ``FstError`` as ``load_style`` has."""
    file, name = parted_address(path)
    cards = read_cards(file)
    names = [card.name for card in cards]
    if name is None and len(cards) > 1:
        raise FstError(
            f"{file} holds {len(cards)} styles; name one, {file}:{names[0]} or "
            f"another of {', '.join(names[1:])}"
        )
    if name is not None and name not in names:
        raise FstError(f"{file} holds no style '{name}'; it has {', '.join(names)}")
    return cards[0 if name is None else names.index(name)]


def read_cards(path: str | Path) -> list[Card]:
    """The cards of a file, one a painting; ``FstError`` for a foreign or damaged file."""
    path = Path(path)
    if not path.is_file():
        raise FstError(f"style file {path} does not exist; `fst list` shows the styles at hand")
    try:
        with safe_open(str(path), "np") as handle:
            metadata = handle.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise FstError(f"{path} is damaged or not a style file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise FstError(f"{path} is not a style of fst: its metadata lack format '{FORMAT}'")
    try:
        fields = json.loads(metadata["card"])
        version = int(fields["format_version"])
    except (KeyError, ValueError, TypeError):
        raise FstError(f"{path} is damaged: its card cannot be read") from None
    if version > SEVERAL_VERSION:
        raise FstError(
            f"{path} has style format {version}, newer than {SEVERAL_VERSION}, the newest that "
            f"fst {fst.__version__} reads; update fst"
        )
    if version < SEVERAL_VERSION:
        return [_card(path, fields)]
    try:
        every = [joined(fields["shared"], own) for own in fields["styles"]]
    except (KeyError, TypeError, AttributeError):
        raise FstError(f"{path} is damaged: its cards cannot be read") from None
    cards = [_card(path, one) for one in every]
    if len({card.name for card in cards}) != len(cards) or len(cards) < 2:
        raise FstError(f"{path} is damaged: its styles have no names of their own")
    return cards


def _card(path: Path, fields: Mapping[str, Any]) -> Card:
    new = in_new_names(fields)
    known = {key: value for key, value in new.items() if key in Card.__dataclass_fields__}
    try:
        card = Card(**known)
    except TypeError:
        raise FstError(f"{path} is damaged: its card lacks fields") from None
    mappings = (card.net, card.painting, card.loss_network, card.data, card.training)
    if not all(isinstance(part, dict) for part in (*mappings, card.losses, card.export)):
        raise FstError(f"{path} is damaged: its card has fields of the wrong kind")
    if not _is_plain_name(card.name):
        raise FstError(f"{path} is not safe to use: its name {card.name!r} is no plain file name")
    return card


def parted_address(path: str | Path) -> tuple[Path, str | None]:
    """``FILE.safetensors:NAME`` -> file and name; a file's own path -> the file and None."""
    file, colon, name = str(path).rpartition(f"{SUFFIX}:")
    if not colon or Path(path).exists():
        return Path(path), None
    return Path(file + SUFFIX), name


def parted(
    every: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Mappings -> what all have in common, and what each has besides; ``joined`` undoes it."""
    shared: dict[str, Any] = {}
    own: list[dict[str, Any]] = [{} for _ in every]
    for key in every[0]:
        values = [one[key] for one in every]
        if all(value == values[0] for value in values):
            shared[key] = values[0]
        elif all(isinstance(v, dict) and v.keys() == values[0].keys() for v in values):
            shared[key], parts = parted(values)
            for one, part in zip(own, parts, strict=True):
                one[key] = part
        else:
            for one, value in zip(own, values, strict=True):
                one[key] = value
    return shared, own


def joined(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What all have in common and what one has besides -> its whole mapping; undoes ``parted``."""
    both = {**shared, **own}
    for key in shared.keys() & own.keys():
        if isinstance(shared[key], dict) and isinstance(own[key], dict):
            both[key] = joined(shared[key], own[key])
    return both


def net_width(card: Card) -> float:
    """Channels after the net's first convolution, which time and memory go by."""
    width = card.net.get("width")
    return width if isinstance(width, int | float) and width > 0 else 32


def _is_plain_name(name: object) -> bool:
    """Names become parts of output paths, so a stranger's card must not steer them elsewhere."""
    return (
        isinstance(name, str)
        and name not in ("", ".", "..")
        and name.isprintable()
        and not set(name) & set("/\\")
    )
