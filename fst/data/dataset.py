"""A folder of photos as training data: no labels, no sub-folders needed, every sample reproducible.

Which photo, crop and flip make up sample k of step n depends on (seed, n, k) alone: not on the
number of workers or processes, and not on what was drawn before. So a run can resume from any step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from fst.data.photo_files import open_photo
from fst.data.prepared_photo import SmallPhoto
from fst.errors import FstError
from fst.pictures.image import to_tensor


class PhotoBatch(NamedTuple):
    """A batch of crops, where they came from, and the unreadable files met on the way."""

    photos: Tensor  # (B, 3, size, size), RGB in [0, 1]
    paths: list[str]
    skipped: list[tuple[str, str]]  # (path, reason)
    samples: Sequence[int] = ()  # their numbers in training, or among the held-out photos


class Draw(NamedTuple):
    """What is random of one sample: the crop's edge as a share of the shorter side, its place in
    0 .. 1 across and down, and whether it is flipped."""

    share: float
    place: tuple[float, float]
    flipped: bool


def square_crop(
    photo: Image.Image | SmallPhoto, edge: float, place: tuple[float, float], size: int
) -> Tensor:
    """A square of ``edge`` pixels at ``place`` (0 left or top, 1 right or bottom), resized.

    -> (1, 3, size, size), RGB in [0, 1]
    """
    width, height = photo.size
    left, top = (width - edge) * place[0], (height - edge) * place[1]
    box = (left, top, left + edge, top + edge)
    if isinstance(photo, SmallPhoto):
        return photo.crop(box, (size, size))
    return to_tensor(photo.resize((size, size), Image.Resampling.BILINEAR, box=box))


class PhotoFolder(Dataset[PhotoBatch]):
    """Photos by sample number: item i is one crop, a function of (seed, i) and the list of paths.

    Each pass over the photos has its own shuffle, so every photo is seen once per pass. A file
    that cannot be read is reported and the next one in the shuffle takes its place. The crop is a
    square whose edge is ``crop_scale`` (low, high) times the shorter side, resized to ``size``.
    """

    def __init__(
        self,
        *,
        paths: Sequence[Path],
        size: int,
        crop_scale: tuple[float, float],
        flip: bool,
        seed: int,
    ) -> None:
        self.paths = list(paths)
        self.size = size
        self.crop_scale = crop_scale
        self.flip = flip
        self.seed = seed
        self.unreadable: dict[int, str] = {}  # by number in ``paths``
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, sample: int) -> PhotoBatch:
        skipped: list[tuple[str, str]] = []
        for number in self.candidates(sample):
            path = self.paths[number]
            if number not in self.unreadable:
                try:
                    crop = self._crop(path, self.draw(sample))
                    return PhotoBatch(crop, [str(path)], skipped, [sample])
                except FstError as error:
                    self.unreadable[number] = str(error)
            skipped.append((str(path), self.unreadable[number]))
        raise FstError(
            f"none of the {len(self.paths)} photos can be read any more; check data.root"
        )

    def candidates(self, sample: int) -> Iterator[int]:
        """The numbers of the photos to take a sample from: the first of them that can be read."""
        count = len(self.paths)
        order = self._shuffle(sample // count)
        return (int(order[(sample + offset) % count]) for offset in range(count))

    def draw(self, sample: int) -> Draw:
        """The crop of a sample, whatever its photo."""
        rng = np.random.default_rng([self.seed, 1, sample])
        low, high = self.crop_scale
        share, place = low + (high - low) * rng.random(), (rng.random(), rng.random())
        return Draw(share, place, self.flip and rng.random() < 0.5)

    def _shuffle(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, 0, epoch])
            self._order = (epoch, rng.permutation(len(self.paths)))
        return self._order[1]

    def _crop(self, path: Path, draw: Draw) -> Tensor:
        photo = open_photo(path)
        crop = square_crop(photo, min(photo.size) * draw.share, draw.place, self.size)
        return crop.flip(-1) if draw.flipped else crop


class CenterCrops(Dataset[PhotoBatch]):
    """The middle square of each held-out photo: always the same pixels, for validation."""

    def __init__(self, *, paths: Sequence[Path], size: int) -> None:
        self.paths, self.size = list(paths), size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> PhotoBatch:
        path = self.paths[index]
        photo = open_photo(path)
        crop = square_crop(photo, min(photo.size), (0.5, 0.5), self.size)
        return PhotoBatch(crop, [str(path)], [], [index])


def collate(samples: Sequence[PhotoBatch]) -> PhotoBatch:
    """Single samples -> one batch."""
    return PhotoBatch(
        torch.cat([sample.photos for sample in samples]),
        [path for sample in samples for path in sample.paths],
        [skip for sample in samples for skip in sample.skipped],
        [number for sample in samples for number in sample.samples],
    )
