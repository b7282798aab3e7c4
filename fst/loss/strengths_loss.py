"""Strengths that a net is trained to take: which photo gets which, each with its own weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from fst.loss.perceptual_loss import Losses, PerceptualLoss, Weights, mean_losses

TURN = 4  # samples, of which one has the whole strength: the picture that is asked for most


def strength_of(sample: int, *, seed: int) -> float:
    """The strength in 0 .. 1 that training sample ``sample`` is stylized with.

    A function of its arguments alone. Of every ``TURN`` samples one has 1, and the others have
    one each of as many equal parts of 0 .. 1, in an order of their own.
    """
    turn, place = divmod(sample, TURN)
    generator = np.random.default_rng([seed, 4, turn])
    parts = (np.arange(TURN - 1) + generator.random(TURN - 1)) / (TURN - 1)
    return float(generator.permutation([1.0, *parts])[place])


def style_share(strength: float) -> float:
    """What the weights of style and total variation are multiplied with at a strength.

    Squared, as the content that a picture loses then rises about evenly: optimized after Udnie to
    3, 21, 54, 80 and 100% of the whole at 0.1, 0.25, 0.5, 0.75 and 1.
    """
    return strength**2


def weights_at(weights: Weights, strength: float) -> Weights:
    """The weights of the loss at a strength: those given at 1, of content alone at 0."""
    share = style_share(strength)
    return Weights(weights.content, weights.style * share, weights.tv * share)


def losses_at(
    loss: PerceptualLoss, stylized: Tensor, content: Tensor, strengths: Sequence[float]
) -> Losses:
    """stylized, content (B, 3, H, W), RGB in [0, 1] -> the mean terms, each photo by its strength.

    Features are computed once for the whole batch.
    """
    target = loss.content_target(content)
    features = loss.network(stylized, {**loss.content_layers, **loss.style_layers})
    found = []
    for place, strength in enumerate(strengths):
        one = slice(place, place + 1)
        found.append(
            loss.reweighted(weights_at(loss.weights, strength)).compare_features(
                stylized[one],
                {name: feature[one] for name, feature in features.items()},
                {name: feature[one] for name, feature in target.items()},
            )
        )
    return mean_losses(found, [1 / len(found)] * len(found))
