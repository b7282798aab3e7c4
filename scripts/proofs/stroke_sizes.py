"""What moves strokes, skies and faces: one photograph, one painting, one setting at a time.

python scripts/proofs/stroke_sizes.py PAINTING [--photo FILE] [--size 384] \
    [--iterations 80] --out PICTURE

The first row has the painting taken at three sizes (`style.size`), the second the settings that
docs/train.md names for calmer skies and sharper faces. Each picture comes from `fst optimize`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from fst import FstError
from fst.pictures.image import Picture, read_picture, save_picture
from fst.pictures.sheet import contact_sheet, labeled
from fst.system.paths import sample_photo

SIZES = ("style.size=256", "style.size=512", "style.size=1024")
SETTINGS = ("style.weights.tv=3", "style.strength=0.3", "loss.content_layers.relu2_2=1")


def main() -> None:
    """Optimize one picture a setting, then put them side by side under their settings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("painting", type=Path)
    parser.add_argument("--photo", type=Path, help="default: scikit-image's astronaut")
    parser.add_argument("--size", type=int, default=384, help="shorter side in pixels")
    parser.add_argument("--iterations", type=int, default=80)
    parser.add_argument("--out", type=Path, required=True, help="a picture file")
    asked = parser.parse_args()
    photo = asked.photo or sample_photo("astronaut.png")
    rows = [[labeled(made(asked, photo, word), word) for word in row] for row in (SIZES, SETTINGS)]
    plain = read_picture(photo).resized(asked.size).rgb
    painting = read_picture(asked.painting).rgb
    painting.thumbnail(plain.size)
    rows[0].insert(0, labeled(plain, "photo"))
    rows[1].insert(0, labeled(painting, "painting"))
    save_picture(asked.out, Picture(rgb=contact_sheet(rows)), quality=88)
    print(asked.out)


def made(asked: argparse.Namespace, photo: Path, word: str) -> Image.Image:
    """The photograph, optimized with one setting of its own."""
    command = [sys.executable, "-m", "fst", "optimize", f"content={photo}"]
    command += [f"style.image={asked.painting}", f"size={asked.size}"]
    command += [f"iterations={asked.iterations}", word]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, f"run_dir={folder}/run"],
            env=dict(os.environ),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise FstError(done.stderr.strip())
        (picture,) = Path(folder, "run").glob("*.png")
        return read_picture(picture).rgb


if __name__ == "__main__":
    try:
        main()
    except FstError as error:
        sys.exit(f"stroke_sizes: {error}")
