"""The loss network that ships, against answers of the network it stands for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

from fst.loss.loss_network import LossNetwork
from fst.loss.loss_network_file import load_loss_network
from fst.loss.perceptual_loss import Losses, PerceptualLoss
from fst.pictures.image import read_picture, to_tensor
from fst.pictures.paint import paint
from fst.system.paths import sample_photo, shipped_loss_networks

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
KNOWN = Path(__file__).parent / "known_losses.json"  # python -m tests.test_lite TEACHER writes it


def small(name: str) -> Tensor:
    return to_tensor(read_picture(sample_photo(name)).resized(128).rgb)[..., :128, :128]


def pictures() -> list[tuple[Tensor, Tensor]]:
    """(picture, photo): mixes with two paintings, noise and coarse copies, of four photos."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"):
        photo = small(name)
        for painted in ("woodcut", "stained_glass"):
            other = to_tensor(paint(painted, size=128))
            made += [(photo + share * (other - photo), photo) for share in (0.1, 0.3, 0.6)]
        noise = torch.randn(photo.shape, generator=generator)
        made += [((photo + size * noise).clamp(0, 1), photo) for size in (0.05, 0.2)]
        for factor in (2, 4):
            coarse = F.avg_pool2d(photo, factor)
            made.append((F.interpolate(coarse, size=photo.shape[-2:], mode="bilinear"), photo))
    return made


@torch.no_grad()
def losses(network: LossNetwork, relative: bool) -> list[Losses]:
    loss = PerceptualLoss(
        network=network,
        style_image=to_tensor(paint("flowing_strokes", size=128)),
        content_layers={"relu3_3": 1},
        style_layers={"relu1_2": 1, "relu2_2": 1, "relu3_3": 1},
        content_weight=1,
        style_weight=1,
        tv_weight=0,
        relative=relative,
    )
    return [loss(picture, photo) for picture, photo in pictures()]


def spearman(one: list[float], two: list[float]) -> float:
    return float(torch.corrcoef(torch.tensor([one, two]).argsort(1).argsort(1).double())[0, 1])


@pytest.fixture(scope="module")
def lite() -> LossNetwork:
    return load_loss_network(name="lite")


def test_it_is_small_and_says_where_it_comes_from(lite: LossNetwork) -> None:
    path = shipped_loss_networks()["lite"]
    assert path.stat().st_size <= 1_000_000
    assert set(LAYERS) <= set(lite.layers)
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
    for word in ("Oxford VGG-19", "CC BY 4.0", "Wang", "MIT"):
        assert word in metadata["licence"]
    assert lite.description == "lite (shipped)"
    assert lite.license == metadata["licence"]
    card = (path.parent / "README.md").read_text()
    assert "CC BY 4.0" in card


@pytest.mark.parametrize("term", ["style", "content"])
def test_its_losses_rank_pictures_as_the_teachers_do(lite: LossNetwork, term: str) -> None:
    known = json.loads(KNOWN.read_text())["relative"][term]
    mine = [float(getattr(terms, term)) for terms in losses(lite, relative=True)]
    assert spearman(mine, known) >= 0.95


@pytest.mark.parametrize("term", ["style", "content"])
def test_in_absolute_units_its_terms_have_the_teachers_size(lite: LossNetwork, term: str) -> None:
    known = json.loads(KNOWN.read_text())["absolute"][term]
    mine = [float(getattr(terms, term)) for terms in losses(lite, relative=False)]
    assert 0.5 < sum(mine) / sum(known) < 2


if __name__ == "__main__":
    import sys

    teacher = load_loss_network(name="file", file=sys.argv[1])
    answers = {
        kind: {
            term: [float(f"{float(getattr(terms, term)):.5g}") for terms in made]
            for term in ("style", "content")
        }
        for kind, made in (
            ("relative", losses(teacher, True)),
            ("absolute", losses(teacher, False)),
        )
    }
    KNOWN.write_text(json.dumps(answers) + "\n")
