"""Training in bfloat16 against float32: the held-out loss and the time, with several seeds.

python scripts/proofs/bf16_training.py                       # 400 steps, seeds 0, 1 and 2
python scripts/proofs/bf16_training.py --photos photos/      # a folder of yours
python scripts/proofs/bf16_training.py --steps 4 --seeds 0 net.width=4 data.size=64   # a try

The laptop's experiment on a painting of ours; further words go to `fst train`. A seed's two runs
have the same photos, crops and solved weights of the loss. Both nets are judged in float32, by the
middle squares of photos that neither was trained on. Exit code 1 if the mean of the seeds' ratios
is off by more than 3%. A processor without bfloat16 computes it too, but slowly.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from fst.cli import main as fst
from fst.data.dataset import CenterCrops
from fst.data.photo_files import training_and_held_out
from fst.errors import FstError
from fst.evaluation.trained_with import loss_of, network_of, painting_of
from fst.nets.style_file import load_style
from fst.system.machine import has_bfloat16, machine, processor_flags
from fst.system.paths import sample_photo

PRECISIONS = ("32-true", "bf16-mixed")
STYLE, SIZE = "stained_glass", 192  # pixels
LIMIT = 0.03
TRAIN = ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png", "hubble_deep_field.jpg")
HELD_OUT = ("astronaut.png", "motorcycle_left.png", "retina.jpg")


def main(argv: list[str] | None = None) -> int:
    """Print a line a seed and their mean; with ``--json``, write the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", default="0,1,2", metavar="N,N,N")
    parser.add_argument("--photos", metavar="FOLDER", help="default: those of scikit-image")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked, words = parser.parse_known_args(argv)
    native = "has" if has_bfloat16(processor_flags()) else "has no"
    print(f"{machine()}, which {native} bfloat16; {asked.steps} steps, style {STYLE}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        photos = photo_words(Path(folder), asked.photos)
        for seed in map(int, asked.seeds.split(",")):
            row = {"part": "bf16 training", "seed": seed, "steps": asked.steps}
            for precision in PRECISIONS:
                run = Path(folder, f"{precision}_{seed}")
                shared = [f"seed={seed}", f"trainer.max_steps={asked.steps}", *photos]
                shared.append(f"trainer.val_check_interval={asked.steps}")
                row[precision] = trained(run, precision, [*shared, *words])
            row["ratio"] = row["bf16-mixed"]["held_out"] / row["32-true"]["held_out"]
            rows.append(row)
    print()
    for row in rows:
        told = ", ".join(
            f"{name} {row[name]['held_out']:.5g} in {row[name]['seconds']:.0f} s"
            for name in PRECISIONS
        )
        print(f"seed {row['seed']}: held-out loss {told}; ratio {row['ratio']:.4f}")
    mean = statistics.fmean(row["ratio"] for row in rows)
    print(f"ratio of bf16-mixed to 32-true: {mean:.4f} on average; at most {1 + LIMIT} is asked")
    if asked.json is not None:
        asked.json.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return int(abs(mean - 1) > LIMIT)


def photo_words(folder: Path, photos: str | None) -> list[str]:
    """The settings of the photos to train on and of those held out."""
    if photos is not None:
        return [f"data.root={photos}", "data.val_photos=16"]
    words = []
    for key, names in (("root", TRAIN), ("val_root", HELD_OUT)):
        file = folder / f"{key}.txt"
        file.write_text("".join(f"{sample_photo(name)}\n" for name in names))
        words.append(f"data.{key}={file}")
    return words


def trained(run: Path, precision: str, words: list[str]) -> dict[str, float]:
    """Train one style; its held-out total in float32 and the seconds of the whole command."""
    start = time.monotonic()
    command = ["train", "experiment=laptop", f"style={STYLE}", f"run_dir={run}", "logger=csv"]
    command += ["previews.photos=0", "trainer.accelerator=cpu", "style.name=net"]
    code = fst([*command, f"trainer.precision={precision}", *words])
    if code:
        raise FstError(f"fst train ended with exit code {code}")
    seconds = time.monotonic() - start
    return {"held_out": held_out(run / "net.safetensors", words), "seconds": seconds}


@torch.inference_mode()
def held_out(file: Path, words: list[str]) -> float:
    """The mean total of a style on the held-out photos, in float32."""
    said = dict(word.split("=", 1) for word in words if "=" in word)
    _, paths, _ = training_and_held_out(
        said["data.root"],
        val_root=said.get("data.val_root"),
        val_photos=int(said.get("data.val_photos", 16)),
    )
    net, card = load_style(file)
    painting = painting_of(file, card, image=None, root=None)
    loss = loss_of(card, network_of(file, card), painting)
    crops = CenterCrops(paths=paths, size=int(said.get("data.size", SIZE)))
    photos = [crops[index].photos for index in range(len(crops))]
    return statistics.fmean(float(loss(net(photo), photo).total) for photo in photos)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FstError as error:
        sys.exit(str(error))
