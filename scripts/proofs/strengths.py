"""A strength that a net was trained to take, beside the plain mix of pixels.

python scripts/proofs/strengths.py STYLE --photos HELD_OUT [--count 24] [--size 256]
    [--image PAINTING] [--root PAINTINGS] [--just 0.25=FILE 0.5=FILE 0.75=FILE] [--sheet FILE.jpg]

STYLE is a file that was trained with net.strengths=true. At 11 strengths the mean content and style
term of its pictures of the held-out photos, both with the weights of the whole strength, and of the
plain mix of its whole picture and the photo: the content lost has to rise with the strength, the
style left to fall. `--just` compares the total at a strength, with that strength's own weights,
with the nets of files that were trained for just that: ordinary ones, with
style.weights.style=S*S style.weights.tv=S*S for a strength of S. `--sheet` shows a few photos.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from fst import FstError, Stylizer
from fst.data.photo_files import list_photos, read_photo
from fst.evaluation.trained_with import at_size, loss_of, network_of, painting_of, trained_size
from fst.inference.controls import Controls, controlled
from fst.loss.perceptual_loss import Losses, PerceptualLoss
from fst.loss.strengths_loss import weights_at
from fst.nets.style_card import read_card
from fst.nets.style_names import find_style
from fst.pictures.image import Picture, from_array, save_picture, to_array, to_tensor
from fst.pictures.sheet import contact_sheet, labeled
from fst.system.machine import machine

STRENGTHS = [k / 10 for k in range(11)]
SHOWN, SHOWN_AT = 3, (0, 0.25, 0.5, 0.75, 1)  # photos and strengths of the sheet


class Terms(NamedTuple):
    """The mean terms of pictures, with the weights of the whole strength."""

    content: float
    style: float
    tv: float


def main() -> None:
    """Print a line a strength, and what the two tables say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("style")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--count", type=int, default=24, help="of the photos, evenly spread")
    parser.add_argument("--size", type=int, default=256, help="shorter side in pixels")
    parser.add_argument("--image", help="the painting, where its file is not known")
    parser.add_argument("--root", help="the folder of its file")
    parser.add_argument("--just", nargs="*", default=[], metavar="STRENGTH=FILE")
    parser.add_argument("--sheet", type=Path)
    asked = parser.parse_args()
    file = find_style(asked.style)
    stylizer = Stylizer(file)
    if not stylizer.takes_strength:
        raise FstError(f"{file} was not trained to take a strength; train with net.strengths=true")
    card = read_card(file)
    painting = painting_of(file, card, image=asked.image, root=asked.root)
    loss = loss_of(card, network_of(file, card), painting)
    every = list_photos(asked.photos, key="--photos")
    count = min(asked.count, len(every))
    chosen = [every[k * len(every) // count] for k in range(count)]
    photos = [to_array(read_photo(path).resized(asked.size).rgb) for path in chosen]
    trained_at = trained_size(card, "size")
    print(f"{machine()}; {count} photos at {asked.size} px, weights {loss.weights}")

    def judged(pictures: list[np.ndarray]) -> Terms:
        return terms_of(loss, trained_at, pictures, photos)

    whole = [stylizer.pixels(photo) for photo in photos]
    print("strength   trained: content     style   plain mix: content     style")
    trained, mixed = [], []
    for strength in STRENGTHS:
        controls = Controls(strength=strength)
        trained.append(judged([stylizer.pixels(photo, controls) for photo in photos]))
        both = zip(whole, photos, strict=True)
        mixed.append(judged([controlled(made, photo, controls) for made, photo in both]))
        print(
            f"{strength:8.1f} {trained[-1].content:18.4f} {trained[-1].style:9.4f} "
            f"{mixed[-1].content:20.4f} {mixed[-1].style:9.4f}",
            flush=True,
        )
    for name, terms in (("trained", trained), ("plain mix", mixed)):
        rises = all(a.content <= b.content for a, b in pairwise(terms))
        falls = all(a.style >= b.style for a, b in pairwise(terms))
        print(f"{name}: content {'rises' if rises else 'does NOT rise'} at every step, style "
              f"{'falls' if falls else 'does NOT fall'}")  # fmt: skip
    for word in asked.just:
        number, _, other = word.partition("=")
        strength = float(number)
        nets = {"trained for all": stylizer, "for just that": Stylizer(other)}
        totals = {}
        for name, one in nets.items():
            controls = Controls(strength=strength if one.takes_strength else 1.0)
            terms = judged([one.pixels(photo, controls) for photo in photos])
            totals[name] = total_at(loss, terms, strength)
        plain = [controlled(made, photo, Controls(strength=strength))
                 for made, photo in zip(whole, photos, strict=True)]  # fmt: skip
        totals["plain mix"] = total_at(loss, judged(plain), strength)
        just = totals["for just that"]
        said = ", ".join(f"{name} {value:.4f} ({value / just - 1:+.1%})"
                         for name, value in totals.items())  # fmt: skip
        print(f"at {strength:g}, its own total: {said}")
    if asked.sheet is not None:
        save_sheet(asked.sheet, stylizer, photos[:SHOWN], whole[:SHOWN])


def terms_of(
    loss: PerceptualLoss, trained_at: int, pictures: list[np.ndarray], photos: list[np.ndarray]
) -> Terms:
    """The mean terms of pictures of photos, each (1, 3, H, W) uint8."""
    found = []
    for picture, photo in zip(pictures, photos, strict=True):
        x, y = tensor_of(photo), tensor_of(picture)
        with torch.no_grad():
            losses: Losses = at_size(loss, trained_at, x)(y, x)
        found.append([float(v) for v in (losses.content, losses.style, losses.total_variation)])
    return Terms(*np.mean(found, axis=0).tolist())


def tensor_of(pixels: np.ndarray) -> torch.Tensor:
    """(1, 3, H, W) uint8 -> [0, 1]."""
    return to_tensor(from_array(pixels))


def total_at(loss: PerceptualLoss, terms: Terms, strength: float) -> float:
    """The total of mean terms with the weights of a strength."""
    own = weights_at(loss.weights, strength)
    style, tv = (
        mine / whole if whole else 0.0
        for mine, whole in ((own.style, loss.weights.style), (own.tv, loss.weights.tv))
    )
    return terms.content + style * terms.style + tv * terms.tv


def save_sheet(
    path: Path, stylizer: Stylizer, photos: list[np.ndarray], whole: list[np.ndarray]
) -> None:
    """Photos at a few strengths, the trained one above the plain mix."""
    rows: list[list[Image.Image]] = []
    for photo, made in zip(photos, whole, strict=True):
        for name in ("trained", "plain mix"):
            row = []
            for strength in SHOWN_AT:
                controls = Controls(strength=strength)
                if name == "trained":
                    pixels = stylizer.pixels(photo, controls)
                else:
                    pixels = controlled(made, photo, controls)
                row.append(labeled(from_array(pixels), f"{name} {strength:g}"))
            rows.append(row)
    # photos of several widths: one row at a time
    width = max(sum(tile.width for tile in row) for row in rows)
    lines = []
    for row in rows:
        line = Image.new("RGB", (width, row[0].height), "white")
        line.paste(contact_sheet([row]))
        lines.append([line])
    save_picture(path, Picture(rgb=contact_sheet(lines)), quality=92)


if __name__ == "__main__":
    try:
        main()
    except FstError as error:
        sys.exit(f"strengths: {error}")
