"""How well a slim loss network stands for a big one, on photos it never saw:

python scripts/proofs/lite_fidelity.py --teacher vgg19.safetensors --photos HELD_OUT \
    --train PHOTOS --paintings PAINTINGS [--lite FILE] [--parts abc] [--steps 400] --out OUT

a  cosine between the gradients of both losses with respect to the picture
b  rank correlation of both losses over stylized pictures of several strengths and paintings
c  nets trained on either loss from the same seed, judged by the teacher's objective
Writes fidelity.json, the trained nets and sheets of their pictures into OUT; prints the tables.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fst import FstError, Stylizer
from fst.data.photo_files import list_photos, read_photo
from fst.experiments.config import Config
from fst.experiments.parts import build_loss, build_network, build_painting
from fst.experiments.settings import compose
from fst.loss.perceptual_loss import Losses, PerceptualLoss
from fst.nets.style_names import shipped_styles
from fst.pictures.image import Picture, save_picture, to_image, to_tensor
from fst.pictures.sheet import contact_sheet
from fst.system.machine import machine

STYLES = ("great_wave", "starry_night", "the_scream")
SIZE = 256  # pixels, shorter side of the pictures that are compared
STRENGTHS = (0.25, 0.5, 0.75, 1.0)  # share of the stylized picture in a mix with the photo
# the laptop's loss as far as the teacher goes; total variation stays on
LOSS = [
    "experiment=laptop",
    "warm_start=null",
    "loss=relative",
    "loss.style_layers.relu4_3=0",
    "loss.tv_weight=2e-8",
]


def main() -> None:
    """Measure the parts asked for, print each as a table, and store them all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--teacher", type=Path, required=True, help="a VGG-shaped .safetensors")
    parser.add_argument("--lite", type=Path, help="another slim network than the shipped one")
    parser.add_argument("--photos", type=Path, required=True, help="photos to measure on")
    parser.add_argument("--paintings", type=Path, required=True, help=f"has {', '.join(STYLES)}")
    parser.add_argument("--train", type=Path, help="photos to train on, for part c")
    parser.add_argument("--parts", default="abc")
    parser.add_argument("--steps", type=int, default=400, help="of the nets of part c")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    networks = {"teacher": asked.teacher, "lite": asked.lite}
    report = {"machine": machine(), "size": SIZE}
    photos = [load(path) for path in list_photos(asked.photos, key="--photos")]
    if "c" in asked.parts:
        report["trained"] = trained(asked, networks, photos)
    if "a" in asked.parts:
        report["gradient"] = gradients(asked, networks, photos[::4])
    if "b" in asked.parts:
        report["rank"] = ranks(asked, networks, photos[::8])
    (asked.out / "fidelity.json").write_text(json.dumps(report, indent=1) + "\n")


def load(path: Path) -> Tensor:
    """A photo as (1, 3, H, W) with its shorter side at ``SIZE``."""
    return to_tensor(read_photo(path).resized(SIZE).rgb)


def words(network: Path | None) -> list[str]:
    """The overrides that choose a loss network: the shipped one, or a file."""
    if network is None:
        return ["loss_network=lite"]
    return ["loss_network=file", f"loss_network.file={network}"]


def settings(style: str, paintings: Path, network: Path | None) -> Config:
    """Those that ``fst train`` would use."""
    return compose("train", [*LOSS, *words(network), f"style={style}", f"style.root={paintings}"])


def losses(asked: argparse.Namespace, networks: dict[str, Any], style: str) -> list[PerceptualLoss]:
    """[the teacher's, the lite] loss of a style."""
    configs = [settings(style, asked.paintings, networks[name]) for name in ("teacher", "lite")]
    painting = build_painting(configs[0])
    return [build_loss(c, painting, build_network(c), lambda: painting.image) for c in configs]


def gradients(
    asked: argparse.Namespace, networks: dict[str, Any], photos: list[Tensor]
) -> list[dict[str, Any]]:
    """Part a: at the photos, and at what a net makes of them after an eighth of the steps."""
    nets = {style: asked.out / f"{style}_early.safetensors" for style in STYLES}
    if asked.train:
        for style, path in nets.items():
            train(asked, style, networks["lite"], max(asked.steps // 8, 1), path)
    rows = []
    for style in STYLES:
        pair = losses(asked, networks, style)
        for where in ("photo", "early net"):
            if where == "early net" and not nets[style].exists():
                continue
            stylizer = Stylizer(nets[style]) if where == "early net" else None
            cosines = []
            for photo in photos:
                at = photo if stylizer is None else stylized(stylizer, photo)
                both = [gradient(loss, at, photo) for loss in pair]
                cosines.append(float(F.cosine_similarity(*both, dim=0)))
            row = {"style": style, "at": where, "photos": len(cosines)}
            row |= {"mean": mean(cosines), "least": round(min(cosines), 3)}
            rows.append(row)
    return show("cosine of the gradients", rows)


def gradient(loss: PerceptualLoss, at: Tensor, photo: Tensor) -> Tensor:
    """Of content and style, flat; total variation needs no network and would flatter."""
    at = at.clone().requires_grad_()
    terms = loss(at, photo)
    return torch.autograd.grad(terms.content + terms.style, at)[0].flatten()


@torch.no_grad()
def ranks(
    asked: argparse.Namespace, networks: dict[str, Any], photos: list[Tensor]
) -> list[dict[str, Any]]:
    """Part b: Spearman's correlation over mixes of photos with pictures of every net given."""
    files = [*shipped_styles().values(), *sorted(asked.out.glob("*_*.safetensors"))]
    pictures = []
    for file in files:
        stylizer = Stylizer(file)
        for photo in photos:
            result = stylized(stylizer, photo)
            pictures += [(photo + share * (result - photo), photo) for share in STRENGTHS]
    rows = []
    for style in STYLES:
        pair = losses(asked, networks, style)
        terms = [[loss(picture, photo) for picture, photo in pictures] for loss in pair]
        row: dict[str, Any] = {"painting": style, "pictures": len(pictures)}
        for name in ("style", "content"):
            row[name] = spearman(*[[float(getattr(t, name)) for t in side] for side in terms])
        rows.append(row)
    return show("rank correlation", rows)


def trained(
    asked: argparse.Namespace, networks: dict[str, Any], photos: list[Tensor]
) -> list[dict[str, Any]]:
    """Part c: nets after equal steps and equal time, judged by the teacher's loss."""
    if asked.train is None:
        raise FstError("part c trains nets; give --train PHOTOS, or --parts ab")
    style, steps = STYLES[0], asked.steps
    files = {name: asked.out / f"{style}_{name}.safetensors" for name in ("teacher", "steps")}
    seconds = {
        "teacher": train(asked, style, networks["teacher"], steps, files["teacher"]),
        "steps": train(asked, style, networks["lite"], steps, files["steps"]),
    }
    more = int(steps * seconds["teacher"] / seconds["steps"])
    files["time"] = asked.out / f"{style}_time.safetensors"
    seconds["time"] = train(asked, style, networks["lite"], more, files["time"])
    judge, _ = losses(asked, networks, style)
    rows = [{"loss network": "none: the photo itself", **judged(judge, photos, None)}]
    before = rows[0]["total"]
    for name, count in (("teacher", steps), ("steps", steps), ("time", more)):
        network = "teacher" if name == "teacher" else "lite"
        row: dict[str, Any] = {"loss network": network, "steps": count}
        row["seconds"] = round(seconds[name])
        row |= judged(judge, photos, Stylizer(files[name]))
        reached = rows[1]["total"] if len(rows) > 1 else row["total"]
        row["reduction"] = round((before - row["total"]) / (before - reached), 3)
        rows.append(row)
    sheet(asked.out / f"{style}.png", [Stylizer(file) for file in files.values()], photos[::8])
    return show(f"judged by the teacher's loss, {style}, {len(photos)} photos", rows)


def train(asked: argparse.Namespace, style: str, network: Path | None, steps: int, to: Path) -> int:
    """``fst train`` in a process of its own; returns its seconds, from start to style file.

    What an earlier call has trained into ``--out`` with as many steps is not trained again.
    """
    note = to.with_suffix(".json")
    if note.exists() and (known := json.loads(note.read_text()))["steps"] == steps:
        return int(known["seconds"])
    run = asked.out / "runs" / to.stem
    command = [sys.executable, "-m", "fst", "train", *LOSS, *words(network)]
    command += [f"style={style}", f"style.root={asked.paintings}", f"data.root={asked.train}"]
    command += [f"data.val_root={asked.photos}", f"run_dir={run}", "resume=false"]
    command += [f"trainer.max_steps={steps}", "trainer.val_check_interval=null"]
    command += ["previews.photos=0", f"checkpoint_every={steps}", "logger=csv"]
    print(f"training {to.stem}: {steps} steps", flush=True)
    start = time.monotonic()
    with open(asked.out / f"{to.stem}.log", "w") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        raise FstError(f"training {to.stem} failed; see {log.name}")
    seconds = time.monotonic() - start
    newest = max(
        run.parent.glob(f"{run.name}*/{style}.safetensors"), key=lambda p: p.stat().st_mtime
    )
    to.write_bytes(newest.read_bytes())
    note.write_text(json.dumps({"steps": steps, "seconds": round(seconds)}))
    return round(seconds)


@torch.no_grad()
def judged(loss: PerceptualLoss, photos: list[Tensor], stylizer: Stylizer | None) -> dict[str, Any]:
    """Mean terms over the photos, of the photos themselves or of their stylized pictures."""
    sums: dict[str, list[float]] = {"content": [], "style": [], "total_variation": [], "total": []}
    for photo in photos:
        terms: Losses = loss(photo if stylizer is None else stylized(stylizer, photo), photo)
        for name, values in sums.items():
            values.append(float(getattr(terms, name)))
    return {name: mean(values) for name, values in sums.items()}


def stylized(stylizer: Stylizer, photo: Tensor) -> Tensor:
    """What ``fst stylize`` makes of a photo, as a tensor."""
    return to_tensor(stylizer.picture(Picture(rgb=to_image(photo))).rgb)


def sheet(path: Path, stylizers: list[Stylizer], photos: list[Tensor]) -> None:
    """Photos in the first row, one stylizer in each further one."""
    pictures = [Picture(rgb=to_image(photo[..., :SIZE, :SIZE])) for photo in photos]
    rows = [[p.rgb for p in pictures]]
    rows += [[stylizer.picture(p).rgb for p in pictures] for stylizer in stylizers]
    save_picture(path, Picture(rgb=contact_sheet(rows)), quality=95)


def mean(values: list[float]) -> float:
    """Rounded for a table."""
    return round(sum(values) / len(values), 3)


def spearman(one: list[float], two: list[float]) -> float:
    """Rank correlation of two lists without ties."""
    order = torch.tensor([one, two]).argsort(1).argsort(1).double()
    return round(float(torch.corrcoef(order)[0, 1]), 3)


def show(title: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print rows as a Markdown table; returns them."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    print(f"\n{title}\n\n| {' | '.join(keys)} |\n|{'---|' * len(keys)}")
    for row in rows:
        print(f"| {' | '.join(str(row.get(key, '')) for key in keys)} |")
    print(flush=True)
    return rows


if __name__ == "__main__":
    torch.manual_seed(0)
    try:
        main()
    except FstError as error:
        sys.exit(f"lite_fidelity: {error}")
