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
from fst.pictures.artifacts import LIMITS, blobs, border, clipping, color_drift, grid, weave
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


def frame(picture: Tensor, generator: torch.Generator, size: float = 0.3) -> Tensor:
    """The outermost 4 pixels are darker."""
    result = picture - size
    result[:, 4:-4, 4:-4] = picture[:, 4:-4, 4:-4]
    return result.clamp(0, 1)


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


VISIBLE = 5 / 255  # a dead rim along a blank edge changes less: nothing to see or to find
PLANTED = {
    "checkerboard, 4 grey levels": (checkerboard, "grid"),
    "cross-hatch, 4 grey levels": (cross_hatch, "grid"),
    "lines, 8 grey levels": (lines, "grid"),
    "weave of 3 px, 10 grey levels": (threads, "weave"),
    "dead rim, 6 px": (dead_rim, "border"),
    "frame, 77 grey levels": (frame, "border"),
    "8 blotches, full contrast": (blotches, "blobs"),
    "contrast x 2.5": (clipped, "clipping"),
    "cast, 31 grey levels": (cast, "color_drift"),
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
    scores = {"grid": grid, "weave": weave, "border": border, "blobs": blobs, "clipping": clipping}
    rows = []
    for name, (plant, score) in PLANTED.items():
        if only not in (None, score):
            continue
        if score == "color_drift":
            usual = [color_drift((a + shrunk(b, a)) / 2, a, b) for a, b in pairs]
            values = [color_drift(plant((a + shrunk(b, a)) / 2, generator), a, b) for a, b in pairs]
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
