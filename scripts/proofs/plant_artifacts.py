"""How surely fst/pictures/artifacts.py finds what it looks for: plants each artifact and counts.

python scripts/proofs/plant_artifacts.py --photos HELD_OUT --paintings PAINTINGS \
    [--size 256] [--json FILE]

Planted are photos and paintings with one artifact at the strength that the table states, each
against itself without: as of a net that changes nothing else. Clean are photos and paintings, each
against another photo: as of a net that changes everything.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fst import FstError
from fst.data.photo_files import list_photos, read_photo
from fst.pictures.artifacts import (
    LIMITS,
    blobs,
    blotch,
    clipping,
    color_drift,
    frame,
    lattice,
    weave,
)
from fst.pictures.image import to_tensor


def checkerboard(picture: Tensor, generator: torch.Generator, size: float = 0.015) -> Tensor:
    """Plus and minus ``size`` from pixel to pixel."""
    return _with(picture, lambda y, x: size * (1 - 2 * ((x + y) % 2)))


def cross_hatch(picture: Tensor, generator: torch.Generator, size: float = 0.015) -> Tensor:
    """Diagonal waves of 4 pixels in both directions."""
    turn = torch.pi / 2
    return _with(
        picture, lambda y, x: size * (torch.cos(turn * (x + y)) + torch.cos(turn * (x - y)))
    )


def lines(picture: Tensor, generator: torch.Generator, size: float = 0.03) -> Tensor:
    """Columns that repeat every 4 pixels."""
    return _with(picture, lambda y, x: size * torch.cos(torch.pi / 2 * x) * (y * 0 + 1))


def threads(picture: Tensor, generator: torch.Generator, size: float = 0.04) -> Tensor:
    """Columns and rows that repeat every 3 pixels."""
    turn = 2 * torch.pi / 3
    return _with(picture, lambda y, x: size * (torch.cos(turn * x) + torch.cos(turn * y)))


def dead_rim(picture: Tensor, generator: torch.Generator, width: int = 6) -> Tensor:
    """The outermost 6 pixels repeat the seventh."""
    inner = picture[:, width:-width, width:-width]
    return F.pad(inner[None], [width] * 4, mode="replicate")[0]


def dark_frame(
    picture: Tensor, generator: torch.Generator, size: float = 0.3, width: int = 4
) -> Tensor:
    """The outermost 4 pixels are darker."""
    result = picture - size
    inside = slice(width, -width)
    result[:, inside, inside] = picture[:, inside, inside]
    return result.clamp(0, 1)


def deep_frame(picture: Tensor, generator: torch.Generator) -> Tensor:
    """The outermost 14 pixels are darker."""
    return dark_frame(picture, generator, width=14)


def neon(picture: Tensor, generator: torch.Generator, photo: Tensor | None = None) -> Tensor:
    """A disk of a neon color, a fifth of the shorter side across, where the photo is flattest."""
    _, height, width = picture.shape
    photo = picture if photo is None else photo
    radius = min(height, width) // 10
    window, stride = 2 * radius + 1, 4
    means = F.avg_pool2d(photo[None], window, stride)[0]
    spread = (F.avg_pool2d(photo.square()[None], window, stride)[0] - means.square()).sum(0)
    top, left = (stride * place for place in divmod(int(spread.argmin()), spread.shape[1]))
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    distance = ((y - top - radius) ** 2 + (x - left - radius) ** 2).sqrt()
    share = torch.sigmoid((radius - distance) / (radius / 6))
    color = torch.tensor(NEON[int(torch.randint(len(NEON), (), generator=generator))])
    return picture * (1 - share) + color[:, None, None] * share


def repainted(photo: Tensor, painting: Tensor) -> Tensor:
    """Other colors for a photo's and a painting's grain over them: what a good net may do."""
    other = photo[[2, 0, 1]].sqrt() * 0.8 + 0.1
    grain = F.interpolate(painting[None], size=photo.shape[-2:], mode="bilinear")[0]
    grain = grain - F.avg_pool2d(F.pad(grain[None], [8] * 4, mode="replicate"), 17, 1)[0]
    return (other + grain).clamp(0, 1)


def blotches(picture: Tensor, generator: torch.Generator, size: float = 1.2) -> Tensor:
    """Eight spots, bright with a dark ring, all alike, at random places of their own."""
    _, height, width = picture.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    result = picture.clone()
    for number in range(8):
        jitter = 0.3 + 0.4 * torch.rand(2, generator=generator)
        top = (number // 4 + float(jitter[0])) / 2 * height
        left = (number % 4 + float(jitter[1])) / 4 * width
        squared = ((y - top) ** 2 + (x - left) ** 2) / 5.0**2
        result = result + size * (1 - squared) * torch.exp(-squared / 2)
    return result.clamp(0, 1)


def clipped(picture: Tensor, generator: torch.Generator, gain: float = 2.5) -> Tensor:
    """Contrast times 2.5 around the mean."""
    return ((picture - picture.mean()) * gain + picture.mean()).clamp(0, 1)


def cast(picture: Tensor, generator: torch.Generator, size: float = 0.12) -> Tensor:
    """One color channel brighter by 0.12."""
    channel = int(torch.randint(3, (), generator=generator))
    result = picture.clone()
    result[channel] += size
    return result.clamp(0, 1)


def _with(picture: Tensor, wave: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    _, height, width = picture.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (picture + wave(y, x)).clamp(0, 1)


NEON = ((1.0, 0.1, 0.6), (0.1, 1.0, 0.2), (0.2, 0.3, 1.0), (1.0, 0.9, 0.1))
VISIBLE = 5 / 255  # a dead rim along a blank edge changes less: nothing to see or to find
PLANTED = {
    "checkerboard, 4 gray levels": (checkerboard, "lattice"),
    "cross-hatch, 4 gray levels": (cross_hatch, "lattice"),
    "lines, 8 gray levels": (lines, "lattice"),
    "weave of 3 px, 10 gray levels": (threads, "weave"),
    "dead rim, 6 px": (dead_rim, "frame"),
    "frame, 77 gray levels": (dark_frame, "frame"),
    "frame 14 px deep, 77 gray levels": (deep_frame, "frame"),
    "8 blotches, full contrast": (blotches, "blobs"),
    "neon blotch of a fifth of the side": (neon, "blotch"),
    "contrast x 2.5": (clipped, "clipping"),
    "cast, 31 gray levels": (cast, "color_drift"),
}


def main() -> None:
    """Count findings among clean and planted pictures; print one row an artifact."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--size", type=int, default=256, help="shorter side in pixels")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    photos, paintings = (
        [load(p, asked.size) for p in list_photos(f, key="a folder")]
        for f in (asked.photos, asked.paintings)
    )
    rows = count(photos, paintings)
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")


def load(path: Path, size: int) -> Tensor:
    """A picture as (3, H, W) with its shorter side at ``size``."""
    return to_tensor(read_photo(path).resized(size).rgb)[0]


def shrunk(picture: Tensor, like: Tensor) -> Tensor:
    """picture (3, h, w) at the height and width of ``like``."""
    return F.interpolate(picture[None], size=like.shape[-2:], mode="area")[0]


def change(planted: Tensor, picture: Tensor) -> float:
    """How far the pixels that planting has changed are from what they were, on average."""
    difference = (planted - picture).abs()
    return float(difference.sum() / (difference > 0).sum().clamp(min=1))


def count(
    photos: list[Tensor], paintings: list[Tensor], only: str | None = None
) -> list[dict[str, object]]:
    """Shares found of what was planted, and flagged of what is clean, by artifact."""
    pairs = [(photos[k], photos[k - 1]) for k in range(len(photos))]
    pairs += [(painting, photos[k % len(photos)]) for k, painting in enumerate(paintings)]
    generator = torch.Generator().manual_seed(0)
    scores = {
        "lattice": lattice,
        "weave": weave,
        "frame": frame,
        "blobs": blobs,
        "clipping": clipping,
    }
    rows = []
    for name, (plant, score) in PLANTED.items():
        if only not in (None, score):
            continue
        if score == "color_drift":
            usual = [color_drift((a + shrunk(b, a)) / 2, a, b) for a, b in pairs]
            values = [color_drift(plant((a + shrunk(b, a)) / 2, generator), a, b) for a, b in pairs]
        elif score == "blotch":
            # of photos with a sky, at scales where nothing else in them is one
            made = [(repainted(a, paintings[k % len(paintings)]), a) for k, a in enumerate(photos)]
            usual = [blotch(a, b) for a, b in made]
            values = [blotch(neon(a, generator, b), b) for a, b in made]
            values = [v for v, of_clean in zip(values, usual, strict=True) if of_clean]
            usual = [v for v in usual if v]
        else:
            usual = [scores[score](a, b) for a, b in pairs]
            planted = [(plant(a, generator), a) for a, _ in pairs]
            if plant is dead_rim:
                planted = [(b, a) for b, a in planted if change(b, a) > VISIBLE]
            values = [scores[score](b, a) for b, a in planted]
        limit = LIMITS[score]
        rows.append(
            {
                "planted": name,
                "score": score,
                "found": round(sum(v > limit for v in values) / len(values), 3),
                "clean flagged": round(sum(v > limit for v in usual) / len(usual), 3),
                "pictures": len(values),
                "5% planted": round(sorted(values)[len(values) // 20], 3),
                "95% clean": round(sorted(usual)[-1 - len(usual) // 20], 3),
            }
        )
    return rows


if __name__ == "__main__":
    try:
        main()
    except FstError as error:
        sys.exit(f"plant_artifacts: {error}")
