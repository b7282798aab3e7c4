"""A preview of 1,000 px against a picture of 4,000 px with strokes of that size, as a table.

python scripts/proofs/stroke_sizes.py --photos PHOTOS --styles great_wave udnie
python scripts/proofs/stroke_sizes.py --photos PHOTOS --side 1600 --stroke 400 --out OUT

The photos are enlarged, as large ones are rare, and given grain, as large ones have it. Of three
ways to a picture (the pass itself, the preview enlarged, and strokes with detail) it prints the
SSIM of the reduced picture to the preview, the energy above the preview's Nyquist frequency over
that of the pass itself, and the time over that of the pass; means over the photos.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

from fst.data.photo_files import list_photos
from fst.inference.stylizer import Stylizer
from fst.pictures.image import resize_shorter
from fst.system.machine import machine

GRAIN = 4  # levels of 255, standard deviation, the same in R, G and B


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", required=True, help="a folder")
    parser.add_argument("--count", type=int, default=6, help="of the photos (default 6)")
    parser.add_argument("--styles", nargs="+", default=["great_wave", "udnie"])
    parser.add_argument("--side", type=int, default=2700, help="shorter side (default 2700)")
    parser.add_argument("--stroke", type=int, default=675, help="of the preview (default 675)")
    parser.add_argument("--out", type=Path, help="a folder for the pictures")
    options = parser.parse_args()
    photos = list_photos(options.photos)
    photos = photos[:: max(1, len(photos) // options.count)][: options.count]
    print(f"{machine()}; {len(photos)} photos, {options.side} px, preview {options.stroke} px")
    print("| style | way | SSIM to the preview | energy above it | time |\n|---|---|---|---|---|")
    for style in options.styles:
        stylizer = Stylizer(style)
        rows = [measured(stylizer, path, options) for path in photos]
        for way in rows[0]:
            alike, fine, seconds = np.mean([row[way] for row in rows], axis=0)
            print(f"| `{style}` | {way} | {alike:.2f} | {fine:.2f} | {seconds:.2f} |", flush=True)


def measured(
    stylizer: Stylizer, path: Path, options: argparse.Namespace
) -> dict[str, tuple[float, float, float]]:
    """By way: SSIM, energy and time as above."""
    photo = grainy(resize_shorter(Image.open(path).convert("RGB"), options.side))
    preview, _ = timed(lambda: stylizer(resize_shorter(photo, options.stroke)))
    direct, pass_s = timed(lambda: stylizer(photo))
    stroked, stroked_s = timed(lambda: stylizer(photo, stroke=options.stroke))
    enlarged = preview.resize(photo.size, Image.Resampling.BICUBIC)
    made = {"the pass itself": direct, "the preview enlarged": enlarged, "--stroke": stroked}
    took = dict(zip(made, (1.0, np.nan, stroked_s / pass_s), strict=True))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for way, image in made.items():
            word = way.split()[-1].strip("-")
            image.save(options.out / f"{stylizer.name}_{path.stem}_{word}.png")
    whole = fine_energy(direct, preview.size)
    return {
        way: (likeness(image, preview), fine_energy(image, preview.size) / whole, took[way])
        for way, image in made.items()
    }


def grainy(photo: Image.Image) -> Image.Image:
    """Gray noise, the same for each photo of a size."""
    noise = np.random.default_rng(0).normal(0, GRAIN, (photo.height, photo.width, 1))
    return Image.fromarray((np.asarray(photo) + noise).clip(0, 255).round().astype(np.uint8))


def timed(work: Callable[[], Image.Image]) -> tuple[Image.Image, float]:
    start = time.monotonic()
    made = work()
    return made, time.monotonic() - start


def likeness(image: Image.Image, preview: Image.Image) -> float:
    """SSIM of the gray picture, reduced to the preview's size, to the preview."""
    reduced = image.resize(preview.size, Image.Resampling.BICUBIC)
    both = (np.asarray(one.convert("L")) for one in (reduced, preview))
    return float(structural_similarity(*both))


def fine_energy(image: Image.Image, coarse: tuple[int, int]) -> float:
    """The energy that a picture of ``coarse`` (width, height) could not hold, a pixel."""
    gray = np.asarray(image.convert("L"), dtype=np.float32)
    spectrum = np.abs(np.fft.rfft2(gray)) ** 2
    rows = np.abs(np.fft.fftfreq(gray.shape[0]))[:, None] > coarse[1] / gray.shape[0] / 2
    columns = np.fft.rfftfreq(gray.shape[1])[None] > coarse[0] / gray.shape[1] / 2
    return float(spectrum[rows | columns].sum() / gray.size)


if __name__ == "__main__":
    main()
