"""Does one strength mean the same for every painting? Fixed weights against calibrated ones.

python scripts/strength_table.py --photos HELD_OUT --paintings PAINTINGS [--strength 0.5]
    [--styles a,b,...] [--count 4] [--size 256] [--iterations 60] [--network FILE] [--out FOLDER]

Every painting and photo is solved by L-BFGS under `loss=johnson` (fixed weights in the paper's
units), `loss=relative` (fixed weights of relative terms) and `loss=calibrated`. What they led to is
measured by the same terms: the relative content term, and the relative style term over that of the
photo.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import hydra
import torch
from torch import Tensor

from fst import FstError
from fst.cli import prepare_overrides
from fst.experiment import build_loss, build_network, build_painting
from fst.image import Picture, contact_sheet, read_picture, save_picture, to_image, to_tensor
from fst.image_optimizer import optimize
from fst.paths import configs_dir
from fst.photo_files import list_photos
from fst.run_folder import machine

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
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    every = list_photos(asked.photos, key="--photos")
    chosen = [every[k * len(every) // asked.count] for k in range(asked.count)]
    photos = [to_tensor(read_picture(path).resized(asked.size).rgb) for path in chosen]
    report = {"machine": machine(), "strength": asked.strength, "size": asked.size, "rows": []}
    for kind in asked.losses.split(","):
        rows = []
        sheet = [[to_image(photo) for photo in photos]]
        for style in asked.styles.split(","):
            made = [solved(asked, kind, style, photo) for photo in photos]
            content, left = (sum(m[k] for m in made) / len(made) for k in (0, 1))
            rows.append({"loss": kind, "style": style, "content": content, "style_left": left})
            print(f"{kind:<11}{style:<22}content {content:.3f}  style left {left:.3f}", flush=True)
            sheet.append([to_image(m[2]) for m in made])
        for key in ("content", "style_left"):
            values = [row[key] for row in rows]
            spread = math.log(max(values) / min(values))
            report[f"{kind} {key}"] = round(spread, 3)
            print(f"{kind:<11}{key:<22}ln(max/min) {spread:.3f}", flush=True)
        report["rows"] += rows
        save_picture(asked.out / f"{kind}.jpg", Picture(rgb=contact_sheet(sheet)), quality=90)
    (asked.out / "strength.json").write_text(json.dumps(report, indent=1) + "\n")


def solved(
    asked: argparse.Namespace, kind: str, style: str, photo: Tensor
) -> tuple[float, float, Tensor]:
    """Content lost, style left and the picture, after the iterations asked for."""
    words = [f"style={style}", f"style.root={asked.paintings}", "content=x", *FIXED]
    kinds = [f"loss={kind}", *([f"style.strength={asked.strength}"] * (kind == "calibrated"))]
    if asked.network is not None:
        words += ["loss_network=file", f"loss_network.file={asked.network}"]
        words += ["loss.style_layers.relu4_3=0"]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(configs_dir())):
        config = hydra.compose("optimize", prepare_overrides([*words, *kinds]))
        measure = hydra.compose("optimize", prepare_overrides([*words, "loss=relative"]))
    painting, network = build_painting(config), build_network(config)
    loss = build_loss(config, painting, network, lambda: photo)
    target = loss.content_target(photo)
    for iterate in optimize(lambda x: loss.compare(x, target).total, photo, method="lbfgs"):
        picture = iterate.image
        if iterate.number >= asked.iterations:
            break
    judge = build_loss(measure, painting, network, lambda: photo)
    with torch.no_grad():
        after, before = judge(picture, photo), judge(photo, photo)
    return float(after.content), float(after.style / before.style), picture


if __name__ == "__main__":
    try:
        main()
    except FstError as error:
        sys.exit(f"strength_table: {error}")
