"""A folder with everything that the commands of the docs name, all of it tiny.

``make(folder)`` fills it once; ``copy(folder, to)`` gives a block of commands its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from fst.nets.style_names import shipped_files
from fst.system.paths import configs_dir

ROOT = Path(__file__).resolve().parents[2]
ALIASES = ("PHOTOS", "HELD_OUT", "held_out", "holiday", "coco")  # of photos/
PHOTO, PAINTING = (96, 64), (96, 80)
NETWORK = "VGG19_TO_RELU3_4.safetensors"
SECONDS = 26  # of the film: the docs cut 0:25 out of it

# of ours in shell, what bash would start: it is noted in place of that
NOTED = """#!/bin/sh
printf '%s\\0' "$(($# + 1))" "NAME" "$@" >> "$NOTES"
"""
# as the script itself asks fst, which tests/test_scripts.py holds it to
ALL_STYLES = """#!/bin/sh
photos=$1 paintings=$2
shift 2
for style in $STYLES; do
  set -- fst train experiment=gallery "style=$style" "style.root=$paintings" \\
    "data.root=$photos" "run_dir=runs/gallery/$style" "$@"
  printf '%s\\0' "$#" "$@" >> "$NOTES"
  shift 7
done
"""


def picture(size: tuple[int, int], seed: int) -> Image.Image:
    """A smooth picture of many colors."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def photos() -> list[Image.Image]:
    """Those of scikit-image's wheel, where it is installed, and random ones."""
    found: Iterable[np.ndarray] = ()
    try:
        from skimage import data  # the extra samples

        found = (data.astronaut(), data.chelsea(), data.coffee())
    except ImportError:
        pass
    free = [Image.fromarray(one).resize(PHOTO) for one in found]
    return free + [picture(PHOTO, seed) for seed in range(9 - len(free))]


def make(folder: Path) -> None:
    """Write it all into a new folder."""
    (folder / "photos" / "nested").mkdir(parents=True)
    for number, photo in enumerate(photos()):
        where = folder / "photos" / ("nested" if number % 3 == 0 else ".")
        photo.save(where / f"photo_{number}.jpg", quality=95)
    for name in ALIASES:
        (folder / name).symlink_to("photos")
    for name in ("trip", "frames", "paintings", "BASE", "BASE/style", "OUT", "OLD"):
        (folder / name).mkdir()
    for number in range(4):
        picture(PHOTO, number).save(folder / "trip" / f"{number}.png")
        picture(PHOTO, number).save(folder / "frames" / f"frame_{number:03d}.png")
    for name in (
        "photo.jpg",
        "sky.png",
        "print.tif",
        "mine.jpg",
        "painting.jpg",
        "my painting.jpg",
    ):
        picture(PAINTING if "painting" in name else PHOTO, len(name)).save(folder / name)
    for config in configs_dir().glob("style/*.yaml"):
        file = (yaml.safe_load(config.read_text()) or {}).get("file")
        if file:
            picture(PAINTING, len(file)).save(folder / "paintings" / file)
    (folder / "PAINTINGS").symlink_to("paintings")
    (folder / "BASE" / "styles.txt").write_text("styles=[starry_night,woodcut]\n")
    for name, file in shipped_files().items():
        (folder / "OLD" / f"{name}.safetensors").symlink_to(file)
    for name in ("base_192", "base_128"):
        (folder / f"{name}.safetensors").symlink_to(shipped_files()["base"])
    network(folder / NETWORK)
    moving(folder)
    scripts = [str(script.relative_to(ROOT)) for script in ROOT.glob("scripts/**/*.sh")]
    for name in [*scripts, "build/stylize"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        text = ALL_STYLES if "all_styles" in name else NOTED.replace("NAME", name)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def network(path: Path) -> None:
    """A VGG-shaped loss network to relu5_1 with a handful of channels."""
    generator = torch.Generator().manual_seed(0)
    state, channels, number = {}, 3, 0
    for width, layers in ((4, 2), (6, 2), (8, 4), (8, 4), (8, 1)):
        for _ in range(layers):
            weight = torch.randn(width, channels, 3, 3, generator=generator)
            state[f"features.{number}.weight"] = weight * (2 / (9 * channels)) ** 0.5
            state[f"features.{number}.bias"] = torch.zeros(width)
            channels, number = width, number + 2
        number += 1
    metadata = {"mean": "0.5,0.5,0.5", "std": "0.25,0.25,0.25", "padding_mode": "zeros"}
    save_file(state, path, metadata)


def moving(folder: Path) -> None:
    """A GIF, and a film where PyAV is installed."""
    frames = [picture((48, 32), seed) for seed in range(SECONDS)]
    frames[0].save(folder / "cat.gif", save_all=True, append_images=frames[1:4], duration=100)
    try:
        import av  # the extra video
    except ImportError:
        return
    with av.open(str(folder / "holiday.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=Fraction(1))
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_image(frame)))
        film.mux(stream.encode())


def copy(world: Path, to: Path) -> Path:
    """Its own folder for a block of commands."""
    shutil.copytree(world, to, symlinks=True)
    return to
