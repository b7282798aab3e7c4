"""Scores of what goes wrong in stylized pictures, each against the photo it was made from.

Higher is worse, 0 and below is clean, and ``LIMITS`` says from where on a score is a finding; the
limits come from planting each artifact into photos, paintings and stylized pictures
(``scripts/plant_artifacts.py``). All take (3, H, W), RGB in [0, 1], at least 64 x 64 pixels, and
the photo only needs a similar size: what it has too, such as the blocks of a JPEG, is not held
against the picture.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 64  # pixels; periods 2 and 4 are whole numbers of its frequencies
RING = 4  # pixels of the outermost ring
BLOB_SIGMA = 4.0  # pixels: about half the radius of a blotch
BLOB_PEAKS = 6  # the strongest of each sign that are compared with each other
BLOB_PATCH = 12  # pixels around a peak on each side

LIMITS = {"grid": 0.7, "border": 1.5, "blobs": 0.25, "clipping": 0.05, "color_drift": 0.06}


class Artifacts(NamedTuple):
    """One picture's scores.

    - ``grid``: decades by which the strongest spectral peak at a period of 2 or 4 pixels, across,
      down or diagonal, stands above its neighbourhood more than it does in the photo
    - ``border``: natural logarithm of how much stronger or deader the outermost ring is
    - ``blobs``: how much more alike the strongest blotches are than those of the photo, -1 .. 1
    - ``clipping``: share of saturated pixels beyond the photo's
    - ``color_drift``: distance of the mean color from the photo's, or from the line between the
      photo's and the painting's where there is a painting
    """

    grid: float
    border: float
    blobs: float
    clipping: float
    color_drift: float

    def findings(self) -> list[str]:
        """The names of the scores that are over their limits."""
        return [name for name, limit in LIMITS.items() if getattr(self, name) > limit]


@torch.no_grad()
def find_artifacts(picture: Tensor, photo: Tensor, painting: Tensor | None = None) -> Artifacts:
    """Every score of ``picture`` against ``photo``; with ``painting`` its colors are welcome."""
    return Artifacts(
        grid=grid(picture, photo),
        border=border(picture, photo),
        blobs=blobs(picture) - blobs(photo),
        clipping=clipped_share(picture) - clipped_share(photo),
        color_drift=color_drift(picture, photo, painting),
    )


def grid(picture: Tensor, photo: Tensor) -> float:
    """Checkerboards, lines and cross-hatches of 2 or 4 pixels: see ``Artifacts``."""
    excess = peaks(picture) - peaks(photo).clamp(min=0)
    return float(excess.max())


def peaks(picture: Tensor) -> Tensor:
    """picture (3, H, W) -> decades by which each frequency of period 2 or 4 stands out, (9,).

    Power is averaged over half-overlapping windows and colors. On an axis, where pictures of
    straight things have much power, a frequency is compared with others of that axis.
    """
    side = min(TILE, *(s // 4 * 4 for s in picture.shape[-2:]))
    detail = picture.double() - picture.double().mean((1, 2), keepdim=True)
    tiles = detail.unfold(1, side, side // 2).unfold(2, side, side // 2).reshape(-1, side, side)
    window = torch.hann_window(side, dtype=torch.float64)
    tiles = (tiles - tiles.mean((1, 2), keepdim=True)) * window[:, None] * window
    power = (torch.fft.fft2(tiles).abs().square().mean(0) + 1e-9).log10()
    quarter = side // 4
    steps = torch.tensor([*range(-6, -2), *range(3, 7)])
    found = []
    for v, u in itertools.product((0, 1, 2, 3), (0, 1, 2)):
        if (v, u) in ((0, 0), (3, 0)) or (u == 2 and v == 3):  # none, or the mirror of another
            continue
        row, column = v * quarter, u * quarter
        rows, columns = (row + steps * (v > 0)) % side, (column + steps * (u > 0)) % side
        around = power[rows[:, None], columns] if u and v else power[rows, columns]
        found.append(power[row, column] - around.median())
    return torch.stack(found)


def border(picture: Tensor, photo: Tensor) -> float:
    """Frames, dead rims and seams along the edge: see ``Artifacts``."""
    scores = [abs(a - b) for a, b in zip(rims(picture), rims(photo), strict=True)]
    return max(scores)


def rims(picture: Tensor) -> tuple[float, float]:
    """Logarithms of the outermost ring's fine detail, and of the step from it inwards, over those
    further in."""
    luminance = picture.double().mean(0)
    sides = [luminance, luminance.flip(0), luminance.T, luminance.T.flip(0)]
    detail, step = [], []
    for side in sides:
        strips = side[: 8 * RING].unfold(0, RING, RING)  # (8, length, RING), from the edge inwards
        along = (strips[:, 1:] - strips[:, :-1]).square().mean((1, 2)) + 1e-6
        detail.append(along[0].log() - along[2:].log().mean())
        jumps = (strips.mean(2)[1:] - strips.mean(2)[:-1]).abs().mean(1) + 2e-3
        step.append(jumps[0].log() - jumps[2:].log().mean())
    return float(torch.stack(detail).mean()), float(torch.stack(step).mean())


def blobs(picture: Tensor) -> float:
    """Mean correlation of the strongest blotches of one sign with each other, -1 .. 1.

    Blotches that a net makes, as instance normalization invites, look all the same.
    """
    luminance = picture.float().mean(0)
    narrow, wide = (_blurred(luminance, BLOB_SIGMA * k) for k in (1.0, 1.6))
    response = narrow - wide
    best = -1.0
    for sign in (1, -1):
        patches = _patches_at_peaks(luminance, sign * response)
        if len(patches) < 3:
            continue
        flat = patches.flatten(1) - patches.flatten(1).mean(1, keepdim=True)
        flat = flat / (flat.norm(dim=1, keepdim=True) + 1e-3)
        products = flat @ flat.T
        pairs = products[tuple(torch.triu_indices(len(flat), len(flat), 1))]
        best = max(best, float(pairs.mean()))
    return best


def clipped_share(picture: Tensor) -> float:
    """Share of pixels of which a color is at either end of its range."""
    ends = (picture <= 1.5 / 255) | (picture >= 253.5 / 255)
    return float(ends.any(0).float().mean())


def color_drift(picture: Tensor, photo: Tensor, painting: Tensor | None = None) -> float:
    """Euclidean distance of the mean color, in RGB of [0, 1]: see ``Artifacts``."""
    means = [x.double().mean((1, 2)) for x in (picture, photo)]
    offset = means[0] - means[1]
    if painting is not None:
        towards = painting.double().mean((1, 2)) - means[1]
        share = (offset @ towards) / (towards.square().sum() + 1e-12)
        offset = offset - share.clamp(0, 1) * towards
    return float(offset.norm())


def _blurred(luminance: Tensor, sigma: float) -> Tensor:
    radius = int(3 * sigma)
    x = torch.arange(-radius, radius + 1, dtype=luminance.dtype)
    kernel = torch.exp(-x.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    image = F.pad(luminance[None, None], [radius] * 4, mode="replicate")
    return F.conv2d(F.conv2d(image, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[0, 0]


def _patches_at_peaks(luminance: Tensor, response: Tensor) -> Tensor:
    """The surroundings of the highest local maxima, (peaks, 2 * BLOB_PATCH + 1, the same)."""
    around = F.max_pool2d(response[None, None], 2 * BLOB_PATCH + 1, 1, BLOB_PATCH)[0, 0]
    inside = torch.zeros_like(response, dtype=torch.bool)
    inside[BLOB_PATCH:-BLOB_PATCH, BLOB_PATCH:-BLOB_PATCH] = True
    rows, columns = torch.nonzero((response == around) & inside & (response > 0.01)).T
    order = response[rows, columns].argsort(descending=True)[:BLOB_PEAKS]
    size = 2 * BLOB_PATCH + 1
    patches = [
        luminance[r - BLOB_PATCH : r + BLOB_PATCH + 1, c - BLOB_PATCH : c + BLOB_PATCH + 1]
        for r, c in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
    ]
    return torch.stack(patches) if patches else luminance.new_zeros(0, size, size)
