"""Scores of what goes wrong in stylized pictures, each against the photo it was made from.

Higher is worse, 0 and below is clean, and ``LIMITS`` says from where on a score is a finding; the
limits come from planting each artifact into photos, paintings and stylized pictures
(``scripts/proofs/plant_artifacts.py``). All take (3, H, W), RGB in [0, 1], 64 x 64 pixels or more
(smaller ones are scored too, less surely), and the photo only needs a similar size: what it has
too, such as the blocks of a JPEG, is not held against the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

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
        lattice=lattice(picture, photo),
        weave=weave(picture, photo),
        frame=frame(picture, photo),
        blobs=blobs(picture, photo),
        blotch=blotch(picture, photo),
        clipping=clipping(picture, photo),
        color_drift=color_drift(picture, photo, painting),
    )


def lattice(picture: Tensor, photo: Tensor) -> float:
    """Checkerboards, lines and hatches that are locked to the pixel grid: see ``Artifacts``."""
    return pattern_levels(picture) - pattern_levels(photo)


def pattern_levels(picture: Tensor) -> float:
    """The strongest pattern of a fixed period in picture (3, H, W), in levels of 255.

    Cells of ``FOLDS`` pixels a side are laid over each other: what is in all of them stays, all
    else averages out, and how much of it is left by chance is known from their spread.
    """
    box = torch.full((1, 1, 1, FINE), 1 / FINE, dtype=torch.float64)
    padded = F.pad(picture.double()[:, None], [FINE // 2] * 4, mode="replicate")
    detail = picture.double() - F.conv2d(F.conv2d(padded, box), box.transpose(2, 3))[:, 0]
    most = 3 * float(detail.std())
    levels = [0.0]
    for fold in FOLDS:
        height, width = (side // fold * fold for side in detail.shape[-2:])
        cells = detail[:, :height, :width].clamp(-most, most)
        cells = cells.unfold(1, fold, fold).unfold(2, fold, fold).reshape(3, -1, fold, fold)
        if cells.shape[1] < 2:
            continue  # too small to tell
        by_chance = cells.var(1).mean() / cells.shape[1]
        found = cells.mean(1).var((1, 2), correction=0).mean() - by_chance
        levels.append(255 * float(found.clamp(min=0).sqrt()))
    return max(levels)


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


def frame(picture: Tensor, photo: Tensor) -> float:
    """Frames, seams and dead rims along the edge: see ``Artifacts``."""
    return rim(picture) - max(rim(photo), RIM_USUAL)


def rim(picture: Tensor) -> float:
    """How far some of the outermost pixels' steps inwards stand out from those around them.

    At each depth, the mean square of the step to the next pixel inwards, as a natural logarithm, of
    which the least over the four sides counts: a horizon is on one side only. A frame is one step
    larger than those around it, a dead rim has smaller ones than there are further in.
    """
    pixels = picture.double().mean(0)
    depth = min(RIM + EDGE, min(pixels.shape) // 2)
    if depth <= EDGE:
        return 0.0  # too small to tell
    sides = [pixels, pixels.flip(0), pixels.T, pixels.T.flip(0)]
    steps = [(side[1 : depth + 1] - side[:depth]).square().mean(1) for side in sides]
    energy = (torch.stack(steps) + 1e-6).log()  # (4, depth)
    reach = depth - EDGE
    around = [energy[:, max(d - EDGE, 0) : d + EDGE].median(1).values for d in range(reach)]
    step = (energy[:, :reach] - torch.stack(around, dim=1)).amin(0).max()
    further_in = energy[:, EDGE : 2 * EDGE].median(1, keepdim=True).values
    dead = (further_in - energy[:, :EDGE]).amin(0).max()
    return float(torch.maximum(step, DEAD * dead))


def blobs(picture: Tensor, photo: Tensor) -> float:
    """Blotches that repeat: see ``Artifacts``."""
    return likeness(picture) - max(likeness(photo), BLOBS_USUAL)


def likeness(picture: Tensor) -> float:
    """Mean correlation of the strongest blotches of one sign with each other, -1 .. 1.

    Blotches that a net makes, as instance normalization invites, look all the same.
    """
    luminance = picture.float().mean(0)
    narrow, wide = (_blurred(luminance[None], BLOB_SIGMA * k)[0] for k in (1.0, 1.6))
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


def blotch(picture: Tensor, photo: Tensor) -> float:
    """One saturated spot the size of a face in a sky: see ``Artifacts``.

    Both are blurred. Where the photo is flat, the picture's colors are fitted, robustly, as a
    linear function of the photo's; a blotch is what has nothing to do with the photo.
    """
    height, width = (
        max(side // REDUCED, 1) for side in picture.shape[-2:]
    )  # fine things do not count
    size = height, width
    reduced = (F.adaptive_avg_pool2d(x[None].float(), size)[0] for x in (picture, photo, photo**2))
    colors, given, squared = (_blurred(x, BLOTCH * min(size)) for x in reduced)
    flat = (squared - given.square()).clamp(min=0).sum(0).sqrt() < FLAT
    if flat.float().mean() < LEAST_FLAT:
        return 0.0
    known = torch.stack([torch.ones_like(given[0])[flat], *given[:, flat]], dim=1)
    wanted = colors[:, flat].T
    weights = torch.ones(len(wanted), 1, dtype=wanted.dtype)
    for _ in range(6):  # least squares, then ever more of least distances
        fitted = known @ torch.linalg.lstsq(known * weights, wanted * weights).solution
        distances = (wanted - fitted).norm(dim=1)
        weights = (distances[:, None] + 0.02).rsqrt()
    return float(distances.max())


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
        toward = painting.double().mean((1, 2)) - means[1]
        share = (offset @ toward) / (toward.square().sum() + 1e-12)
        offset = offset - share.clamp(0, 1) * toward
    return float(offset.norm())


def _blurred(planes: Tensor, sigma: float) -> Tensor:
    """planes (C, H, W) -> the same, under a Gaussian of ``sigma`` pixels."""
    radius = max(int(3 * sigma), 1)
    x = torch.arange(-radius, radius + 1, dtype=planes.dtype)
    kernel = torch.exp(-x.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    image = F.pad(planes[:, None], [radius] * 4, mode="replicate")
    return F.conv2d(F.conv2d(image, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0]


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
