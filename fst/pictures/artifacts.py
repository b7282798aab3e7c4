"""Scores of what goes wrong in stylized pictures, each against the photo it was made from.

Higher is worse, 0 and below is clean, and ``LIMITS`` says from where on a score is a finding; the
limits come from planting each artifact into photos, paintings and stylized pictures
(``scripts/proofs/plant_artifacts.py``). All take (3, H, W), RGB in [0, 1], 64 x 64 pixels or more
(smaller ones are scored too, less surely), and the photo only needs a similar size: what it has
too, such as the blocks of a JPEG, is not held against the picture.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 64  # pixels; periods 2 and 4 are whole numbers of its frequencies
WEAVE = (2.1, 5.0)  # periods in pixels
WEAVE_USUAL = 0.37  # what pictures of straight things have: the middle one of photos and paintings
RIM = 8  # pixels from the edge
DEAD = 0.5  # of the logarithm: skies make quiet edges, only stillness is dead
RIM_USUAL = 0.4  # of clean pictures 9 in 10 have less
BLOB_SIGMA = 3.0  # pixels: about half the radius of a blotch
BLOB_PEAKS = 8  # the strongest of each sign that are compared with each other
BLOB_PATCH = 13  # pixels around a peak on each side
BLOBS_USUAL = 0.5  # likeness that is nothing odd: 5 in 6 photos and paintings have less

LIMITS = {
    "grid": 0.5,
    "weave": 1.2,
    "border": 0.6,
    "blobs": 0.17,
    "clipping": 0.25,
    "color_drift": 0.05,
}


class Artifacts(NamedTuple):
    """One picture's scores.

    - ``grid``: decades by which the strongest spectral peak at a period of 2 or 4 pixels, across,
      down or diagonal, stands above its neighbourhood more than it does in the photo
    - ``weave``: decades by which the strongest period of 2.1 to 5 pixels across or down stands
      above the slanted ones beside it more than it does in the photo
    - ``border``: natural logarithm of how much more the steps inwards from every edge stand out,
      as too large or too small, than those of the photo
    - ``blobs``: how much more alike the strongest blotches are than those of the photo, -1 .. 1
    - ``clipping``: share of saturated pixels beyond the photo's
    - ``color_drift``: distance of the mean color from the photo's, or from the line between the
      photo's and the painting's where there is a painting
    """

    grid: float
    weave: float
    border: float
    blobs: float
    clipping: float
    color_drift: float

    def findings(self) -> list[str]:
        """The names of the scores that are over their limits."""
        return [name for name, limit in LIMITS.items() if getattr(self, name) > limit]


def flat_photos(size: int) -> dict[str, Tensor]:
    """What nets stumble over, (3, size, size) each: one constant color, and a sky.

    The sky goes from blue to pale over its height and has the grain of a camera, one level of 255.
    """
    constant = torch.tensor([0.47, 0.67, 0.9])[:, None, None].expand(3, size, size).clone()
    height = torch.linspace(0, 1, size)[None, :, None]
    top, bottom = (torch.tensor(c)[:, None, None] for c in ([0.35, 0.6, 0.86], [0.86, 0.9, 0.94]))
    grain = torch.randn(3, size, size, generator=torch.Generator().manual_seed(0)) / 255
    sky = (top + (bottom - top) * height + grain).clamp(0, 1)
    return {"constant": constant, "sky": sky}


@torch.no_grad()
def find_artifacts(picture: Tensor, photo: Tensor, painting: Tensor | None = None) -> Artifacts:
    """Every score of ``picture`` against ``photo``; with ``painting`` its colors are welcome."""
    return Artifacts(
        grid=grid(picture, photo),
        weave=weave(picture, photo),
        border=border(picture, photo),
        blobs=blobs(picture, photo),
        clipping=clipping(picture, photo),
        color_drift=color_drift(picture, photo, painting),
    )


def grid(picture: Tensor, photo: Tensor) -> float:
    """Checkerboards, lines and cross-hatches of 2 or 4 pixels: see ``Artifacts``."""
    excess = peaks(picture) - peaks(photo).clamp(min=0)
    return float(excess.max())


def peaks(picture: Tensor) -> Tensor:
    """picture (3, H, W) -> decades by which each frequency of period 2 or 4 stands out, (9,).

    On an axis, where pictures of straight things have much power, a frequency is compared with
    others of that axis.
    """
    power = spectrum(picture)
    side = len(power)
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


def weave(picture: Tensor, photo: Tensor) -> float:
    """Lattices of rows and columns, of any period of a few pixels: see ``Artifacts``."""
    excess = threads(picture) - threads(photo).clamp(min=WEAVE_USUAL)
    return float(excess.max())


def threads(picture: Tensor) -> Tensor:
    """picture (3, H, W) -> for columns and rows, how far their strongest period stands out, (2,).

    In decades, over the median of the frequencies of like length that are slanted a little.
    """
    power = spectrum(picture)
    side = len(power)
    highest, lowest = (int(side / period) for period in WEAVE)
    slanted = torch.tensor([*range(-8, -2), *range(3, 9)]) % side
    found = []
    for axis in (power, power.T):
        excess = axis[0] - axis[slanted].median(0).values
        found.append(excess[lowest : highest + 1].max())
    return torch.stack(found)


def spectrum(picture: Tensor) -> Tensor:
    """picture (3, H, W) -> log10 of its mean power at each frequency, (side, side).

    Over half-overlapping windows of ``TILE`` pixels, or of what the picture has, and colors.
    """
    side = min(TILE, *(s // 4 * 4 for s in picture.shape[-2:]))
    detail = picture.double() - picture.double().mean((1, 2), keepdim=True)
    tiles = detail.unfold(1, side, side // 2).unfold(2, side, side // 2).reshape(-1, side, side)
    window = torch.hann_window(side, dtype=torch.float64)
    tiles = (tiles - tiles.mean((1, 2), keepdim=True)) * window[:, None] * window
    return (torch.fft.fft2(tiles).abs().square().mean(0) + 1e-9).log10()


def border(picture: Tensor, photo: Tensor) -> float:
    """Frames, seams and dead rims along the edge: see ``Artifacts``."""
    return rim(picture) - max(rim(photo), RIM_USUAL)


def rim(picture: Tensor) -> float:
    """How far the outermost pixels' steps inwards stand out from those further in.

    At each depth, the mean square of the step to the next pixel inwards, as a natural logarithm, of
    which the least over the four sides counts: a horizon is on one side only. A frame is one step
    larger than those around it, a dead rim has smaller ones than there are further in.
    """
    pixels = picture.double().mean(0)
    depth = min(4 * RIM, min(pixels.shape) // 2)
    if depth <= RIM:
        return 0.0  # too small to tell
    sides = [pixels, pixels.flip(0), pixels.T, pixels.T.flip(0)]
    steps = [(side[1 : depth + 1] - side[:depth]).square().mean(1) for side in sides]
    energy = (torch.stack(steps) + 1e-6).log()  # (4, depth)
    around = [energy[:, max(d - RIM, 0) : d + RIM].median(1).values for d in range(RIM)]
    frame = (energy[:, :RIM] - torch.stack(around, dim=1)).amin(0).max()
    further_in = energy[:, RIM : 2 * RIM].median(1, keepdim=True).values
    dead = (further_in - energy[:, :RIM]).amin(0).max()
    return float(torch.maximum(frame, DEAD * dead))


def blobs(picture: Tensor, photo: Tensor) -> float:
    """Blotches that repeat: see ``Artifacts``."""
    return likeness(picture) - max(likeness(photo), BLOBS_USUAL)


def likeness(picture: Tensor) -> float:
    """Mean correlation of the strongest blotches of one sign with each other, -1 .. 1.

    Blotches that a net makes, as instance normalization invites, look all the same.
    """
    luminance = picture.float().mean(0)
    narrow, wide = (_blurred(luminance, BLOB_SIGMA * k) for k in (1.0, 1.6))
    response = narrow - wide
    best = -1.0
    for sign in (1, -1):
        patches = _patches_at_peaks(sign * response)
        if len(patches) < 3:
            continue
        flat = patches.flatten(1) - patches.flatten(1).mean(1, keepdim=True)
        flat = flat / (flat.norm(dim=1, keepdim=True) + 1e-3)
        products = flat @ flat.T
        pairs = products[tuple(torch.triu_indices(len(flat), len(flat), 1))]
        best = max(best, float(pairs.mean()))
    return best


def clipping(picture: Tensor, photo: Tensor) -> float:
    """Saturated pixels: see ``Artifacts``."""
    return clipped_share(picture) - clipped_share(photo)


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


def _patches_at_peaks(response: Tensor) -> Tensor:
    """The surroundings of the highest local maxima, (peaks, 2 * BLOB_PATCH + 1, the same)."""
    around = F.max_pool2d(response[None, None], 2 * BLOB_PATCH + 1, 1, BLOB_PATCH)[0, 0]
    inside = torch.zeros_like(response, dtype=torch.bool)
    inside[BLOB_PATCH:-BLOB_PATCH, BLOB_PATCH:-BLOB_PATCH] = True
    rows, columns = torch.nonzero((response == around) & inside & (response > 0.01)).T
    order = response[rows, columns].argsort(descending=True)[:BLOB_PEAKS]
    size = 2 * BLOB_PATCH + 1
    patches = [
        response[r - BLOB_PATCH : r + BLOB_PATCH + 1, c - BLOB_PATCH : c + BLOB_PATCH + 1]
        for r, c in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
    ]
    return torch.stack(patches) if patches else response.new_zeros(0, size, size)
