"""docs/moving.gif: a walk over the cat of scikit-image, painted frame by frame.

python scripts/proofs/moving_docs.py the_scream docs/moving.gif
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.append(str(Path(__file__).resolve().parents[2]))
from fst.cli import main
from fst.system.paths import sample_photo

FRAMES, SIZE, RATE = 20, (240, 176), 10


def frames(folder: Path) -> None:
    """A window that goes round over the photo and comes back to where it began."""
    with Image.open(sample_photo("chelsea.png")) as photo:
        photo = photo.convert("RGB")
        for number in range(FRAMES):
            turn = 2 * math.pi * number / FRAMES
            width = 330 + 50 * math.cos(turn)
            height = width * SIZE[1] / SIZE[0]
            left, top = 35 + 30 * math.sin(turn), 10 + 8 * math.cos(turn)
            window = (left, top, left + width, top + height)
            seen = photo.resize(SIZE, Image.Resampling.BICUBIC, box=window)
            seen.save(folder / f"{number:03d}.png")


if __name__ == "__main__":
    style, output = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        frames(Path(name))
        words = ["video", name, "-o", output, "--style", style, "--rate", str(RATE)]
        sys.exit(main([*words, "--steady", "--force"]))
