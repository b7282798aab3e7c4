"""Calibrated strength: one number in 0 .. 1 that means the same for every painting and network.

Content and style pull against each other. How far style has won is told by what style is left and
what content was lost for it; a strength names that balance, and the weight that leads to it is
solved for: a few photos are stylized by optimization and the weight is corrected, again and again,
until the balance is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fst.errors import FstError
from fst.loss.image_optimizer import optimize
from fst.loss.perceptual_loss import PerceptualLoss, Weights

# The power of the content lost in the balance. A painting of hard edges costs more content for the
# same style, whatever the weights: at 0 every painting would leave the same style and it would pay
# in content alone; at 1 it would share the cost, but 1% of content is worth 2 to 6% of style.
CONTENT_POWER = 0.5
AT_HALF = 25.0  # the balance at strength 0.5, chosen by eye
SPREAD = 1.0  # natural logarithm of the balance for each unit of the logit of the strength
LEAST, MOST = 0.02, 0.98  # strengths beyond count as these
FIRST_WEIGHT = 4.0  # of the style left, to start from
ITERATIONS, ROUNDS, TOLERANCE = 20, 6, 0.1  # of L-BFGS; of corrections; of its logarithm
SETTLED = 3  # rounds before a balance counts: until then style is still being won
PROBES, PROBE_SIDE, ONE_SIDE = 4, 192, 320  # crops; pixels, of several photos and of one


class Calibration(NamedTuple):
    """Weights of ``PerceptualLoss(relative=True)`` for a strength, and what they led to.

    ``content_lost`` is the content term, ``style_left`` the style term over that of the photos,
    both means over the probes after a short optimization, which made ``picture`` of them.
    """

    weights: Weights
    content_lost: float
    style_left: float
    picture: Tensor


def balance(lost: float, left: float) -> float:
    """How far style has won: the root of the content lost over the style left."""
    return max(lost, 1e-6) ** CONTENT_POWER / max(left, 1e-6)


def balance_at(strength: float) -> float:
    """The balance that a strength in 0 .. 1 stands for; it rises with it.

    Raises ``FstError`` for a strength outside 0 .. 1.
    """
    if not 0 <= strength <= 1:
        raise FstError(f"style.strength={strength} is not in 0 .. 1")
    strength = min(max(strength, LEAST), MOST)
    return AT_HALF * math.exp(SPREAD * math.log(strength / (1 - strength)))


def probes(photos: Tensor) -> Tensor:
    """photos (B, 3, H, W) -> the middles of up to ``PROBES`` of them, ``PROBE_SIDE`` at most.

    One photo alone is taken whole, or its middle, of ``ONE_SIDE`` at most.
    """
    limit = ONE_SIDE if len(photos) == 1 else PROBE_SIDE
    top, left = (max(side - limit, 0) // 2 for side in photos.shape[-2:])
    return photos[:PROBES, :, top : top + limit, left : left + limit]


def calibrate(
    loss: PerceptualLoss,
    photos: Tensor,
    *,
    strength: float,
    tv: float,
    begin: Calibration | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> Calibration:
    """The weights under which the optimum of ``loss`` has the balance of ``strength``.

    photos (B, 3, H, W), RGB in [0, 1], at the size they will be stylized at; ``loss`` is relative,
    its own weights are not looked at. ``tv`` is the weight of total variation over the mean of
    that of the photos and of the painting, as one of fine strokes may show them. ``begin``, of
    another strength of the same photos and painting, saves most of the way. ``tell`` hears how many
    iterations are done, and of how many at most. Deterministic on a CPU.
    Raises ``FstError`` for a strength outside 0 .. 1, and where there is no style to win.
    """
    wanted = math.log(balance_at(strength))
    pixels = photos.shape[-2] * photos.shape[-1]
    photos = probes(photos)
    bare = loss.reweighted(Weights(content=1.0, style=1.0, tv=1.0))
    with torch.no_grad():
        target = bare.content_target(photos)
        before = bare.compare(photos, target)
    style_before = float(before.style)
    if style_before <= 0:
        raise FstError(
            "loss=calibrated needs a style to win: a layer of loss.style_layers with a weight "
            "above 0, and a painting that is not the photo; or say loss=relative"
        )
    painted = loss.style_variation * photos.shape[-2] * photos.shape[-1]
    own = max((float(before.total_variation) + painted) / 2, 1e-12)

    tried: list[tuple[float, float]] = []

    def solve(weight: float, start: Tensor) -> tuple[Tensor, float, float]:
        def objective(image: Tensor) -> Tensor:
            terms = bare.compare(image, target)
            smooth = tv * terms.total_variation / own
            return terms.content + weight / style_before * terms.style + smooth

        image = start
        for iterate in optimize(objective, start, method="lbfgs"):
            image = iterate.image
            if tell is not None:
                tell(len(tried) * ITERATIONS + iterate.number, ROUNDS * ITERATIONS)
            if iterate.number == ITERATIONS:
                break
        with torch.no_grad():
            terms = bare.compare(image, target)
        return image, float(terms.content), float(terms.style) / style_before

    log_weight, image = math.log(FIRST_WEIGHT), photos
    if begin is not None:
        further = wanted - math.log(balance(begin.content_lost, begin.style_left))
        log_weight, image = math.log(begin.weights.style * style_before) + further, begin.picture
    outcomes: dict[float, tuple[float, float, Tensor]] = {}
    for _ in range(ROUNDS):
        image, lost, left = solve(math.exp(log_weight), image)
        reached = math.log(balance(lost, left))
        tried.append((log_weight, reached))
        outcomes[log_weight] = lost, left, image
        if len(tried) >= SETTLED and abs(reached - wanted) < TOLERANCE:
            break
        log_weight = _next(tried, wanted)
    else:
        log_weight = min(tried[SETTLED - 1 :], key=lambda pair: abs(pair[1] - wanted))[0]
    lost, left, image = outcomes[log_weight]
    probed = photos.shape[-2] * photos.shape[-1]
    return Calibration(
        weights=Weights(
            content=1.0,
            style=math.exp(log_weight) / style_before,
            tv=tv / own * probed / pixels,  # total variation is a sum over pixels
        ),
        content_lost=lost,
        style_left=left,
        picture=image,
    )


def _next(tried: list[tuple[float, float]], wanted: float) -> float:
    """The next logarithm of the weight: by the secant, no more than a factor of 8 away."""
    weight, reached = tried[-1]
    slope = 1.0
    if len(tried) > SETTLED and abs(weight - tried[-2][0]) > 1e-3:
        slope = (reached - tried[-2][1]) / (weight - tried[-2][0])
        slope = min(max(slope, 0.4), 3.0)
    return weight + min(max((wanted - reached) / slope, -math.log(8)), math.log(8))
