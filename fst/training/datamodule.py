"""Photos for the trainer, batch by batch: which samples a step has, and what loads them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fst.data.dataset import CenterCrops, PhotoBatch, PhotoFolder, collate, square_crop
from fst.data.photo_files import open_photo, training_and_held_out
from fst.nets.style_file import MIN_SIDE
from fst.system.signals import outlive_signals


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


def _as_it_is(batch: Any) -> Any:
    return batch


class TimedLoader(DataLoader[PhotoBatch]):
    """A loader that knows for how long its batches were waited for, in seconds."""

    waited_s = 0.0

    def __iter__(self) -> Iterator[PhotoBatch]:  # type: ignore[override]  # Lightning needs no more
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
        """The training crops by sample number, as they come from the disk."""
        return PhotoFolder(
            paths=self.train_paths,
            size=self.size,
            crop_scale=self.crop_scale,
            flip=self.flip,
            seed=self.seed,
        )

    def crops(self, count: int, first: int = 0) -> Tensor:
        """The training crops of samples ``first`` and on (count, 3, size, size), RGB in [0, 1]."""
        photos = self.train_set()
        return collate([photos[first + k] for k in range(count)]).photos

    def held_out(self, count: int, largest: int) -> Iterator[Tensor]:
        """The middle squares (1, 3, S, S) of the first held-out photos, RGB in [0, 1].

        At their own size, of at most ``largest`` pixels a side.
        """
        for path in self.val_paths[:count]:
            photo = open_photo(path)
            side = min(photo.size)
            yield square_crop(photo, side, (0.5, 0.5), max(MIN_SIDE, min(side, largest)))

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
        """The held-out photos' center crops, all in every process, in a fixed order."""
        return DataLoader(
            CenterCrops(paths=self.val_paths, size=self.size),
            batch_size=self.batch_size,
            collate_fn=collate,
        )
