"""A folder of photos as training data: no labels, no sub-folders needed, every sample reproducible.

Which photo, crop and flip make up sample k of step n depends on (seed, n, k) alone: not on the
number of workers or processes, and not on what was drawn before. So a run can go on from any step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fst.data.photo_files import open_photo, training_and_held_out
from fst.data.photo_store import Draw
from fst.data.prepared_photo import SmallPhoto
from fst.errors import FstError
from fst.pictures.image import to_tensor
from fst.system.signals import outlive_signals


class PhotoBatch(NamedTuple):
    """A batch of crops, where they came from, and the unreadable files met on the way."""

    photos: Tensor  # (B, 3, size, size), RGB in [0, 1]
    paths: list[str]
    skipped: list[tuple[str, str]]  # (path, reason)
    samples: Sequence[int] = ()  # their numbers in training, or among the held-out photos


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


class StepSampler(Sampler[list[int]]):
    """The sample numbers of each batch, from batch ``first`` on, for one of ``world`` processes.

    Batch n of process r holds samples ``n * world * batch + r * batch + (0 .. batch - 1)``: the
    union over processes is the same for every way of dividing a global batch.
    """

    def __init__(self, *, first: int, count: int, batch: int, rank: int, world: int) -> None:
        self.first, self.count, self.batch = first, count, batch
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return self.count  # of the whole run: Lightning counts batches from the run's start

    def __iter__(self) -> Iterator[list[int]]:
        for n in range(self.first, self.count):
            start = (n * self.world + self.rank) * self.batch
            yield list(range(start, start + self.batch))


def collate(samples: Sequence[PhotoBatch]) -> PhotoBatch:
    """Single samples -> one batch."""
    return PhotoBatch(
        torch.cat([sample.photos for sample in samples]),
        [path for sample in samples for path in sample.paths],
        [skip for sample in samples for skip in sample.skipped],
        [number for sample in samples for number in sample.samples],
    )


def _as_it_is(batch: Any) -> Any:
    return batch


class TimedLoader(DataLoader[PhotoBatch]):
    """A loader that knows for how long its batches were waited for, in seconds."""

    waited_s = 0.0

    def __iter__(self) -> Iterator[PhotoBatch]:  # type: ignore[override]  # Lightning asks no more
        batches = super().__iter__()
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            self.waited_s += time.monotonic() - start
            if batch is None:
                return
            yield batch


class Hold(Protocol):
    """Makes the dataset of whole batches, on the device that trains; see ``HeldPhotos``."""

    def __call__(
        self, folder: PhotoFolder, *, device: torch.device, stride: int
    ) -> Dataset[PhotoBatch]: ...


class PhotoData(pl.LightningDataModule):
    """Training crops and held-out photos from ``root`` (and ``val_root``), batch by batch.

    With ``hold`` the training crops come from there, already on the device. Raises ``FstError`` at
    once, before any net is built, if there is no photo to train on.
    """

    def __init__(
        self,
        *,
        root: str,
        val_root: str | None,
        val_photos: int,
        size: int,
        batch_size: int,
        crop_scale: tuple[float, float],
        flip: bool,
        workers: int,
        seed: int,
        hold: Hold | None = None,
    ) -> None:
        super().__init__()
        self.hold = hold
        self.train_paths, self.val_paths, self.unreadable = training_and_held_out(
            root, val_root=val_root, val_photos=val_photos
        )
        self.size, self.batch_size, self.workers, self.seed = size, batch_size, workers, seed
        self.crop_scale, self.flip = crop_scale, flip

    def train_set(self) -> PhotoFolder:
        return PhotoFolder(
            paths=self.train_paths,
            size=self.size,
            crop_scale=self.crop_scale,
            flip=self.flip,
            seed=self.seed,
        )

    def train_dataloader(self) -> TimedLoader:
        """Called by Lightning after a checkpoint is restored, so it starts at the next step."""
        trainer = self.trainer
        assert trainer is not None
        accumulate = trainer.accumulate_grad_batches
        sampler = StepSampler(
            first=trainer.global_step * accumulate,
            count=trainer.max_steps * accumulate,
            batch=self.batch_size,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
        if self.hold is not None:
            device, stride = trainer.strategy.root_device, trainer.world_size * self.batch_size
            held = self.hold(self.train_set(), device=device, stride=stride)
            return TimedLoader(held, sampler=sampler, batch_size=None, collate_fn=_as_it_is)
        return TimedLoader(
            self.train_set(),
            batch_sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
            worker_init_fn=outlive_signals,
        )

    def val_dataloader(self) -> DataLoader[PhotoBatch]:
        return DataLoader(
            CenterCrops(paths=self.val_paths, size=self.size),
            batch_size=self.batch_size,
            collate_fn=collate,
        )
