"""How fast photos come: crops for training from JPEG files and from prepared ones."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from fst.benchmark.plain import photo_batches
from fst.benchmark.timing import Contestant, Row, race
from fst.data.dataset import PhotoFolder
from fst.data.prepared_folder import cached_photos, prepare
from fst.pictures.image import resize_shorter


def benchmark_loading(
    photos: Sequence[Path], *, size: int, count: int, warm_up: int, repetitions: int
) -> list[Row]:
    """Crops of ``size`` from ``count`` photos, one after the other, as one worker makes them.

    One process with one thread.

    The photos are first made 640x480 JPEGs of quality 92. The decoder's own limit is Pillow's
    decoding alone. The cache is that of ``fst prepare``, in its default size.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
        jpegs, cache = Path(folder, "plain", "jpeg"), Path(folder, "cache")
        jpegs.mkdir(parents=True)
        for number in range(count):
            image = Image.open(photos[number % len(photos)]).convert("RGB")
            shape = (640, 480) if image.width >= image.height else (480, 640)
            image.resize(shape, Image.Resampling.BICUBIC).save(
                jpegs / f"{number:04d}.jpg", quality=92
            )
        prepare(jpegs, cache, size=320, threads=1)
        sources = {"JPEG": sorted(jpegs.iterdir()), "cache": cached_photos(cache)}
        folders = {
            name: PhotoFolder(paths=paths, size=size, crop_scale=(0.75, 1.0), flip=True, seed=0)
            for name, paths in sources.items()
        }
        contestants: dict[str, Contestant] = {
            "plain": lambda: list(photo_batches(jpegs.parent, size=size, batch=4)),
            "decoding alone": lambda: [Image.open(p).convert("RGB") for p in sources["JPEG"]],
            "fst, JPEG": lambda: [folders["JPEG"][k] for k in range(count)],
            "fst, prepared": lambda: [folders["cache"][k] for k in range(count)],
        }
        timings = race(contestants, warm_up=warm_up, repetitions=repetitions)
        bytes_each = {k: sum(p.stat().st_size for p in v) / count for k, v in sources.items()}
        crops = {k: torch.cat([v[n].photos for n in range(count)]) for k, v in folders.items()}
        torch.set_num_threads(threads)
        off = float((255 * (crops["JPEG"] - crops["cache"])).abs().mean())
    notes = {
        "decoding alone": "no crop",
        "fst, JPEG": f"{bytes_each['JPEG'] / 1e3:.0f} KB a photo",
        "fst, prepared": f"{bytes_each['cache'] / 1e3:.0f} KB a photo; crops differ from those of "
        f"the JPEGs by {off:.1f} of 255 on average",
    }
    return [
        Row.of(
            "loading",
            name,
            timing,
            against=timings["fst, JPEG"],
            size=size,
            batch=count,
            note="; ".join(
                x for x in (f"{count / timing.median_s:.0f} photos/s", notes.get(name)) if x
            ),
        )
        for name, timing in timings.items()
    ]


def sample_folder(folder: Path, photos: Sequence[Path], size: int, count: int) -> list[Path]:
    """``count`` JPEG files in ``folder``, their shorter side ``size``, from ``photos`` in turn."""
    made = []
    for number in range(count):
        image = Image.open(photos[number % len(photos)]).convert("RGB")
        made.append(folder / f"{number:04d}.jpg")
        resize_shorter(image, size).save(made[-1], quality=92)
    return made
