"""Strokes that hold still in a film: what a net does to a photo as a camera sees it a bit later.

``fst.loss.moving`` moves a photo by whole pixels. A film moves by parts of them, comes nearer,
turns a little, gets lighter, and its camera adds noise to each frame; a net that keeps its strokes
through all of this flickers less. The motion is known exactly here too, so no optical flow is
guessed. (Temporal losses on the frames of films, with flow: Ruder et al. 2016, Gupta et al. 2017;
Gao et al. 2018, *ReCoNet*, whose results get lighter along with the film. Here they stay as they
are: the instance norms take most of the light away in any case.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fst.loss.moving import moved, moves_of, moving_term

MARGIN = 16  # pixels along the border that are not compared: beyond what the motion uncovers there
SHARE = 0.5  # of a batch's photos that go through the net a second time
SHIFT, ZOOM, TURN = 3.0, 0.015, 1.0  # at most: pixels, shares, degrees
LIGHT, SLOPE, NOISE = 0.06, 0.04, 6.0  # shares of what there is, over all and to a side; levels


class Shot(NamedTuple):
    """How a photo is seen a moment later.

    ``right`` and ``down`` in pixels, ``turn`` in degrees about the middle; ``light`` are shares of
    what there is that are added over all, to the right and to the bottom; ``noise`` is its standard
    deviation in 0 .. 1, drawn with ``seed``.
    """

    right: float
    down: float
    zoom: float
    turn: float
    light: tuple[float, float, float]
    noise: float
    seed: int


def shots_of(samples: Sequence[int], *, seed: int) -> list[Shot]:
    """How the first photos of a batch are seen: a function of the seed and of their numbers."""
    shots = []
    for sample in samples[: math.ceil(SHARE * len(samples))]:
        draw = np.random.default_rng([seed, 5, sample])
        right, down = draw.uniform(-SHIFT, SHIFT, 2)
        zoom, turn = draw.uniform(-ZOOM, ZOOM), draw.uniform(-TURN, TURN)
        over, sideways, downward = (draw.uniform(-1, 1, 3) * (LIGHT, SLOPE, SLOPE)).tolist()
        noise, number = draw.uniform(0, NOISE / 255), int(draw.integers(2**31))
        light = (over, sideways, downward)
        shots.append(Shot(float(right), float(down), 1 + zoom, turn, light, noise, number))
    return shots


def filmed(photos: Tensor, shots: Sequence[Shot]) -> Tensor:
    """photos (B, 3, H, W) in [0, 1] -> the same as the ``shots`` see them, one each."""
    seen = seen_from(photos, shots)
    height, width = photos.shape[-2:]
    down = torch.linspace(-1, 1, height, device=photos.device)[:, None]
    right = torch.linspace(-1, 1, width, device=photos.device)
    light = torch.stack([1 + s.light[0] + s.light[1] * right + s.light[2] * down for s in shots])
    noise = torch.stack(  # drawn on the CPU, so that it is the same on every device
        [
            s.noise * torch.randn(3, height, width, generator=torch.Generator().manual_seed(s.seed))
            for s in shots
        ]
    )
    return (seen * light[:, None] + noise.to(seen)).clamp(0, 1).to(photos.dtype)


def seen_from(pictures: Tensor, shots: Sequence[Shot]) -> Tensor:
    """pictures (B, 3, H, W) -> the same moved as each of the ``shots`` moves them, in float32.

    By bicubic interpolation, filled up by reflection; differentiable.
    """
    height, width = pictures.shape[-2:]
    down = torch.arange(height, device=pictures.device)[:, None] - (height - 1) / 2
    right = torch.arange(width, device=pictures.device) - (width - 1) / 2
    places = []
    for shot in shots:
        cosine, sine = math.cos(math.radians(shot.turn)), math.sin(math.radians(shot.turn))
        x = (cosine * right - sine * down) / shot.zoom + shot.right
        y = (sine * right + cosine * down) / shot.zoom + shot.down
        places.append(torch.stack([2 * x / width, 2 * y / height], dim=-1))  # -1 .. 1 at the edges
    return F.grid_sample(
        pictures.float(),
        torch.stack(places).float(),
        mode="bicubic",
        padding_mode="reflection",
        align_corners=False,
    )


def filmed_term(stylized: Tensor, again: Tensor, shots: Sequence[Shot]) -> Tensor:
    """Mean squared difference in [0, 1] of stylized photos, moved, and of moved ones, stylized.

    stylized, again (B, 3, H, W) in [0, 1], H and W above 2 * ``MARGIN``: what a net made of B
    photos and of the same ``filmed``. They are compared where they show the same. Light and noise
    are for the net alone: its strokes are to stay. Differentiable in both.
    """
    difference = again - seen_from(stylized, shots)
    return difference[..., MARGIN:-MARGIN, MARGIN:-MARGIN].square().mean()


class Motion(NamedTuple):
    """A kind of motion: how each photo moves, what it then looks like, and how results compare."""

    moves: Callable[..., Any]  # (samples, seed=) -> a move for each of the first of them
    seen: Callable[[Tensor, Any], Tensor]  # photos (B, 3, H, W), B moves -> the same, moved
    term: Callable[[Tensor, Tensor, Any], Tensor]  # both stylized, B moves -> a scalar


MOTIONS = {  # loss.moving
    "pixels": Motion(moves_of, moved, moving_term),
    "film": Motion(shots_of, filmed, filmed_term),
}
