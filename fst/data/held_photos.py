"""Photos held decoded on the device that trains, so that no loader can starve it.

To cut a square out of a picture and to resize it is one matrix product across and one down, with
the same triangular filter as Pillow's and the same weights (Wolberg 1990, *Digital Image Warping*):
so a batch of crops costs a GPU a gather and two small products, and the CPU next to nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fst.data.dataset import Draw, PhotoBatch, PhotoFolder
from fst.data.photo_files import open_photo
from fst.data.prepared_photo import SmallPhoto
from fst.errors import FstError
from fst.pictures.image import resize_shorter, to_array
from fst.system.memory import available_memory, bound_of_memory

HELD_SIZE = 1.25  # times a crop's: what fst prepare keeps, too
AHEAD = 16  # batches
SHARE_OF_ROOM = 0.7  # of the free memory: training needs some, too
MARGIN = 4  # pixels of a window beyond the longest crop: the filter looks at them too
PROBES = 16  # photos that tell how large all are


class HeldPhotos(Dataset[PhotoBatch]):
    """The photos of a folder, decoded once and held on a device, where crops of them are made.

    Item ``samples``, a list of sample numbers, is their batch on that device: the same photos,
    crops and flips as the folder's, to a level of 255, which those are rounded to; of prepared
    photos they are not moved to even pixels. Photos of more than ``HELD_SIZE`` times the crop's
    size are held reduced to that. A photo that cannot be read is known by now. As small kernels
    for few pixels keep a GPU waiting for the CPU, ``AHEAD`` batches are made at once, each of
    sample numbers ``stride`` further; of a stride of 0 one is. Raises ``FstError`` if no photo
    can be read or the device has no room.
    """

    def __init__(self, folder: PhotoFolder, *, device: torch.device, stride: int) -> None:
        self.folder, self.device, self.stride = folder, device, stride
        self._require_room()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            photos = list(pool.map(self._read, range(len(folder.paths))))
        if not any(photo is not None for photo in photos):
            raise FstError(f"none of the {len(photos)} photos can be read; check data.root")
        self.store = PhotoStore(photos=photos, device=device)
        self._made: dict[tuple[int, ...], PhotoBatch] = {}

    def _require_room(self) -> None:
        """Judge by a few photos whether all have room, before all are decoded."""
        count = len(self.folder.paths)
        few = range(0, count, -(-count // PROBES))
        sizes = [photo.nbytes for photo in map(self._read, few) if photo is not None]
        if not sizes:
            return
        needed = count * sum(sizes) / len(sizes)
        on_cpu = self.device.type == "cpu"
        rooms = [("this machine", available_memory(), 2 if on_cpu else 1)]  # as read, and as held
        if self.device.type == "cuda":
            rooms.append((str(self.device), torch.cuda.mem_get_info(self.device)[0], 1))
        for place, free, copies in rooms:
            if copies * needed > SHARE_OF_ROOM * free:
                within = bound_of_memory() if place == "this machine" else ""
                raise FstError(
                    f"{count} photos take about {copies * needed / 1e9:.1f} GB of the memory of "
                    f"{place}, of which {free / 1e9:.1f} GB are free{within}; use data.held=false"
                )

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, samples: Sequence[int]) -> PhotoBatch:
        if tuple(samples) not in self._made:
            blocks = [[s + k * self.stride for s in samples] for k in range(AHEAD)]
            self._made = self._batches(blocks if self.stride else [list(samples)])
        return self._made.pop(tuple(samples))

    def _batches(self, blocks: list[list[int]]) -> dict[tuple[int, ...], PhotoBatch]:
        found = [[self._photo_of(sample) for sample in block] for block in blocks]
        numbers = [number for block in found for number, _ in block]
        draws = [self.folder.draw(sample) for block in blocks for sample in block]
        crops = self.store.crops(numbers, draws, self.folder.size).split([len(b) for b in blocks])
        return {
            tuple(block): PhotoBatch(
                crop,
                [str(self.folder.paths[number]) for number, _ in photos],
                [skip for _, skipped in photos for skip in skipped],
                block,
            )
            for block, photos, crop in zip(blocks, found, crops, strict=True)
        }

    def _photo_of(self, sample: int) -> tuple[int, list[tuple[str, str]]]:
        """The number of the photo that a sample is of, and what was passed over on the way."""
        skipped: list[tuple[str, str]] = []
        for number in self.folder.candidates(sample):
            if number not in self.folder.unreadable:
                return number, skipped
            skipped.append((str(self.folder.paths[number]), self.folder.unreadable[number]))
        raise AssertionError("one photo at least was read")

    def _read(self, number: int) -> np.ndarray | None:
        try:
            photo = open_photo(self.folder.paths[number])
        except FstError as error:
            self.folder.unreadable[number] = str(error)
            return None
        image = photo.image() if isinstance(photo, SmallPhoto) else photo
        most = round(HELD_SIZE * self.folder.size)
        return to_array(resize_shorter(image, most) if min(image.size) > most else image)[0]


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
