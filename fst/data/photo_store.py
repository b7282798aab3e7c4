"""Decoded photos in the memory of a device, and crops of them made there.

To cut a square out of a picture and to resize it is one matrix product across and one down, with
the same triangular filter as Pillow's and the same weights (Wolberg 1990, *Digital Image Warping*):
so a batch of crops costs a GPU a gather and two small products, and the CPU next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fst.errors import FstError

SHARE_OF_ROOM = 0.7  # of the free memory: training needs some, too
MARGIN = 4  # pixels of a window beyond the longest crop: what the filter looks at besides


class Draw(NamedTuple):
    """What is random of one sample: the crop's edge as a share of the shorter side, its place in
    0 .. 1 across and down, and whether it is flipped."""

    share: float
    place: tuple[float, float]
    flipped: bool


class PhotoStore:
    """Photos (3, H, W) uint8, end to end in one tensor on ``device``; None has no pixels.

    Raises ``FstError`` if they do not fit.
    """

    def __init__(self, *, photos: Sequence[np.ndarray | None], device: torch.device) -> None:
        self.device = device
        shapes = [(0, 0) if photo is None else photo.shape[1:] for photo in photos]
        self.shapes = np.array(shapes, dtype=np.int64)  # height, width
        ends = np.cumsum(3 * self.shapes.prod(1))
        self.starts = ends - 3 * self.shapes.prod(1)
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
        if free is not None and ends[-1] > SHARE_OF_ROOM * free:
            raise FstError(
                f"{len(photos)} photos take {ends[-1] / 1e9:.1f} GB on {device}, of which "
                f"{free / 1e9:.1f} GB are free; use data.held=false"
            )
        self.pixels = torch.empty(int(ends[-1]), dtype=torch.uint8, device=device)
        for photo, start in zip(photos, self.starts, strict=True):
            if photo is not None:
                flat = torch.from_numpy(np.ascontiguousarray(photo)).flatten()
                self.pixels[start : start + flat.numel()] = flat.to(device)
        #: what every window is cut at: no crop and no filter reaches further
        self.window = int(self.shapes.min(1).max()) + MARGIN

    def crops(self, numbers: Sequence[int], draws: Sequence[Draw], size: int) -> Tensor:
        """Crops of the photos of these numbers -> (B, 3, size, size), RGB in [0, 1]."""
        height, width = self.shapes[numbers].T
        edge = np.minimum(height, width) * np.array([draw.share for draw in draws])
        across, down = np.array([draw.place for draw in draws]).T
        flipped = np.array([draw.flipped for draw in draws])
        left, top = (width - edge) * across, (height - edge) * down
        described = np.stack(
            [self.starts[numbers], height, width, left, top, edge, flipped], axis=1
        )  # float64 holds byte positions exactly
        on_device = torch.from_numpy(described)
        if self.device.type == "cuda":
            on_device = on_device.pin_memory().to(self.device, non_blocking=True)
        return cut(self.pixels, on_device, size=size, window=self.window)


def cut(pixels: Tensor, described: Tensor, *, size: int, window: int) -> Tensor:
    """The work of ``PhotoStore.crops``, on the device of ``pixels``.

    ``described`` (B, 7) float64: each photo's start in ``pixels``, height and width, and its crop's
    left, top, edge and whether it is flipped.
    """
    start, height, width, left, top, edge, flipped = described.T[..., None]  # (B, 1) each
    steps = torch.arange(window, device=pixels.device)
    first_x, first_y = ((begin - MARGIN / 2).floor().clamp_min(0).long() for begin in (left, top))
    columns, rows = first_x + steps, first_y + steps  # (B, window)
    inside_x = torch.minimum(columns, width.long() - 1)
    inside_y = torch.minimum(rows, height.long() - 1)
    planes = torch.arange(3, device=pixels.device)
    place = (start + planes * (height * width)).long()[:, :, None, None]
    place = place + (inside_y * width.long())[:, None, :, None] + inside_x[:, None, None, :]
    windows = pixels[place].float()  # (B, 3, window, window)
    across = filter_weights(left, edge, width, columns, size)
    across = torch.where(flipped[..., None] > 0, across.flip(1), across)
    down = filter_weights(top, edge, height, rows, size)
    # no TF32: its products of 8-bit levels would be off by up to a quarter of a level
    resized = torch.einsum("bih,bchw,bjw->bcij", down.double(), windows.double(), across.double())
    return (resized.float() / 255).clamp_(0, 1)


def filter_weights(begin: Tensor, edge: Tensor, limit: Tensor, taps: Tensor, size: int) -> Tensor:
    """What each of ``size`` pixels takes from ``taps``, positions in the photo -> (B, size, taps).

    A triangle of the width of a pixel made, or of a pixel given if that is wider, over the pixels
    that lie in the photo, which are those below ``limit``.
    """
    scale = (edge / size)[..., None]
    support = scale.clamp_min(1)
    centers = begin[..., None] + (torch.arange(size, device=taps.device) + 0.5)[:, None] * scale
    weights = (1 - ((taps[:, None, :] + 0.5 - centers) / support).abs()).clamp_min(0)
    weights = torch.where(taps[:, None, :] < limit[..., None], weights, 0)
    return weights / weights.sum(-1, keepdim=True)
