"""Scores of what goes wrong in stylized pictures, each against the photo it was made from.

Higher is worse, 0 and below is clean, and ``LIMITS`` says from where on a score is a finding; the
limits come from planting each artifact into photos, paintings and stylized pictures
(``scripts/proofs/plant_artifacts.py``). All take (3, H, W), RGB in [0, 1], 64 x 64 pixels or more
(smaller ones are scored too, less surely), as an array or as a tensor on the CPU, and the photo
only needs a similar size: what it has too, such as the blocks of a JPEG, is not held against the
picture. The arithmetic is numpy's, so that ``fst sheet`` needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]

FOLDS = (8, 12)  # pixels: periods of 8, 4, 8/3 and 2, and of 12, 6, 4, 3, 2.4 and 2
FINE = 9  # pixels: what varies over more than this is not a lattice
TILE = 64  # pixels
WEAVE = (2.1, 5.0)  # periods in pixels
WEAVE_USUAL = 0.37  # what pictures of straight things have: the middle one of photos and paintings
RIM = 20  # pixels from the edge in which a frame is sought
EDGE = 8  # pixels from the edge in which stillness is
DEAD = 0.5  # of the logarithm: skies make quiet edges, only stillness is dead
RIM_USUAL = 0.4  # of clean pictures 9 in 10 have less
BLOB_SIGMA = 3.0  # pixels: about half the radius of a blotch
BLOB_PEAKS = 8  # the strongest of each sign that are compared with each other
BLOB_PATCH = 13  # pixels around a peak on each side
BLOBS_USUAL = 0.5  # likeness that is nothing odd: 5 in 6 photos and paintings have less
BLOTCH = 1 / 24  # sigma of what is looked at for blotches, as a share of the shorter side
REDUCED = 4  # times, before blotches are sought
FLAT = 12 / 255  # standard deviation below which a photo is flat, such as a sky
LEAST_FLAT = 0.08  # of the photo; with less there is no sky to have a blotch

LIMITS = {
    "lattice": 1.7,
    "weave": 1.2,
    "frame": 0.6,
    "blobs": 0.17,
    "blotch": 0.3,
    "clipping": 0.25,
    "color_drift": 0.05,
}


class Artifacts(NamedTuple):
    """One picture's scores.

    - ``lattice``: levels of 255, root mean square, of a pattern that repeats every 8 or 12 pixels
      from one corner of the picture to the other, beyond the photo's
    - ``weave``: decades by which the strongest period of 2.1 to 5 pixels across or down stands
      above the slanted ones beside it more than it does in the photo
    - ``frame``: natural logarithm of how much more the steps inwards from every edge stand out,
      as too large or too small, than those of the photo, to 20 pixels deep
    - ``blobs``: how much more alike the strongest blotches are than those of the photo, -1 .. 1
    - ``blotch``: where the photo is flat, the largest distance of a color, in RGB of [0, 1], from
      what the picture makes of that color of the photo elsewhere
    - ``clipping``: share of saturated pixels beyond the photo's
    - ``color_drift``: distance of the mean color from the photo's, or from the line between the
      photo's and the painting's where there is a painting
    """

    lattice: float
    weave: float
    frame: float
    blobs: float
    blotch: float
    clipping: float
    color_drift: float

    def findings(self) -> list[str]:
        """The names of the scores that are over their limits."""
        return [name for name, limit in LIMITS.items() if getattr(self, name) > limit]


def flat_photos(size: int) -> dict[str, Tensor]:
    """What nets stumble over, (3, size, size) each: one constant color, and a sky.

    The sky goes from blue to pale over its height and has the grain of a camera, one level of 255.
    """
    import torch

    constant = torch.tensor([0.47, 0.67, 0.9])[:, None, None].expand(3, size, size).clone()
    height = torch.linspace(0, 1, size)[None, :, None]
    top, bottom = (torch.tensor(c)[:, None, None] for c in ([0.35, 0.6, 0.86], [0.86, 0.9, 0.94]))
    grain = torch.randn(3, size, size, generator=torch.Generator().manual_seed(0)) / 255
    sky = (top + (bottom - top) * height + grain).clamp(0, 1)
    return {"constant": constant, "sky": sky}


def find_artifacts(
    picture: ArrayLike, photo: ArrayLike, painting: ArrayLike | None = None
) -> Artifacts:
    """Every score of ``picture`` against ``photo``; with ``painting`` its colors are welcome."""
    picture, photo = _array(picture), _array(photo)
    return Artifacts(
        lattice=lattice(picture, photo),
        weave=weave(picture, photo),
        frame=frame(picture, photo),
        blobs=blobs(picture, photo),
        blotch=blotch(picture, photo),
        clipping=clipping(picture, photo),
        color_drift=color_drift(picture, photo, painting),
    )


def lattice(picture: ArrayLike, photo: ArrayLike) -> float:
    """Checkerboards, lines and hatches that are locked to the pixel grid: see ``Artifacts``."""
    return pattern_levels(picture) - pattern_levels(photo)


def pattern_levels(picture: ArrayLike) -> float:
    """The strongest pattern of a fixed period in picture (3, H, W), in levels of 255.

    Cells of ``FOLDS`` pixels a side are laid over each other: what is in all of them stays, all
    else averages out, and how much of it is left by chance is known from their spread.
    """
    pixels = _array(picture)
    detail = pixels - _filtered(pixels, np.full(FINE, 1 / FINE))
    most = 3 * float(detail.std(ddof=1))
    levels = [0.0]
    for fold in FOLDS:
        down, across = (side // fold for side in detail.shape[-2:])
        if down * across < 2:
            continue  # too small to tell
        cells = detail[:, : down * fold, : across * fold].clip(-most, most)
        cells = cells.reshape(3, down, fold, across, fold)
        by_chance = cells.var((1, 3), ddof=1).mean() / (down * across)
        found = cells.mean((1, 3)).var((1, 2)).mean() - by_chance
        levels.append(255 * float(max(found, 0.0)) ** 0.5)
    return max(levels)


def weave(picture: ArrayLike, photo: ArrayLike) -> float:
    """Lattices of rows and columns, of any period of a few pixels: see ``Artifacts``."""
    return float((threads(picture) - threads(photo).clip(min=WEAVE_USUAL)).max())


def threads(picture: ArrayLike) -> Array:
    """picture (3, H, W) -> for columns and rows, how far their strongest period stands out, (2,).

    In decades, over the median of the frequencies of like length that are slanted a little.
    """
    power = spectrum(picture)
    side = len(power)
    highest, lowest = (int(side / period) for period in WEAVE)
    slanted = np.array([*range(-8, -2), *range(3, 9)]) % side
    found = []
    for axis in (power, power.T):
        excess = axis[0] - _lower_median(axis[slanted], 0)
        found.append(excess[lowest : highest + 1].max())
    return np.array(found)


def spectrum(picture: ArrayLike) -> Array:
    """picture (3, H, W) -> log10 of its mean power at each frequency, (side, side).

    Over half-overlapping windows of ``TILE`` pixels, or of what the picture has, and colors.
    """
    pixels = _array(picture)
    side = min(TILE, *(s // 4 * 4 for s in pixels.shape[-2:]))
    detail = pixels - pixels.mean((1, 2), keepdims=True)
    steps = (slice(None), slice(None, None, side // 2), slice(None, None, side // 2))
    tiles = sliding_window_view(detail, (side, side), axis=(1, 2))[steps].reshape(-1, side, side)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(side) / side)
    tiles = (tiles - tiles.mean((1, 2), keepdims=True)) * window[:, None] * window
    return np.log10((np.abs(np.fft.fft2(tiles)) ** 2).mean(0) + 1e-9)


def frame(picture: ArrayLike, photo: ArrayLike) -> float:
    """Frames, seams and dead rims along the edge: see ``Artifacts``."""
    return rim(picture) - max(rim(photo), RIM_USUAL)


def rim(picture: ArrayLike) -> float:
    """How far some of the outermost pixels' steps inwards stand out from those around them.

    At each depth, the mean square of the step to the next pixel inwards, as a natural logarithm, of
    which the least over the four sides counts: a horizon is on one side only. A frame is one step
    larger than those around it, a dead rim has smaller ones than there are further in.
    """
    pixels = _array(picture).mean(0)
    depth = min(RIM + EDGE, min(pixels.shape) // 2)
    if depth <= EDGE:
        return 0.0  # too small to tell
    sides = [pixels, pixels[::-1], pixels.T, pixels.T[::-1]]
    steps = [((side[1 : depth + 1] - side[:depth]) ** 2).mean(1) for side in sides]
    energy = np.log(np.stack(steps) + 1e-6)  # (4, depth)
    reach = depth - EDGE
    around = [_lower_median(energy[:, max(d - EDGE, 0) : d + EDGE], 1) for d in range(reach)]
    step = (energy[:, :reach] - np.stack(around, axis=1)).min(0).max()
    further_in = _lower_median(energy[:, EDGE : 2 * EDGE], 1)[:, None]
    dead = (further_in - energy[:, :EDGE]).min(0).max()
    return float(max(step, DEAD * dead))


def blobs(picture: ArrayLike, photo: ArrayLike) -> float:
    """Blotches that repeat: see ``Artifacts``."""
    return likeness(picture) - max(likeness(photo), BLOBS_USUAL)


def likeness(picture: ArrayLike) -> float:
    """Mean correlation of the strongest blotches of one sign with each other, -1 .. 1.

    Blotches that a net makes, as instance normalization invites, look all the same.
    """
    luminance = _array(picture).mean(0, keepdims=True)
    narrow, wide = (_blurred(luminance, BLOB_SIGMA * k)[0] for k in (1.0, 1.6))
    response = narrow - wide
    best = -1.0
    for sign in (1, -1):
        patches = _patches_at_peaks(sign * response)
        if len(patches) < 3:
            continue
        flat = patches.reshape(len(patches), -1)
        flat = flat - flat.mean(1, keepdims=True)
        flat = flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-3)
        pairs = (flat @ flat.T)[np.triu_indices(len(flat), 1)]
        best = max(best, float(pairs.mean()))
    return best


def blotch(picture: ArrayLike, photo: ArrayLike) -> float:
    """One saturated spot the size of a face in a sky: see ``Artifacts``.

    Both are blurred. Where the photo is flat, the picture's colors are fitted, robustly, as a
    linear function of the photo's; a blotch is what has nothing to do with the photo.
    """
    pixels, given = _array(picture), _array(photo)
    height, width = (
        max(side // REDUCED, 1) for side in pixels.shape[-2:]
    )  # fine things do not count
    sigma = BLOTCH * min(height, width)
    reduced = (_reduced(x, (height, width)) for x in (pixels, given, given**2))
    colors, given, squared = (_blurred(x, sigma) for x in reduced)
    flat = np.sqrt((squared - given**2).clip(min=0).sum(0)) < FLAT
    if flat.mean() < LEAST_FLAT:
        return 0.0
    known = np.stack([np.ones(int(flat.sum())), *given[:, flat]], axis=1)
    wanted = colors[:, flat].T
    weights = np.ones((len(wanted), 1))
    least = float(np.finfo(np.float32).eps) * len(known)  # below it, colors are one and the same
    for _ in range(6):  # least squares, then ever more of least distances
        solution = np.linalg.lstsq(known * weights, wanted * weights, rcond=least)[0]
        distances = np.linalg.norm(wanted - known @ solution, axis=1)
        weights = 1 / np.sqrt(distances[:, None] + 0.02)
    return float(distances.max())


def clipping(picture: ArrayLike, photo: ArrayLike) -> float:
    """Saturated pixels: see ``Artifacts``."""
    return clipped_share(picture) - clipped_share(photo)


def clipped_share(picture: ArrayLike) -> float:
    """Share of pixels of which a color is at either end of its range."""
    pixels = _array(picture)
    return float(((pixels <= 1.5 / 255) | (pixels >= 253.5 / 255)).any(0).mean())


def color_drift(picture: ArrayLike, photo: ArrayLike, painting: ArrayLike | None = None) -> float:
    """Euclidean distance of the mean color, in RGB of [0, 1]: see ``Artifacts``."""
    means = [_array(x).mean((1, 2)) for x in (picture, photo)]
    offset = means[0] - means[1]
    if painting is not None:
        toward = _array(painting).mean((1, 2)) - means[1]
        share = (offset @ toward) / ((toward**2).sum() + 1e-12)
        offset = offset - share.clip(0, 1) * toward
    return float(np.linalg.norm(offset))


def _array(picture: Any) -> Array:
    """An array or a tensor on the CPU, in double precision; what is such an array is not copied."""
    return np.asarray(picture.detach() if hasattr(picture, "detach") else picture, np.float64)


def _lower_median(values: Array, axis: int) -> Array:
    """The median; of an even number of values the lower of the two in the middle."""
    return np.sort(values, axis).take((values.shape[axis] - 1) // 2, axis)


def _filtered(planes: Array, kernel: Array) -> Array:
    """planes (C, H, W) under a kernel of odd length, across and down; edges are continued."""
    height, width = planes.shape[-2:]
    radius = len(kernel) // 2
    padded = np.pad(planes, ((0, 0), (radius, radius), (radius, radius)), mode="edge")
    across = sum(k * padded[:, :, at : at + width] for at, k in enumerate(kernel))
    return np.asarray(sum(k * across[:, at : at + height] for at, k in enumerate(kernel)))


def _blurred(planes: Array, sigma: float) -> Array:
    """planes (C, H, W) -> the same, under a Gaussian of ``sigma`` pixels."""
    radius = max(int(3 * sigma), 1)
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    return _filtered(planes, kernel / kernel.sum())


def _reduced(planes: Array, size: tuple[int, int]) -> Array:
    """planes (C, H, W) -> (C, *size), each pixel the mean of those that it stands for."""
    for axis, count in zip((1, 2), size, strict=True):
        side = planes.shape[axis]
        ends = np.arange(count + 1) * side
        first, last = ends[:-1] // count, -(-ends[1:] // count)
        sums = np.insert(planes.cumsum(axis), 0, 0, axis)
        counts = (last - first).reshape([-1 if a == axis else 1 for a in range(3)])
        planes = (sums.take(last, axis) - sums.take(first, axis)) / counts
    return planes


def _patches_at_peaks(response: Array) -> Array:
    """The surroundings of the highest local maxima, (peaks, 2 * BLOB_PATCH + 1, the same)."""
    side = 2 * BLOB_PATCH + 1
    around = np.pad(response, BLOB_PATCH, constant_values=-np.inf)
    for axis in (0, 1):
        around = sliding_window_view(around, side, axis=axis).max(-1)
    inside = np.zeros_like(response, dtype=bool)
    inside[BLOB_PATCH:-BLOB_PATCH, BLOB_PATCH:-BLOB_PATCH] = True
    rows, columns = np.nonzero((response == around) & inside & (response > 0.01))
    order = np.argsort(-response[rows, columns], kind="stable")[:BLOB_PEAKS]
    patches = [
        response[r - BLOB_PATCH : r + BLOB_PATCH + 1, c - BLOB_PATCH : c + BLOB_PATCH + 1]
        for r, c in zip(rows[order], columns[order], strict=True)
    ]
    return np.stack(patches) if patches else np.zeros((0, side, side))
