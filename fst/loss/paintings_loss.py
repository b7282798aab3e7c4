"""Several paintings in one net: which photo gets which, and each with a loss of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fst.loss.filmed import Motion
from fst.loss.perceptual_loss import Losses, PerceptualLoss, Weights, mean_losses
from fst.loss.strengths_loss import losses_at


def painting_of(sample: int, *, seed: int, count: int) -> int:
    """Which of ``count`` paintings training sample ``sample`` is stylized after.

    A function of its arguments alone. In every ``count`` samples each painting comes once, in an
    order of its own, so that the photos of a batch have different ones.
    """
    turn, place = divmod(sample, count)
    return int(np.random.default_rng([seed, 2, turn]).permutation(count)[place])


class PaintingsLoss(nn.Module):
    """The mean over a batch of perceptual losses, each photo's against its own painting.

    ``losses`` share one network and name the same layers; their weights differ, as each is
    calibrated for its painting. Features are computed once for the whole batch.
    """

    def __init__(self, losses: Sequence[PerceptualLoss]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.network = losses[0].network
        self.layers = {**losses[0].content_layers, **losses[0].style_layers}

    def of(self, row: int) -> PerceptualLoss:
        """The loss of one painting."""
        loss = self.losses[row]
        assert isinstance(loss, PerceptualLoss)
        return loss

    @property
    def weights(self) -> list[Weights]:
        """The weights of the three terms, for each painting."""
        return [self.of(row).weights for row in range(len(self.losses))]

    @weights.setter
    def weights(self, weights: Sequence[Weights]) -> None:
        for row, of_one in enumerate(weights):
            self.of(row).weights = of_one

    def forward(self, stylized: Tensor, content: Tensor, paintings: Sequence[int]) -> Losses:
        """stylized, content (B, 3, H, W), RGB in [0, 1], their B paintings -> the mean terms.

        ``paintings`` are rows, from 0; the terms are differentiable in ``stylized`` only.
        """
        target = self.of(0).content_target(content)
        features = self.network(stylized, self.layers)
        places: dict[int, list[int]] = {}
        for place, row in enumerate(paintings):
            places.setdefault(row, []).append(place)
        found: dict[int, Losses] = {}
        shares: dict[int, float] = {}
        for row, where in places.items():
            found[row] = self.of(row).compare_features(
                _taken(stylized, where),
                {name: _taken(feature, where) for name, feature in features.items()},
                {name: _taken(feature, where) for name, feature in target.items()},
            )
            shares[row] = len(where) / len(paintings)
        by_painting = {row: of.total.detach() for row, of in found.items()}
        mean = mean_losses([*found.values()], [*shares.values()])
        return mean._replace(by_painting=by_painting)


def losses_of(
    net: Callable[..., Tensor],
    loss: PerceptualLoss | PaintingsLoss,
    content: Tensor,
    paintings: Sequence[int] | None = None,
    motion: Motion | None = None,
    moves: Sequence[Any] = (),
    moving_weight: float = 0.0,
    strengths: Sequence[float] | None = None,
) -> Losses:
    """The losses of the pictures that a net makes of ``content`` (B, 3, H, W), RGB in [0, 1].

    One function of net and loss, for one graph of the compiler's. ``paintings`` are the B rows of
    a net of several, which ``net`` then takes as a second argument; with ``moves`` of a ``motion``
    the first photos go through the net moved, too, and ``moving_weight`` times the difference that
    makes is added (``fst.loss.moving``, ``fst.loss.filmed``).
    ``strengths`` are those of the B photos, for a net that takes them in the same place.
    """
    asked = paintings if strengths is None else strengths
    rows = None if asked is None else torch.tensor(asked, device=content.device)
    count, twice = len(content), len(moves)
    photos = content
    if motion is not None:  # one pass for all: a GPU gains by fewer, larger kernels
        photos = torch.cat([content, motion.seen(content[:twice], moves)])
        rows = None if rows is None else torch.cat([rows, rows[:twice]])
    made = net(photos) if rows is None else net(photos, rows)
    stylized = made[:count]
    if strengths is not None:
        assert isinstance(loss, PerceptualLoss)
        losses = losses_at(loss, stylized, content, strengths)
    elif paintings is not None:
        losses = loss(stylized, content, paintings)
    else:
        losses = loss(stylized, content)
    if motion is not None:
        term = motion.term(stylized[:twice], made[count:], moves)
        losses = losses._replace(moving=moving_weight * term)
    return losses


def _taken(values: Tensor, where: Sequence[int]) -> Tensor:
    """The pictures of a batch at these places; one alone is a view."""
    return values[where[0] : where[0] + 1] if len(where) == 1 else values[list(where)]
