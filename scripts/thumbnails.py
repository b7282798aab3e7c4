"""Thumbnails onto the cards of style files, for `fst list --sheet`:

python scripts/thumbnails.py checkpoints/*.safetensors
python scripts/thumbnails.py my_style.safetensors --photo coffee.png

Each shows the middle of one of scikit-image's free photographs, stylized at 256 px and made small.
It is of the result alone: nothing of the painting goes with it, and no photo of the user's. Only
the cards are written: tensors and ``sha256_all`` stay as they are, which is checked.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fst.errors import FstError
from fst.inference.stylizer import Stylizer
from fst.nets.style_card import read_cards
from fst.nets.style_file import rewrite_card, tensors_sha256
from fst.pictures.image import read_picture
from fst.pictures.thumbnail import MOST_BYTES, thumbnail_text
from fst.system.paths import sample_photo

SIDE = 256  # pixels, shorter side of the photo that is stylized
MANY_BYTES = 1700  # of each in a file of several: 24 paintings stay below a megabyte


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("styles", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--photo", default="chelsea.png", help="of scikit-image (chelsea.png)")
    asked = parser.parse_args(argv)
    photo = read_picture(sample_photo(asked.photo)).resized(SIDE)
    for path in asked.styles:
        cards = read_cards(path)
        for card in cards:
            address = path if len(cards) == 1 else Path(f"{path}:{card.name}")
            before = tensors_sha256(path.read_bytes()), card.sha256_all
            made = Stylizer(address).picture(photo)
            card.thumbnail = thumbnail_text(made.rgb, MOST_BYTES if len(cards) == 1 else MANY_BYTES)
            rewrite_card(address, card)
            if before != (tensors_sha256(path.read_bytes()), card.sha256_all):
                raise FstError(f"{path} has changed in more than its card")
            print(f"{address}: {len(card.thumbnail) * 3 // 4} bytes", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FstError as error:
        sys.exit(f"thumbnails: {error}")
