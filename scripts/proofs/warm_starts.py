"""How far a few steps get from one start or another: the laptop's recipe, cut short.

python scripts/proofs/warm_starts.py --photos PHOTOS --held-out HELD_OUT --paintings PAINTINGS \\
    --styles the_scream contrast_of_forms --starts starry_night base --steps 50 100 --out OUT

Trains every style from every start for every number of steps with seeds 0, 1, 2 (each a run of its
own, whose one cycle of the learning rate is that long) and prints the held-out total, mean over the
seeds and each. Within one style and seed the weights of the loss are the same, so totals compare.
OUT keeps the runs; what is there is not run again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from fst.nets.style_card import read_card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--held-out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--paintings", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--styles", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--starts", nargs="+", required=True, metavar="NAME_OR_FILE")
    parser.add_argument("--steps", nargs="+", type=int, required=True, metavar="N")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    asked = parser.parse_args()
    for style in asked.styles:
        for start in asked.starts:
            for steps in asked.steps:
                totals = [trained(asked, style, start, steps, seed) for seed in range(asked.seeds)]
                each = ", ".join(f"{total:.3f}" for total in totals)
                mean = sum(totals) / len(totals)
                print(f"{style:<20} {Path(start).stem:<16} {steps:4d} steps  {mean:.3f}  ({each})")
                sys.stdout.flush()


def trained(asked: argparse.Namespace, style: str, start: str, steps: int, seed: int) -> float:
    """The held-out total of one run."""
    folder = asked.out / f"{style}_{Path(start).stem}_{steps}_{seed}"
    file = folder / f"{style}.safetensors"
    if not file.exists():
        words = [
            f"style={style}",
            f"style.root={asked.paintings}",
            f"data.root={asked.photos}",
            f"data.val_root={asked.held_out}",
            "data.workers=0",
            f"warm_start={start}",
            f"seed={seed}",
            f"trainer.max_steps={steps}",
            f"trainer.val_check_interval={steps}",
            "logger=csv",
            "previews.every=1000",
            f"run_dir={folder}",
        ]
        command = [sys.executable, "-m", "fst", "train", "experiment=laptop", *words]
        with (asked.out / f"{folder.name}.log").open("w") as log:
            subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    return read_card(file).losses["total"]


if __name__ == "__main__":
    main()
