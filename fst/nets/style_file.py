"""One file is one trained net: its tensors in safetensors, its card as JSON in the metadata.

A net of several paintings is one file too, of format 2: the tensors that all share, the scales and
shifts of shape (paintings, channels), and a card a painting. ``FILE.safetensors:NAME`` is the
address of one of them, which every reader takes in place of a file and reads as the ordinary style
that it is; its checksum is that of its own tensors. Format 3 is a net of one painting that takes
strengths, with two rows of scales and shifts (``fst.nets.trained_strength``).

Nothing is pickled, so a style file from anywhere is safe to load. Reading needs neither Hydra nor
Lightning nor any config: the card says how the net is built. torch is imported where the net itself
is asked for; cards and checksums do without it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import deserialize

import fst
from fst.errors import FstError
from fst.nets.card_schema import finite, whole_sha256
from fst.nets.style_card import (
    FORMAT,
    FORMAT_VERSION,
    SEVERAL_VERSION,
    STRENGTHS_VERSION,
    Card,
    parted,
    parted_address,
    read_card,
    read_cards,
)
from fst.system.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from fst.nets.transformer_net import TransformerNet

MIN_SIDE = 16  # pixels of a photo: the least that a net is promised, tested and exported for
OF_PAINTING = re.compile(r"(^|\.)norm\d+\.(weight|bias)$")  # tensors with a row a painting
# safetensors' names of types -> torch's, which the checksum is made with
DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
NUMPY_TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}  # which has no bfloat16


def tensors_sha256(data: bytes) -> str:
    """SHA-256 over names, types, shapes and bytes of a safetensors file, in order of the names."""
    digest = hashlib.sha256()
    for name, tensor in _sorted(data):
        dtype = DTYPES.get(tensor["dtype"], tensor["dtype"])
        digest.update(f"{name} torch.{dtype} {tuple(tensor['shape'])}\n".encode())
        digest.update(tensor["data"])
    return digest.hexdigest()


def _sorted(data: bytes) -> list[tuple[str, Any]]:
    return sorted(deserialize(data), key=lambda item: item[0])


def _require_whole(path: str | Path, data: bytes, card: Card) -> None:
    """Raise ``FstError`` unless tensors match the card's checksum and are finite numbers."""
    if tensors_sha256(data) != card.sha256:
        raise FstError(f"{path} is damaged: its tensors do not match the checksum in its card")
    for name, values in arrays_of(data).items():
        with np.errstate(over="ignore"):
            if not np.isfinite(values.astype("<f4")).all():
                raise FstError(f"{path} is damaged: {name} of its net holds NaN or infinity")


def arrays_of(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file by name, in its order; bfloat16 as the same float32."""
    found = {}
    for name, tensor in deserialize(data):
        if tensor["dtype"] == "BF16":  # the upper half of a float32
            values = (np.frombuffer(tensor["data"], "<u2").astype("<u4") << 16).view("<f4")
        else:
            values = np.frombuffer(tensor["data"], NUMPY_TYPES[tensor["dtype"]])
        found[name] = values.reshape(tensor["shape"])
    return found


def save_style(path: str | Path, net: TransformerNet, card: Card, *, half: bool) -> None:
    """Write a style file whole or not at all; ``half`` stores float16 (3.4 MB at width 32).

    Fills in the card's net arguments, version and checksum. Refuses NaN and infinity.
    """
    tensors = _stored(path, net, half=half)
    card.net = net.arguments
    card.fst_version = fst.__version__
    card.format_version = STRENGTHS_VERSION if net.strengths else FORMAT_VERSION
    card.sha256 = tensors_sha256(_serialized(tensors))
    _write(Path(path), tensors, card)


def _stored(path: str | Path, net: TransformerNet, *, half: bool) -> dict[str, Tensor]:
    """The tensors of a net as a file holds them; ``FstError`` for NaN and infinity."""
    import torch

    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: tensor.detach().cpu().to(dtype).contiguous()
        for name, tensor in net.state_dict().items()
    }
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise FstError(f"{path} is not written: {name} of the net holds NaN or infinity")
    return tensors


def _serialized(tensors: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    return save(tensors)


def save_styles(
    path: str | Path, net: TransformerNet, cards: Sequence[Card], *, half: bool
) -> None:
    """``save_style`` of a net of one painting or of several, with a card for each.

    What all cards have in common stands in the file once.
    """
    if net.paintings == 1:
        return save_style(path, net, cards[0], half=half)
    names = [card.name for card in cards]
    assert len(set(names)) == len(names) == net.paintings
    tensors = _stored(path, net, half=half)
    data = _serialized(tensors)
    for row, card in enumerate(cards):
        card.net = net.of_painting(row).arguments
        card.fst_version = fst.__version__
        card.format_version = FORMAT_VERSION
        card.sha256 = tensors_sha256(rows_of(data, row))
    _write_several(Path(path), tensors, cards)


def _write_several(path: Path, tensors: dict[str, Tensor], cards: Sequence[Card]) -> None:
    from safetensors.torch import save

    for row, card in enumerate(cards):
        card.sha256_all = whole_sha256(asdict(card), row)
    every = [finite(asdict(card)) for card in cards]
    shared, own = parted(every)
    top = {
        "format_version": SEVERAL_VERSION,
        "sha256": tensors_sha256(save(tensors)),
        "shared": shared,
        "styles": own,
    }
    metadata = {"format": FORMAT, "card": json.dumps(top, ensure_ascii=False)}
    write_whole(path, save(tensors, metadata))


def rewrite_card(path: str | Path, card: Card) -> None:
    """Put another card into a style file and leave its tensors as they are."""
    from safetensors.torch import load

    file, name = parted_address(path)
    data = _checked_file(file)
    if name is None:
        return _write(file, load(data), card)
    cards = [card if one.name == name else one for one in read_cards(file)]
    _write_several(file, load(data), cards)


def _write(path: Path, tensors: dict[str, Tensor], card: Card) -> None:
    from safetensors.torch import save

    card.sha256_all = whole_sha256(asdict(card), None)
    metadata = {"format": FORMAT, "card": json.dumps(finite(asdict(card)), ensure_ascii=False)}
    write_whole(path, save(tensors, metadata))


def load_style(path: str | Path, name: str | None = None) -> tuple[TransformerNet, Card]:
    """A style -> (float32 net in eval mode on the CPU, card), its checksum verified.

    ``path`` is a file, or the address of one painting of several, which ``name`` may give too.
    Raises ``FstError`` for a file that is missing, damaged, foreign, of a newer format, or of
    several paintings where none is named.
    """
    if name is not None:
        path = f"{path}:{name}"
    card, data = read_checked(path)
    return built(path, data, card.net), card


def load_styles(path: str | Path) -> tuple[TransformerNet, list[Card]]:
    """The whole net of a file, of one painting or of several, and its cards; see ``load_style``."""
    file, name = parted_address(path)
    cards = read_cards(file)
    if name is not None or len(cards) == 1:
        net, card = load_style(path)
        return net, [card]
    arguments = {**cards[0].net, "paintings": len(cards)}
    return built(file, _checked_file(file), arguments), cards


def read_whole(file: Path) -> tuple[list[Card], bytes]:
    """The cards of a file and its tensors, of all paintings; see ``read_checked``."""
    return read_cards(file), _checked_file(file)


def built(path: str | Path, data: bytes, arguments: Mapping[str, Any]) -> TransformerNet:
    """The net of a safetensors file's tensors, in eval mode on the CPU; ``path`` names it."""
    from safetensors.torch import load

    from fst.nets.transformer_net import TransformerNet

    try:
        net = TransformerNet(**arguments)
        net.load_state_dict({name: tensor.float() for name, tensor in load(data).items()})
    except (TypeError, RuntimeError):
        raise FstError(f"{path} is damaged: its tensors do not fit the net in its card") from None
    return net.eval().requires_grad_(False)


def read_checked(path: str | Path) -> tuple[Card, bytes]:
    """The card and the tensors as a safetensors file, which match the checksum in the card.

    Raises ``FstError`` as ``load_style`` does.
    """
    card, (file, name) = read_card(path), parted_address(path)
    data = file.read_bytes()
    if name is not None:
        data = rows_of(data, [one.name for one in read_cards(file)].index(name))
    _require_whole(path, data, card)
    return card, data


def style_bytes(path: str | Path) -> bytes:
    """The bytes of a style's own file, which were checked; see ``read_checked``.

    Of one painting of several, those of a file that it has to itself.
    """
    card, data = read_checked(path)
    file, name = parted_address(path)
    if name is None or len(read_cards(file)) == 1:
        return data
    from safetensors.numpy import load, save

    card.sha256_all = whole_sha256(asdict(card), None)
    metadata = {"format": FORMAT, "card": json.dumps(finite(asdict(card)), ensure_ascii=False)}
    return save(load(data), metadata)


def read_several(file: Path, names: Sequence[str]) -> list[tuple[Card, bytes]]:
    """``read_checked`` of some paintings in a file of several, which is read once."""
    cards = {card.name: (row, card) for row, card in enumerate(read_cards(file))}
    data, found = file.read_bytes(), []
    for row, card in (cards[name] for name in names):
        own = rows_of(data, row)
        _require_whole(f"{file}:{card.name}", own, card)
        found.append((card, own))
    return found


def _checked_file(file: Path) -> bytes:
    """The bytes of a whole file, each painting of which matches its checksum."""
    data, cards = file.read_bytes(), read_cards(file)
    for row, card in enumerate(cards):
        own = data if len(cards) == 1 else rows_of(data, row)
        _require_whole(file, own, card)
    return data


def rows_of(data: bytes, row: int) -> bytes:
    """A file of several paintings -> that of one of them, without a card."""
    from safetensors.numpy import load, save  # torch is not needed for this

    tensors = load(data)
    for name in filter(OF_PAINTING.search, tensors):
        if tensors[name].ndim == 2:
            tensors[name] = tensors[name][row]
    return save(tensors)
