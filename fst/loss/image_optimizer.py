"""The picture as the parameter (Gatys, Ecker, Bethge 2016): solvers on the box [0, 1].

Pure: an objective and a start in, one ``Iterate`` after another out; the caller stops when it has
seen enough. ``lbfgs`` is projected L-BFGS with a strong Wolfe line search along the projected path,
after Bertsekas, *Projected Newton methods* (1982) and Nocedal and Wright, *Numerical Optimization*
(2006), algorithms 7.4, 3.5 and 3.6.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fst.errors import FstError

Objective = Callable[[Tensor], Tensor]  # image -> scalar, differentiable

METHODS = ("lbfgs", "adam")
ARMIJO, CURVATURE = 1e-4, 0.9  # Nocedal and Wright, section 3.1: for quasi-Newton directions
MAX_TRIALS = 12  # of one line search
FIRST_CHANGE = 0.02  # mean change of a pixel that the first step tries, before curvature is known
DIVERGED = 10.0  # times the best value so far: a step of Adam that is undone


class Iterate(NamedTuple):
    """What one iteration has reached. ``image`` is in [0, 1] and must not be changed in place."""

    number: int  # 0 is the start
    evaluations: int  # of the objective and its gradient, all so far
    value: float
    image: Tensor
    undone: int  # steps so far that gave no finite or far too high a value and were taken back


class _Point(NamedTuple):
    image: Tensor
    value: float
    gradient: Tensor


class _Evaluator:
    """Value and gradient at a picture, counted; the gradient's norm clipped if so wished."""

    def __init__(self, objective: Objective, clip: float | None) -> None:
        self.objective = objective
        self.clip = clip
        self.count = 0
        self.undone = 0

    def __call__(self, image: Tensor) -> _Point:
        self.count += 1
        image = image.detach().requires_grad_()
        value = self.objective(image)
        (gradient,) = torch.autograd.grad(value, image)
        number = float(value.detach())
        if not math.isfinite(number) or not bool(gradient.isfinite().all()):
            self.undone += 1
            return _Point(image.detach(), math.inf, torch.zeros_like(gradient))
        if self.clip is not None:
            gradient = gradient * min(1.0, self.clip / max(float(gradient.norm()), 1e-30))
        return _Point(image.detach(), number, gradient.detach())


def optimize(
    objective: Objective,
    start: Tensor,
    *,
    method: str,
    history: int = 20,
    learning_rate: float = 0.02,
    clip_gradient: float | None = None,
) -> Iterator[Iterate]:
    """Iterates that lower ``objective`` over pictures in [0, 1], the start first.

    ``method`` is ``lbfgs`` (``history`` pairs are remembered; it ends by itself where no step
    lowers the objective) or ``adam`` (``learning_rate`` in units of [0, 1] a step, halved whenever
    a step has to be undone; never ends by itself), which may ``clip_gradient`` to a Euclidean norm.
    Raises ``FstError`` for an unknown method or an objective that is not finite at the start.
    """
    if method not in METHODS:
        raise FstError(f"method '{method}' is unknown; use one of {', '.join(METHODS)}")
    if clip_gradient is not None and (method == "lbfgs" or clip_gradient <= 0):
        raise FstError(
            f"clip_gradient={clip_gradient} must be above 0 and needs method=adam: the line search "
            "of lbfgs goes by the gradient as it is"
        )
    evaluate = _Evaluator(objective, clip_gradient)
    point = evaluate(start.clamp(0, 1))
    if not math.isfinite(point.value):
        raise FstError("the objective is not finite at the start; check photo, painting and loss")
    yield Iterate(0, evaluate.count, point.value, point.image, 0)
    if method == "lbfgs":
        steps = _lbfgs(evaluate, point, history)
    else:
        steps = _adam(evaluate, point, learning_rate)
    for number, reached in enumerate(steps, 1):
        yield Iterate(number, evaluate.count, reached.value, reached.image, evaluate.undone)


def _lbfgs(evaluate: _Evaluator, point: _Point, history: int) -> Iterator[_Point]:
    pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=max(1, int(history)))
    while True:
        # pixels at a bound that the gradient presses against it stay where they are
        free = ~(
            ((point.image <= 0) & (point.gradient > 0))
            | ((point.image >= 1) & (point.gradient < 0))
        )
        steepest = -point.gradient * free
        direction = _two_loops(steepest, pairs, free)
        if float((direction * steepest).sum()) <= 0:
            pairs.clear()
            direction = steepest
        first_length = 1.0
        if not pairs:
            mean_change = float(direction.abs().mean())
            if mean_change == 0:
                return
            first_length = FIRST_CHANGE / mean_change
        reached = _search(evaluate, point, direction, first_length)
        if reached is None:
            if not pairs:
                return  # not even steepest descent lowers it: a minimum, to rounding
            pairs.clear()
            continue
        change, response = reached.image - point.image, reached.gradient - point.gradient
        product = float((change * response).sum())
        if product > 1e-10 * float(change.norm()) * float(response.norm()):
            pairs.append((change, response))
        point = reached
        yield point


def _two_loops(steepest: Tensor, pairs: deque[tuple[Tensor, Tensor]], free: Tensor) -> Tensor:
    """The L-BFGS direction among the free pixels (Nocedal and Wright, algorithm 7.4)."""
    direction = steepest.clone()
    used = []
    for change, response in reversed(pairs):
        change, response = change * free, response * free
        product = (change * response).sum()
        if float(product) <= 0:
            continue
        factor = (change * direction).sum() / product
        direction -= factor * response
        used.append((change, response, product, factor))
    if used:
        change, response, product, _ = used[0]
        direction *= product / response.square().sum()
    for change, response, product, factor in reversed(used):
        direction += (factor - (response * direction).sum() / product) * change
    return direction * free


def _search(evaluate: _Evaluator, start: _Point, direction: Tensor, length: float) -> _Point | None:
    """A point on the projected path that meets the strong Wolfe conditions, or the lowest point
    seen that meets Armijo's; None if there is none."""

    def at(t: float) -> tuple[_Point, float]:
        raw = start.image + t * direction
        point = evaluate(raw.clamp(0, 1))
        inside = (raw >= 0) & (raw <= 1)
        return point, float((point.gradient * direction * inside).sum())

    slope0 = float((start.gradient * direction).sum())
    best: _Point | None = None
    low, low_value, low_slope = 0.0, start.value, slope0
    high: tuple[float, float, float] | None = None
    for _ in range(MAX_TRIALS):
        point, slope = at(length)
        enough = point.value <= start.value + ARMIJO * length * slope0
        if enough and (best is None or point.value < best.value):
            best = point
        if not enough or point.value >= low_value:
            high = (length, point.value, slope)
        else:
            if abs(slope) <= -CURVATURE * slope0:
                return point
            if slope * ((high[0] if high else math.inf) - low) >= 0:
                high = (low, low_value, low_slope)
            low, low_value, low_slope = length, point.value, slope
        if high is None:
            length *= 4
        else:
            length = _between(low, low_value, low_slope, *high)
            if abs(high[0] - low) * float(direction.abs().max()) < 1e-9:
                break
    return best


def _between(
    low: float,
    low_value: float,
    low_slope: float,
    high: float,
    high_value: float,
    high_slope: float,
) -> float:
    """The minimum of the cubic through both ends, kept off them; half-way if there is none."""
    width = high - low
    if math.isfinite(high_value):
        bend = low_slope + high_slope - 3 * (low_value - high_value) / (low - high)
        square = bend**2 - low_slope * high_slope
        if square >= 0:
            root = math.copysign(math.sqrt(square), width)
            divisor = high_slope - low_slope + 2 * root
            if divisor:
                t = high - width * (high_slope + root - bend) / divisor
                margin = 0.1 * abs(width)
                if min(low, high) + margin <= t <= max(low, high) - margin:
                    return t
    return low + width / 2


def _adam(evaluate: _Evaluator, point: _Point, learning_rate: float) -> Iterator[_Point]:
    """Kingma and Ba 2015, each step clamped to the box; undone steps halve the learning rate."""
    mean, square = torch.zeros_like(point.image), torch.zeros_like(point.image)
    best, number = point, 0
    while True:
        number += 1
        mean = 0.9 * mean + 0.1 * point.gradient
        square = 0.999 * square + 0.001 * point.gradient.square()
        size = learning_rate * math.sqrt(1 - 0.999**number) / (1 - 0.9**number)
        reached = evaluate((point.image - size * mean / (square.sqrt() + 1e-12)).clamp(0, 1))
        if reached.value > DIVERGED * abs(best.value) + 1e-12:
            evaluate.undone += math.isfinite(reached.value)  # the others are counted there
            learning_rate /= 2
            point, number = best, 0
            mean, square = torch.zeros_like(mean), torch.zeros_like(square)
        else:
            point = reached
            best = point if point.value < best.value else best
        yield point
