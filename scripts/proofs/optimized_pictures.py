"""What a net is held against: pictures optimized at the strength that its card says.

python scripts/proofs/optimized_pictures.py STYLE [STYLE ...] --photos HELD_OUT
    --paintings PAINTINGS --out OUT [--every 4] [--size 384] [--iterations 50]
    [--loss default|card]

Each photo is shrunk to --size (its longer side), cut to multiples of four, and optimized from
itself by L-BFGS against the style's painting at the size and strength of its card. `default` is
the loss that `fst optimize` takes by itself; `card` is the one that the net was trained with (its
second content layer, its total variation). OUT/STYLE/ gets a PNG for each photo, for any judge to
look at; what is there is not made again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from strength_table import optimized
from torch import Tensor

from fst import FstError
from fst.data.photo_files import list_photos, read_photo
from fst.experiments.parts import build_loss, build_network, build_painting
from fst.experiments.settings import compose
from fst.loss.perceptual_loss import PerceptualLoss
from fst.nets.style_card import read_card
from fst.nets.style_names import find_style
from fst.pictures.image import to_image, to_tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("styles", nargs="+", metavar="STYLE")
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--paintings", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--every", type=int, default=4, help="take every n-th photo")
    parser.add_argument("--size", type=int, default=384, help="longer side in pixels")
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--loss", choices=["default", "card"], default="default")
    asked = parser.parse_args()
    photos = list_photos(asked.photos, key="--photos")[:: asked.every]
    for style in asked.styles:
        training = read_card(find_style(style)).training
        folder = asked.out / style
        folder.mkdir(parents=True, exist_ok=True)
        for path in photos:
            file = folder / f"{path.stem}.png"
            if file.exists():
                continue
            photo = to_tensor(shrunk(path, asked.size))
            loss = loss_of(asked, style, training, photo)
            to_image(optimized(loss, photo, asked.iterations)).save(file)
        print(f"{style}: {len(photos)} pictures in {folder}", flush=True)


def shrunk(path: Path, longer: int) -> Image.Image:
    """A photo with its longer side of that length or less, both sides multiples of four."""
    image = read_photo(path).rgb
    image.thumbnail((longer, longer))
    return image.crop((0, 0, image.width // 4 * 4, image.height // 4 * 4))


def loss_of(
    asked: argparse.Namespace, style: str, training: dict[str, Any], photo: Tensor
) -> PerceptualLoss:
    """The calibrated loss at a card's strength, its weights solved for on the photo."""
    words = [f"style={style}", f"style.root={asked.paintings}", "loss=calibrated"]
    words += [f"style.strength={training['strength']}", f"style.size={training['style_size']}"]
    if asked.loss == "card":
        trained = training["loss"]
        words += [f"loss.tv_weight={trained['tv_weight']}"]
        words += [
            f"+loss.content_layers.{layer}={weight}"
            for layer, weight in trained["content_layers"].items()
            if layer != "relu3_3"
        ]
    config = compose("optimize", ["content=x", *words])
    return build_loss(config, build_painting(config), build_network(config), lambda: photo)


if __name__ == "__main__":
    try:
        main()
    except FstError as error:
        sys.exit(f"optimized_pictures: {error}")
