"""Cuts, flips and forged cards of a style file: each is a sentence, or the very same picture.

python scripts/proofs/fuzz_files.py            # 100 cuts, 500 flips, 400 cards
python scripts/proofs/fuzz_files.py --quick    # a tenth of them
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fst.errors import FstError
from fst.inference.stylizer import Stylizer
from fst.nets.style_card import Card, listed_cards, read_card
from fst.nets.style_file import save_style
from fst.nets.transformer_net import TransformerNet

VALUES: list[Any] = [None, True, -1, 3000, 1e308, float("nan"), float("inf"), "", "\x1b[2J", [], {}]
MOST_SECONDS = 20
MOST_MEMORY_KB = 300_000  # more than before the first file


def mutants(whole: bytes, *, times: float, seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged and forged copies of a style file, each with a word on what was done."""
    rng = random.Random(seed)
    for _ in range(round(100 * times)):
        end = rng.randrange(len(whole))
        yield f"cut at {end}", whole[:end]
    for _ in range(round(500 * times)):
        place, bit = rng.randrange(len(whole)), rng.randrange(8)
        if rng.random() < 0.5:  # half of them in the header
            place = rng.randrange(8 + int.from_bytes(whole[:8], "little"))
        data = bytearray(whole)
        data[place] ^= 1 << bit
        yield f"bit {bit} of byte {place}", bytes(data)
    length = int.from_bytes(whole[:8], "little")
    for number in range(round(400 * times)):
        header = json.loads(whole[8 : 8 + length])
        card = json.loads(header["__metadata__"]["card"])
        if number % 2:
            card.pop("sha256_all")
        inner = card["net"] if rng.random() < 0.5 else card
        key, value = rng.choice([*inner, "new"]), rng.choice(VALUES)
        inner[key] = value
        header["__metadata__"]["card"] = json.dumps(card)
        text = json.dumps(header).encode()
        yield f"{key} is {value!r}", len(text).to_bytes(8, "little") + text + whole[8 + length :]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of them")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1)
    photo = np.random.default_rng(0).integers(0, 256, (1, 3, 24, 24), dtype=np.uint8)
    refused = same = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed.safetensors"
        save_style(path, net, Card(name="fuzzed", net={}), half=False)
        wanted = Stylizer(path).pixels(photo)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times = 0.1 if options.quick else 1
        for what, data in mutants(path.read_bytes(), times=times, seed=options.seed):
            path.write_bytes(data)
            start, sentence = time.monotonic(), None
            try:
                listed_cards(path)
                read_card(path)
                made = Stylizer(path).pixels(photo)
            except FstError as error:
                sentence = str(error)
            if sentence is not None:
                assert "\n" not in sentence, what
                refused += 1
            else:
                assert np.array_equal(made, wanted), f"{what}: another picture in silence"
                same += 1
            assert time.monotonic() - start < MOST_SECONDS, f"{what}: too slow"
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown < MOST_MEMORY_KB, f"{what}: {grown} kB"
    print(f"{refused + same} files: {refused} refused in a sentence, {same} the same picture")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
