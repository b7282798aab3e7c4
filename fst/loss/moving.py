"""Strokes that move along with the picture: what a net does to a photo that is moved by pixels.

A net's strokes hang on the lattice of its strided convolutions as much as on the photo, so that a
photo moved by one pixel gets others: the weave of still pictures, the flicker of films. The motion
is known exactly here, so the two results can be compared with no optical flow (which the temporal
losses for video need: Ruder et al. 2016, section 3; Gupta et al. 2017, section 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MOST = 3  # pixels that a photo is moved by
MARGIN = 8  # pixels along the border that are not compared: there the padding differs
SHARE = 0.25  # of a batch's photos that go through the net a second time

Move = tuple[int, int]  # pixels down and to the right


def moves_of(samples: Sequence[int], *, seed: int) -> list[Move]:
    """How far the first photos of a batch are moved: a function of the seed and their numbers."""
    moves = []
    for sample in samples[: math.ceil(SHARE * len(samples))]:
        steps = (2 * MOST + 1) ** 2
        step = int(np.random.default_rng([seed, 3, sample]).integers(steps - 1))
        step += step >= steps // 2  # all but the one in the middle, which moves nothing
        moves.append((step // (2 * MOST + 1) - MOST, step % (2 * MOST + 1) - MOST))
    return moves


def moved(photos: Tensor, moves: Sequence[Move]) -> Tensor:
    """photos (B, 3, H, W) -> the same moved by the ``moves``, one each, filled up by reflection."""
    height, width = photos.shape[-2:]
    padded = F.pad(photos, [MOST] * 4, mode="reflect")
    return torch.stack(
        [
            photo[:, MOST + down : MOST + down + height, MOST + right : MOST + right + width]
            for photo, (down, right) in zip(padded, moves, strict=True)
        ]
    )


def moving_term(stylized: Tensor, again: Tensor, moves: Sequence[Move]) -> Tensor:
    """Mean squared difference in [0, 1] of stylized photos and of moved photos' stylized ones.

    stylized, again (B, 3, H, W) in [0, 1], H and W above 2 * ``MARGIN``: what a net made of B
    photos and of the same ``moved``. They are compared where they show the same. Differentiable
    in both.
    """
    differences = [
        _inside(here, down, right) - _inside(there, 0, 0)
        for here, there, (down, right) in zip(stylized, again, moves, strict=True)
    ]
    return torch.stack(differences).square().mean()


def _inside(picture: Tensor, down: int, right: int) -> Tensor:
    """picture (3, H, W) without its margin, looked at from a place a few pixels further."""
    height, width = picture.shape[-2:]
    return picture[
        :, MARGIN + down : height - MARGIN + down, MARGIN + right : width - MARGIN + right
    ]
