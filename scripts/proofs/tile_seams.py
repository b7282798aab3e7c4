"""How far a pass in tiles is from one in one go: a table of sizes, tiles and backends.

python scripts/proofs/tile_seams.py                        # 2 to 12 megapixels, two styles
python scripts/proofs/tile_seams.py --backend openvino --style great_wave --photo PHOTO.jpg
python scripts/proofs/tile_seams.py --double --most 1     # both against PyTorch in float64
python scripts/proofs/tile_seams.py --precision fast       # float16 on a GPU, bfloat16 on a CPU

"levels" are gray levels of 255 between the two pictures at the worst value, "others" how many
values in a million differ at all, and "at seams" the same of those within 8 px of where tiles
meet, which should be no worse than the rest. The photo is a gradient, shapes, grain and wide
constant areas, or one of yours, repeated in mirror images until it is large enough. Each row needs
the memory of a pass in one go.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from PIL import Image

from fst import Stylizer
from fst.errors import FstError
from fst.inference.backends import BACKENDS, PRECISIONS

# width x height, and tiles: even and odd sides, a long strip, fewer than two tiles across
CASES = (
    (900, 701, (256,)),
    (1733, 1157, (256, 512)),
    (2048, 1536, (256, 320, 512, 1024)),
    (2049, 1537, (256, 500)),
    (2999, 2003, (512, 1000)),
    (4000, 3000, (512,)),
    (20000, 500, (256, 512)),
    (511, 9001, (384,)),
)
NEAR = 8  # pixels


def photo_of(width: int, height: int) -> np.ndarray:
    """(1, 3, H, W) uint8 of our own."""
    rng = np.random.default_rng(width + height)
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    picture = np.stack(
        [
            128 + 90 * np.sin(across / 150 + down / 310),
            255 * across / width,
            128 + 100 * np.sin(np.hypot(down - height / 3, across - width / 2) / 60),
        ]
    )
    picture += rng.normal(0, 12, picture.shape[1:]).astype(np.float32)
    picture[:, : height // 3, : width // 3] = 235  # a sky without anything
    return picture.clip(0, 255).astype(np.uint8)[None]


def repeated(photo: Image.Image, width: int, height: int) -> np.ndarray:
    """A photo and its mirror images side by side -> (1, 3, H, W) uint8."""
    pixels = np.asarray(photo.convert("RGB"))
    pads = [
        (0, max(0, side - has)) for side, has in zip((height, width), pixels.shape, strict=False)
    ]
    pixels = np.pad(pixels, [*pads, (0, 0)], mode="symmetric")[:height, :width]
    return pixels.transpose(2, 0, 1)[None].copy()


def near_seams(width: int, height: int, tile: int) -> np.ndarray:
    """(H, W), True within ``NEAR`` pixels of where two tiles meet."""
    down, across = (
        np.abs((np.arange(side) + tile // 2) % tile - tile // 2) <= NEAR for side in (height, width)
    )
    down[: NEAR + 1] = across[: NEAR + 1] = False  # the picture's own border
    return down[:, None] | across[None]


def in_double(stylizer: Stylizer, pixels: np.ndarray) -> np.ndarray:
    """The pass in PyTorch, in float64."""
    import torch

    from fst.nets.style_file import load_style

    net, _ = load_style(stylizer.path)
    with torch.inference_mode():
        made = net.double().eval()(torch.from_numpy(pixels).double() / 255)
    return (made * 255).round().to(torch.uint8).numpy()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--style", action="append", help="default great_wave and udnie")
    parser.add_argument("--backend", default="auto", choices=BACKENDS)
    parser.add_argument("--precision", default="exact", choices=PRECISIONS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--photo", help="default one that is drawn")
    parser.add_argument("--against", choices=BACKENDS, help="what makes the picture in one go")
    parser.add_argument("--double", action="store_true", help="compare with PyTorch in float64")
    parser.add_argument("--least", type=float, default=0, help="megapixels")
    parser.add_argument("--most", type=float, default=12.5, help="megapixels")
    options = parser.parse_args()
    worst = 0
    print("| backend | style | photo | tiles | levels | others in 10^6 | at seams |")
    print("|---|---|---|---|---|---|---|")
    for style in options.style or ("great_wave", "udnie"):

        def stylizer(
            tiles: int | str, backend: str = options.backend, style: str = style
        ) -> Stylizer:
            return Stylizer(
                style,
                backend=backend,
                precision=options.precision,
                device=options.device,
                tiles=tiles,
            )

        whole = stylizer("off", options.against or options.backend)
        tiled = stylizer("auto").backend
        for width, height, sides in CASES:
            if not options.least * 1e6 <= width * height <= options.most * 1e6:
                continue
            pixels = (
                photo_of(width, height)
                if options.photo is None
                else repeated(Image.open(options.photo), width, height)
            )
            wanted = in_double(whole, pixels) if options.double else whole.pixels(pixels)
            for tile in ("off", *sides) if options.double else sides:
                away = np.abs(stylizer(tile).pixels(pixels).astype(np.int16) - wanted)[0]
                other = (away > 0).mean(axis=0)
                seams = near_seams(width, height, tile if isinstance(tile, int) else width)
                worst = max(worst, int(away.max()))
                name = f"{tiled.name}, {tiled.precision}"
                row = [name, style, f"{width}x{height}", tile, away.max()]
                row += [f"{1e6 * other.mean():.0f}", f"{1e6 * other[seams].mean():.0f}"]
                print("|", " | ".join(map(str, row)), "|", flush=True)
    print(f"at most {worst} levels")
    return 0 if worst <= 1 or options.precision != "exact" else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FstError as error:
        sys.exit(str(error))
