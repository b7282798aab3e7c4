"""What strangers' files hold: wrong cards, networks, checkpoints and configs, by what is wrong."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "width 3000": lambda card: card["net"].update(width=3000),
    "width of a float": lambda card: card["net"].update(width=4.0),
    "width of true": lambda card: card["net"].update(width=True),
    "width below 0": lambda card: card["net"].update(width=-4),
    "no width": lambda card: card["net"].pop("width"),
    "blocks without end": lambda card: card["net"].update(residual_blocks=10**9),
    "a number without end": lambda card: card["net"].update(residual_blocks=10**300),
    "gain of text": lambda card: card["net"].update(output_gain="0.1"),
    "gain of NaN": lambda card: card["net"].update(output_gain=float("nan")),
    "another argument": lambda card: card["net"].update(device="meta"),
    "several paintings": lambda card: card["net"].update(paintings=3),
    "unknown upsampling": lambda card: card["net"].update(upsampling="bilinebr"),
    "upsampling of a list": lambda card: card["net"].update(upsampling=["nearest"]),
    "format of infinity": lambda card: card.update(format_version=float("inf")),
    "format of a list": lambda card: card.update(format_version=[1]),
    "format 2 without styles": lambda card: card.update(format_version=2),
    "format 2 of text": lambda card: card.update(format_version=2, shared={}, styles="ab"),
    "losses of text": lambda card: card.update(losses={"total": "low"}),
    "losses of infinity": lambda card: card.update(losses={"total": float("inf")}),
    "evaluation of numbers": lambda card: card.update(evaluation=[1, 2]),
    "a checksum of numbers": lambda card: card.update(sha256=5),
    "half a letter": lambda card: card.update(painting={"title": "\ud800"}),
    "a name without end": lambda card: card.update(name="a" * 5000),
    "a checksum of another card": lambda card: card.update(sha256_all="0" * 64),
}


def first_layer(tensor: torch.Tensor) -> Callable[[dict[str, Any]], object]:
    return lambda state: state.update({"features.0.weight": tensor})


STRANGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "sparse": first_layer(torch.eye(4).to_sparse()),
    "meta": first_layer(torch.empty(4, 3, 3, 3, device="meta")),
    "stride of 0": first_layer(torch.zeros(1).expand(10**9, 3, 3, 3)),
    "integers": first_layer(torch.zeros(4, 3, 3, 3, dtype=torch.int64)),
    "complex": first_layer(torch.zeros(4, 3, 3, 3, dtype=torch.complex64)),
    "many views": lambda state: state.update(
        dict.fromkeys((f"y{number}" for number in range(500)), torch.zeros(10**6))
    ),
    "no channels": lambda state: state.update(
        {"features.0.weight": torch.zeros(0, 3, 3, 3), "features.0.bias": torch.zeros(0)}
    ),
    "keys of numbers": lambda state: state.update({5: torch.zeros(1)}),  # type: ignore[dict-item]
    "a list": lambda state: state.update(more=[1, 2]),
    "an object": lambda state: state.update(more=Path("x")),
}


# of checkpoints whose checksum is right
CONTENTS: list[dict[str, Any]] = [
    {},
    {"global_step": "5", "state_dict": {}},
    {"global_step": True, "state_dict": {}},
    {"global_step": -1, "state_dict": {}},
    {"global_step": 2**80, "state_dict": {}},
    {"global_step": 5, "state_dict": [1]},
]

BOMB = "a0: &a0 [1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
CONFIGS = {
    "empty": "",
    "null": "null",
    "a list": "[1, 2]",
    "a number": "5",
    "a bomb": BOMB,
    "a loop": "&a {style: *a}",
    "deep": "[" * 3000,
    "deep in dashes": "- " * 3000,
    "no YAML": "style: [",
    "no text": "style: \udcff",
    "an object": "!!python/object/apply:os.system [true]",
    "a date of no month": "a: 2020-99-99",
    "a style of text": "style: wave",
    "a name of numbers": "style: {name: 5}",
    "a painting without end": "style: {name: tiny, size: 10000000000}",
    "a painting of a list": "style: {name: tiny, image: [1]}",
    "no data": "style: {name: tiny}",
    "photos of a number": "style: {name: tiny}\ndata: {root: 5}",
    "a network of a list": "style: {name: tiny}\nloss_network: [1]",
    "a network of others": "style: {name: tiny}\nloss_network: {name: lite, x: 1}",
    "paintings of text": "style: {name: tiny}\npaintings: ab",
}


def compress(path: Path, out: Path) -> None:
    """A file of ``torch.save`` with its parts compressed: small, and large when it is read."""
    with (
        zipfile.ZipFile(path) as whole,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb,
    ):
        for part in whole.infolist():
            bomb.writestr(part.filename, whole.read(part))
