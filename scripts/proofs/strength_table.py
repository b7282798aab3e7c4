"""Does one strength mean the same for every painting? Fixed weights against calibrated ones.

python scripts/proofs/strength_table.py --photos HELD_OUT --paintings PAINTINGS [--strength 0.5]
    [--styles a,b,...] [--count 4] [--size 256] [--iterations 60] [--network FILE] --out FOLDER
    [--train PHOTOS --steps 250]

Every painting and photo is solved by L-BFGS under `loss=johnson` (fixed weights in the paper's
units), `loss=relative` (fixed weights of relative terms) and `loss=calibrated`. What they led to is
measured by the same terms: the relative content term, and the relative style term over that of the
photo. With --train the pictures come from nets trained under each loss instead.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

from fst import FstError, Stylizer
from fst.data.photo_files import list_photos, read_photo
from fst.experiments.parts import build_loss, build_network, build_painting
from fst.experiments.settings import compose
from fst.loss.image_optimizer import optimize
from fst.loss.perceptual_loss import PerceptualLoss
from fst.pictures.image import Picture, save_picture, to_image, to_tensor
from fst.pictures.sheet import contact_sheet
from fst.system.machine import machine

STYLES = "great_wave,starry_night,the_scream,udnie,poppies,mondrian_composition"
# the same weights for each: those that the authors picked for some paintings are set aside
FIXED = [f"style.johnson_weights.{term}=1" for term in ("content", "style", "tv")]
LOSSES = ("johnson", "relative", "calibrated")


def main() -> None:
    """Solve, measure, print one row a painting and the spread of each loss."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--styles", default=STYLES)
    parser.add_argument("--losses", default=",".join(LOSSES))
    parser.add_argument("--strength", type=float, default=0.5)
    parser.add_argument("--count", type=int, default=4, help="of the photos, evenly spread")
    parser.add_argument("--size", type=int, default=256, help="shorter side in pixels")
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--network", type=Path, help="another loss network than lite")
    parser.add_argument("--train", type=Path, help="photos to train nets on, in place of L-BFGS")
    parser.add_argument("--steps", type=int, default=250, help="of each net")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    every = list_photos(asked.photos, key="--photos")
    chosen = [every[k * len(every) // asked.count] for k in range(asked.count)]
    photos = [to_tensor(read_photo(path).resized(asked.size).rgb) for path in chosen]
    report = {"machine": machine(), "strength": asked.strength, "size": asked.size, "rows": []}
    for kind in asked.losses.split(","):
        rows = []
        sheet = [[to_image(photo) for photo in photos]]
        for style in asked.styles.split(","):
            if asked.train is None:
                made = [
                    optimized(loss_of(asked, kind, style, photo), photo, asked.iterations)
                    for photo in photos
                ]
            else:
                made = stylized(asked, kind, style, photos)
            judged = [judge(asked, style, m, photo) for m, photo in zip(made, photos, strict=True)]
            content, left = (sum(values) / len(judged) for values in zip(*judged, strict=True))
            rows.append({"loss": kind, "style": style, "content": content, "style_left": left})
            print(f"{kind:<11}{style:<22}content {content:.3f}  style left {left:.3f}", flush=True)
            sheet.append([to_image(m) for m in made])
        for key in ("content", "style_left"):
            values = [row[key] for row in rows]
            spread = math.log(max(values) / min(values))
            report[f"{kind} {key}"] = round(spread, 3)
            print(f"{kind:<11}{key:<22}ln(max/min) {spread:.3f}", flush=True)
        report["rows"] += rows
        save_picture(asked.out / f"{kind}.jpg", Picture(rgb=contact_sheet(sheet)), quality=90)
    (asked.out / "strength.json").write_text(json.dumps(report, indent=1) + "\n")


def words_of(asked: argparse.Namespace, kind: str, style: str) -> list[str]:
    """The overrides that pick a painting and one of the losses."""
    words = [f"style={style}", f"style.root={asked.paintings}", f"loss={kind}", *FIXED]
    if kind == "calibrated":
        words.append(f"style.strength={asked.strength}")
    if asked.network is not None:
        words += ["loss_network=file", f"loss_network.file={asked.network}"]
        words += ["loss.style_layers.relu4_3=0"]
    return words


def loss_of(asked: argparse.Namespace, kind: str, style: str, photo: Tensor) -> PerceptualLoss:
    """One of the losses against a painting, calibrated on a photo if it is of that kind."""
    config = compose("optimize", ["content=x", *words_of(asked, kind, style)])
    return build_loss(config, build_painting(config), build_network(config), lambda: photo)


def judge(
    asked: argparse.Namespace, style: str, picture: Tensor, photo: Tensor
) -> tuple[float, float]:
    """Content lost and style left of a picture, in the same terms for every loss."""
    loss = loss_of(asked, "relative", style, photo)
    with torch.no_grad():
        after, before = loss(picture, photo), loss(photo, photo)
    return float(after.content), float(after.style / before.style)


def optimized(loss: PerceptualLoss, photo: Tensor, iterations: int) -> Tensor:
    """The picture after so many iterations of L-BFGS from the photo."""
    target = loss.content_target(photo)
    picture = photo
    for iterate in optimize(lambda x: loss.compare(x, target).total, photo, method="lbfgs"):
        picture = iterate.image
        if iterate.number >= iterations:
            break
    return picture


def stylized(
    asked: argparse.Namespace, kind: str, style: str, photos: list[Tensor]
) -> list[Tensor]:
    """The pictures of a net that is trained for the steps asked for."""
    folder = asked.out / f"{kind}_{style}"
    command = [sys.executable, "-m", "fst", "train", "experiment=laptop", "resume=auto"]
    command += ["warm_start=null"]  # what a loss makes of a painting, not of another one's net
    command += [*words_of(asked, kind, style), f"data.root={asked.train}", f"run_dir={folder}"]
    command += [f"trainer.max_steps={asked.steps}", "trainer.val_check_interval=null"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise FstError(done.stderr.strip())
    stylizer = Stylizer(folder / f"{style}.safetensors")
    return [to_tensor(stylizer(to_image(photo))) for photo in photos]


if __name__ == "__main__":
    try:
        main()
    except FstError as error:
        sys.exit(f"strength_table: {error}")
