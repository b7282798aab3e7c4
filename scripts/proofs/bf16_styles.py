"""How far styles in bfloat16 are from float32, put onto their cards or only shown:

python scripts/proofs/bf16_styles.py                          # the shipped ones, shown
python scripts/proofs/bf16_styles.py --write checkpoints/*.safetensors

On four photographs that scikit-image carries, shorter side 512 px, each layer rounded as bfloat16
rounds (``fst.inference.bfloat16``). The figures decide whether ``fst stylize --precision auto``
takes bfloat16 where the processor has it. Only the cards are written: tensors and ``sha256_all``
stay as they are, which is checked. A file of several paintings has a line for each. At the end of
`fst train` the same is measured on held-out photos.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fst.errors import FstError
from fst.inference.bfloat16 import LARGEST, bfloat16_difference
from fst.nets.style_card import Card, bf16_in_words, read_cards
from fst.nets.style_file import load_style, rewrite_card, tensors_sha256
from fst.nets.style_names import shipped_files
from fst.pictures.image import read_picture, resize_shorter, to_tensor
from fst.system.paths import sample_photo

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def main(argv: list[str] | None = None) -> int:
    """Print a line a painting; with ``--write``, store it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", type=Path, nargs="*", metavar="STYLE_FILE")
    parser.add_argument("--write", action="store_true", help="put the figures onto the cards")
    parser.add_argument("--size", type=int, default=LARGEST, metavar="PX", help="default 512")
    asked = parser.parse_args(argv)
    pictures = [read_picture(sample_photo(name)).rgb for name in PHOTOS]
    photos = [to_tensor(resize_shorter(picture, asked.size)) for picture in pictures]
    for file in asked.files or shipped_files().values():
        cards = read_cards(file)
        for card in cards:
            address = file if len(cards) == 1 else f"{file}:{card.name}"
            net, card = load_style(address)
            card.bf16 = bfloat16_difference(net, photos)
            print(f"{card.name:<28}{bf16_in_words(card)}", flush=True)
            if asked.write:
                write(file, address, card)
    return 0


def write(file: Path, address: str | Path, card: Card) -> None:
    """Rewrite one card; ``FstError`` if anything else would not be as it was."""
    before = tensors_sha256(file.read_bytes()), card.sha256_all
    rewrite_card(address, card)
    _, after = load_style(address)
    if (tensors_sha256(file.read_bytes()), after.sha256_all) != before or after != card:
        raise FstError(f"{file} is not what it was: take it back from git")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FstError as error:
        sys.exit(str(error))
