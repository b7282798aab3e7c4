"""What a run may be made of and is seldom meant to be: a sentence each, before it begins."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from fst.data.photo_files import file_size
from fst.experiments.config import Config
from fst.pictures.painting import Painting
from fst.training.datamodule import PhotoData

ENOUGH = 200  # photos
FLAT = 2 / 255  # standard deviation below which a painting is of one color


def notes(
    styles: Sequence[tuple[Config, Painting]], data: PhotoData, *, demonstration: bool
) -> Iterator[str]:
    """A sentence for each; a ``demonstration`` has few photos, and knows."""
    for config, painting in styles:
        if float(painting.image.flatten(2).std(2).max()) < FLAT:
            yield (
                f"the painting {config.style.name} is of one color: there are no strokes to learn"
            )
    count = len(data.train_paths)
    if count == 1:
        yield "there is one photo to train on: the net will know nothing of others"
    elif count < ENOUGH and not demonstration:
        yield f"{count} photos are few: with {ENOUGH} or more the net learns what photos are like"
    both = seen_twice(data.train_paths, data.val_paths)
    if both:
        yield (
            f"{both[0]}{f' and {len(both) - 1} more' if both[1:] else ''} is trained on and held "
            "out as well: the held-out losses will look too good"
        )


def seen_twice(train: Sequence[Path], held_out: Sequence[Path]) -> list[Path]:
    """The held-out photos that are also trained on: the same file, or one of the same bytes."""
    sizes = {size for size in map(file_size, held_out) if size >= 0}
    alike = [path for path in train if file_size(path) in sizes]
    return [path for path in held_out if any(_same(path, other) for other in alike)]


def _same(path: Path, other: Path) -> bool:
    try:
        if os.path.samefile(path, other):
            return True
        return file_size(path) == file_size(other) and path.read_bytes() == other.read_bytes()
    except OSError:
        return False
