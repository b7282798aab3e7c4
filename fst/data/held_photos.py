"""Photos held decoded on the device that trains, so that no loader can starve it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.utils.data import Dataset

from fst.data.dataset import PhotoBatch, PhotoFolder
from fst.data.photo_files import open_photo
from fst.data.photo_store import SHARE_OF_ROOM, PhotoStore
from fst.data.prepared_photo import SmallPhoto
from fst.errors import FstError
from fst.pictures.image import resize_shorter, to_array
from fst.system.machine import available_memory

HELD_SIZE = 1.25  # times a crop's: what fst prepare keeps, too
AHEAD = 16  # batches
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
            if free is not None and copies * needed > SHARE_OF_ROOM * free:
                raise FstError(
                    f"{count} photos take about {copies * needed / 1e9:.1f} GB of the memory of "
                    f"{place}, of which {free / 1e9:.1f} GB are free; use data.held=false"
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
