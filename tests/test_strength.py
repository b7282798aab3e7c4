"""Calibrated strength: one number means the same for different paintings and networks."""

import math

import pytest
import torch
from torch import Tensor

from fst.errors import FstError
from fst.loss.loss_network import LossNetwork
from fst.loss.loss_network_file import load_loss_network
from fst.loss.perceptual_loss import PerceptualLoss
from fst.loss.strength import (
    ONE_SIDE,
    PROBE_SIDE,
    PROBES,
    Calibration,
    balance,
    balance_at,
    calibrate,
    probes,
)
from fst.pictures.image import read_picture, to_tensor
from fst.pictures.paint import paint
from fst.system.paths import sample_photo


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return to_tensor(read_picture(sample_photo("chelsea.png")).resized(96).rgb)[..., :96, :96]


@pytest.fixture(scope="module")
def lite() -> LossNetwork:
    return load_loss_network(name="lite")


def solved(
    network: LossNetwork,
    photo: Tensor,
    painted: str,
    strength: float,
    begin: Calibration | None = None,
) -> Calibration:
    loss = PerceptualLoss(
        network=network,
        style_image=to_tensor(paint(painted, size=160)),
        content_layers={"relu3_3": 1},
        style_layers={"relu1_2": 1, "relu2_2": 1, "relu3_3": 1},
        content_weight=1,
        style_weight=1,
        tv_weight=1,
        relative=True,
    )
    return calibrate(loss, photo, strength=strength, tv=1.0, begin=begin)


def test_the_balance_asked_for_is_reached_whatever_the_painting(
    lite: LossNetwork, photo: Tensor
) -> None:
    weights = []
    for painted in ("woodcut", "flowing_strokes"):
        made = solved(lite, photo, painted, 0.5)
        reached = balance(made.content_lost, made.style_left)
        assert math.log(reached / balance_at(0.5)) == pytest.approx(0, abs=0.1)
        weights.append(made.weights.style)
    assert max(weights) / min(weights) > 1.1  # one fixed weight would not have done


def test_more_strength_is_more_style_and_less_content(lite: LossNetwork, photo: Tensor) -> None:
    made = [solved(lite, photo, "woodcut", strength) for strength in (0.2, 0.5, 0.8)]
    lost, left = [m.content_lost for m in made], [m.style_left for m in made]
    assert lost == sorted(lost)
    assert left == sorted(left, reverse=True)
    assert [m.weights.style for m in made] == sorted(m.weights.style for m in made)


def test_the_same_call_solves_to_the_same_weights(lite: LossNetwork, photo: Tensor) -> None:
    first, second = (solved(lite, photo, "dots", 0.5) for _ in range(2))
    assert first[:3] == second[:3]
    assert torch.equal(first.picture, second.picture)


def test_the_way_from_one_strength_leads_to_another(lite: LossNetwork, photo: Tensor) -> None:
    weak = solved(lite, photo, "woodcut", 0.3)
    made = solved(lite, photo, "woodcut", 0.6, begin=weak)
    reached = balance(made.content_lost, made.style_left)
    assert math.log(reached / balance_at(0.6)) == pytest.approx(0, abs=0.1)
    assert made.picture.shape == photo.shape


def test_probes_are_crops_of_the_photos() -> None:
    assert probes(torch.rand(1, 3, 200, 500)).shape == (1, 3, 200, ONE_SIDE)
    assert probes(torch.rand(6, 3, 100, 90)).shape == (PROBES, 3, 100, 90)
    assert probes(torch.rand(2, 3, 256, 256)).shape == (2, 3, PROBE_SIDE, PROBE_SIDE)


def test_a_strength_outside_its_range_is_refused() -> None:
    for strength in (-0.1, 1.5):
        with pytest.raises(FstError, match=r"is not in 0 \.\. 1"):
            balance_at(strength)
    values = [balance_at(s / 10) for s in range(11)]
    assert values == sorted(values)
    assert all(math.isfinite(v) and v > 0 for v in values)
