"""How many iterations of optimizing the picture one forward pass is worth.

Johnson et al. 2016, section 4.1, compares the objective of a net's pictures with that of L-BFGS on
the picture itself, from white noise, under the same loss: 50 to 100 iterations is what the paper's
nets reach. Here that is counted photo by photo.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fst.data.photo_files import read_photo
from fst.evaluation.trained_with import at_size
from fst.inference.stylizer import Stylizer
from fst.loss.image_optimizer import optimize
from fst.loss.perceptual_loss import PerceptualLoss
from fst.pictures.artifacts import Artifacts, find_artifacts, flat_photos
from fst.pictures.image import to_image, to_tensor
from fst.pictures.lattice_lock import Lock, lock

STARTS = ("noise", "content")


class Terms(NamedTuple):
    """The weighted terms of one picture under a loss, as numbers."""

    total: float
    content: float
    style: float
    total_variation: float


class Curve(NamedTuple):
    """An optimization under the same loss, up to where it undercuts the net or to the limit."""

    iterations: int  # until its objective was no higher than the net's, or the limit
    crossed: bool  # whether it was, or came to rest above it or at the limit
    seconds: float
    values: list[float]  # the objective by iteration, the start first


class PhotoResult(NamedTuple):
    """One photo, the net's picture of it, and the optimizations of the picture beside it."""

    name: str
    photo: Tensor  # (1, 3, H, W), RGB in [0, 1]
    picture: Tensor  # the same shape
    terms: Terms  # of the picture
    before: float  # the total of the photo itself
    net_s: float  # seconds of one pass
    curves: dict[str, Curve]  # by start: noise, content
    artifacts: Artifacts
    lock: Lock


def terms_of(loss: PerceptualLoss, picture: Tensor, photo: Tensor) -> Terms:
    """picture, photo (1, 3, H, W), RGB in [0, 1] -> the loss's terms."""
    with torch.no_grad():
        losses = loss(picture, photo)
    parts = (losses.total, losses.content, losses.style, losses.total_variation)
    return Terms(*(float(part) for part in parts))


def iterations_to_reach(
    loss: PerceptualLoss, photo: Tensor, start: Tensor, value: float, limit: int
) -> Curve:
    """L-BFGS from ``start`` (1, 3, H, W) until the objective is at most ``value``."""
    target = loss.content_target(photo)
    values: list[float] = []
    began = time.monotonic()
    for iterate in optimize(lambda x: loss.compare(x, target).total, start, method="lbfgs"):
        values.append(iterate.value)
        if iterate.value <= value or iterate.number >= limit:
            break
    seconds = time.monotonic() - began
    crossed = values[-1] <= value
    return Curve(len(values) - 1 if crossed else limit, crossed, seconds, values)


def one_photo(
    style: Path,
    photo: Path,
    loss: PerceptualLoss,
    painting: Tensor,
    *,
    size: int,
    trained_at: int,
    starts: Sequence[str],
    seed: int,
    limit: int,
) -> PhotoResult:
    """The net's picture of one photo, its terms and artifacts, and the optimizations it beats.

    The photo's shorter side is ``size`` pixels. ``loss`` is that of training, on crops of
    ``trained_at`` pixels a side, painting (1, 3, H, W), RGB in [0, 1]. Each of ``starts`` is
    optimized for at most ``limit`` iterations; noise is drawn from ``seed``.
    """
    device = loss.network.mean.device
    source = read_photo(photo).resized(size)
    stylizer = Stylizer(style, device=str(device))
    stylizer.picture(source)  # the first pass of a size is slower
    began = time.monotonic()
    picture = to_tensor(stylizer.picture(source).rgb).to(device)
    seconds = time.monotonic() - began
    content = to_tensor(source.rgb).to(device)
    loss = at_size(loss, trained_at, content)
    terms = terms_of(loss, picture, content)
    curves: dict[str, Curve] = {}
    for start in starts:
        image = content
        if start == "noise":
            generator = torch.Generator().manual_seed(seed)
            image = torch.rand(content.shape, generator=generator).to(device)
        curves[start] = iterations_to_reach(loss, content, image, terms.total, limit)
    found = find_artifacts(picture[0].cpu(), content[0].cpu(), painting[0].cpu())

    def stylize(photo: Tensor) -> Tensor:
        return to_tensor(stylizer(to_image(photo)))

    return PhotoResult(
        name=photo.name,
        photo=content.cpu(),
        picture=picture.cpu(),
        terms=terms,
        before=terms_of(loss, content, content).total,
        net_s=seconds,
        curves=curves,
        artifacts=found,
        lock=lock(stylize, content.cpu()),
    )


def on_flat_photos(
    style: Path, painting: Tensor, size: int, device: str
) -> dict[str, dict[str, float]]:
    """The artifacts of a constant color and of a flat sky, by name; painting (1, 3, H, W)."""
    stylizer = Stylizer(style, device=device)
    found = {}
    for name, photo in flat_photos(size).items():
        picture = to_tensor(stylizer(to_image(photo[None])))[0]
        found[name] = find_artifacts(picture, photo, painting[0].cpu())._asdict()
    return found


def confidence_interval(values: Sequence[float], *, level: float = 0.95) -> tuple[float, float]:
    """Of the mean over photos, by the bootstrap (Efron 1979), 10,000 resamples of a fixed seed."""
    rng = np.random.default_rng(0)
    numbers = np.asarray(values, dtype=float)
    means = numbers[rng.integers(0, len(numbers), (10_000, len(numbers)))].mean(axis=1)
    tail = 50 * (1 - level)
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)
