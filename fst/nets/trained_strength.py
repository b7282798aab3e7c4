"""Nets that are trained to take a strength: what lies between the photo and the painting.

The scales and shifts of their instance norms have two rows, one for the photo's end and one for the
painting's, and a strength in 0 .. 1 goes from the one to the other: as a blend between two
paintings does (Dumoulin et al. 2017, section 3.2), and each strength has weights of the loss of its
own in training. Of the picture that comes out and the photo a mix is taken that makes the ends
exact; it is part of what was trained. At one strength such a net is an ordinary one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fst.nets.style_card import Card
from fst.nets.style_file import OF_PAINTING, arrays_of, tensors_sha256

if TYPE_CHECKING:
    from torch import Tensor

    Number = TypeVar("Number", float, np.ndarray, Tensor)


def picture_share(strength: Number) -> Number:
    """The share of the picture in the last mix; the rest is the photo, little but for weak ones.

    What the loss of each strength asks for, about: instance norms forget a photo's contrast and
    colors, and a picture that is to be near it has them from there at no cost. Mixed in otherwise,
    Udnie's pictures are best with 0.56 to 0.7 of the photo at 0.25, 0.25 to 0.4 at 0.5 and 0.05 to
    0.13 at 0.75.
    """
    return strength * (2 - strength)


def takes_strength(card: Card) -> bool:
    """Whether the net of a style was trained to take a strength."""
    return bool(card.net.get("strengths", False))


def at_strength(card: Card, data: bytes, strength: float) -> tuple[Card, bytes]:
    """A style that takes a strength -> the card and tensors of the ordinary one at this one."""
    from safetensors.numpy import save

    shares = np.array([1 - strength, strength])
    tensors = arrays_of(data)
    for name in filter(OF_PAINTING.search, tensors):
        rows = tensors[name]
        mixed = rows[-1] if strength == 1 else (shares @ rows.astype(np.float64)).astype(np.float32)
        tensors[name] = np.ascontiguousarray(mixed)
    ordinary = save(tensors)
    net: dict[str, Any] = {key: value for key, value in card.net.items() if key != "strengths"}
    return Card(**{**vars(card), "net": net, "sha256": tensors_sha256(ordinary)}), ordinary
