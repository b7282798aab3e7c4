"""Tiny data made on the spot: photos, a painting, a VGG-shaped network, a style. No network."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fst.style_file import Card, save_style
from fst.transformer_net import TransformerNet

torch.set_num_threads(2)
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


def picture(width: int, height: int, seed: int) -> Image.Image:
    """A smooth colourful picture: low-frequency noise, enlarged."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def vgg_state(widths: list[list[int]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights of a VGG-shaped network in torchvision's keys; one list of widths a block."""
    generator = torch.Generator().manual_seed(seed)
    state, channels, number = {}, 3, 0
    for block in widths:
        for width in block:
            scale = (2 / (9 * channels)) ** 0.5
            weight = torch.randn(width, channels, 3, 3, generator=generator) * scale
            state[f"features.{number}.weight"] = weight
            state[f"features.{number}.bias"] = torch.zeros(width)
            channels, number = width, number + 2
        number += 1
    return state


@pytest.fixture(scope="session")
def tiny_vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VGG-shaped network file to relu4_3 with a handful of channels."""
    path = tmp_path_factory.mktemp("vgg") / "tiny_vgg.safetensors"
    state = vgg_state([[4, 4], [6, 6], [8, 8, 8], [8, 8, 8]])
    metadata = {"mean": "0.5,0.5,0.5", "std": "0.25,0.25,0.25", "padding_mode": "zeros"}
    save_file(state, path, metadata)
    return path


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small photos, some in a sub-folder."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "nested").mkdir()
    for number in range(12):
        place = folder / "nested" if number % 3 == 0 else folder
        picture(90 + number, 70, seed=number).save(place / f"photo_{number:02d}.jpg")
    return folder


@pytest.fixture(scope="session")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("paintings") / "swirl.png"
    picture(128, 96, seed=99).save(path)
    return path


@pytest.fixture(scope="session")
def tiny_style(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style file of an untrained net with 4 channels."""
    torch.manual_seed(0)
    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1)
    path = tmp_path_factory.mktemp("style") / "tiny.safetensors"
    card = Card(name="tiny", net={}, painting={"title": "Swirl", "licence": "CC0"})
    save_style(path, net, card, half=True)
    return path
