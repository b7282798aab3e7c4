"""Photos held decoded on the device that trains, so that no loader can starve it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.utils.data import Dataset

from fst.data import PhotoBatch, PhotoFolder
from fst.errors import FstError
from fst.image import resize_shorter, to_array
from fst.photo_files import open_photo
from fst.photo_store import PhotoStore
from fst.small_photo import SmallPhoto

HELD_SIZE = 1.25  # times a crop's: what fst prepare keeps, too


class HeldPhotos(Dataset[PhotoBatch]):
    """The photos of a folder, decoded once and held on a device, where crops of them are made.

    Item ``samples``, a list of sample numbers, is their batch on that device: the same photos,
    crops and flips as the folder's, to a level of 255, which those are rounded to. Photos of more
    than ``HELD_SIZE`` times the crop's size are held reduced to that. A photo that cannot be read
    is known by now. Raises ``FstError`` if the device has no room.
    """

    def __init__(self, folder: PhotoFolder, device: torch.device) -> None:
        self.folder, self.device = folder, device
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            photos = list(pool.map(self._read, range(len(folder.paths))))
        self.store = PhotoStore(photos=photos, device=device)

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, samples: Sequence[int]) -> PhotoBatch:
        numbers, skipped = [], []
        for sample in samples:
            for number in self.folder.candidates(sample):
                if number not in self.folder.unreadable:
                    numbers.append(number)
                    break
                skipped.append((str(self.folder.paths[number]), self.folder.unreadable[number]))
            else:
                raise FstError("none of the photos can be read; check data.root")
        draws = [self.folder.draw(sample) for sample in samples]
        crops = self.store.crops(numbers, draws, self.folder.size)
        return PhotoBatch(crops, [str(self.folder.paths[n]) for n in numbers], skipped)

    def _read(self, number: int) -> np.ndarray | None:
        try:
            photo = open_photo(self.folder.paths[number])
        except FstError as error:
            self.folder.unreadable[number] = str(error)
            return None
        image = photo.image() if isinstance(photo, SmallPhoto) else photo
        most = round(HELD_SIZE * self.folder.size)
        return to_array(resize_shorter(image, most) if min(image.size) > most else image)[0]
