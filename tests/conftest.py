"""Tiny data made on the spot: photos, a painting, a VGG-shaped network, a style. No network."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import NamedTuple

import absl.logging
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fst.cli import main
from fst.nets.style_card import Card
from fst.nets.style_file import save_style, save_styles
from fst.nets.transformer_net import TransformerNet

Train = Callable[..., int]

TINY = [
    "net.width=4",
    "net.residual_blocks=1",
    "data.size=32",
    "data.batch_size=2",
    "data.workers=0",
    "style.size=64",
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
    "trainer.log_every_n_steps=1",
    "trainer.accelerator=cpu",
    "previews.photos=1",
    "previews.size=32",
    "previews.every=3",
    "checkpoint_every=3",
]

torch.set_num_threads(2)
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# absl, which OpenVINO and TensorBoard import, closes its stream when Hydra sets up logging: not
# pytest's, please
absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__


def picture(width: int, height: int, seed: int) -> Image.Image:
    """A smooth colorful picture: low-frequency noise, enlarged."""
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
    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1, upsampling="bilinear")
    path = tmp_path_factory.mktemp("style") / "tiny.safetensors"
    card = Card(name="tiny", net={}, painting={"title": "Swirl", "license": "CC0"})
    save_style(path, net, card, half=True)
    return path


class Exported(NamedTuple):
    """A file of ``fst export``, and what was printed."""

    path: Path
    printed: str


@pytest.fixture(scope="session")
def exported(tiny_style: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """``exported(FORMAT, *words)``: the tiny style's graph, exported once: it takes seconds."""
    folder = tmp_path_factory.mktemp("exported")

    @cache
    def export(file_format: str, *words: str) -> Exported:
        path = folder / f"tiny{'_'.join(words)}.{file_format}"
        command = ["export", str(tiny_style), "--format", file_format, "-o", str(path), *words]
        with redirect_stdout(io.StringIO()) as printed:
            assert main(command) == 0
        return Exported(path, printed.getvalue())

    return export


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three paintings whose nets differ."""
    torch.manual_seed(3)
    net = TransformerNet(
        width=4, residual_blocks=1, output_gain=0.1, upsampling="bilinear", paintings=3
    )
    net.conv2.conv.weight.data.mul_(20)
    net.remove_grid()
    for norm in net.norms():
        norm.weight.data.add_(0.7 * torch.randn_like(norm.weight))
        norm.bias.data.add_(0.7 * torch.randn_like(norm.bias))
    path = tmp_path_factory.mktemp("several") / "several.safetensors"
    cards = [Card(name=name, net={}) for name in ("red", "green", "blue")]
    save_styles(path, net, cards, half=True)
    return path


@pytest.fixture
def train(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_vgg: Path,
    painting: Path,
    photos: Path,
) -> Train:
    """Calls `fst train` in an empty folder; later words win over the tiny defaults."""
    monkeypatch.chdir(tmp_path)
    for variable in ("FST_STYLES", "FST_RUN_FOLDER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "argv", ["fst"])
    # the same results on every processor: none has bfloat16
    monkeypatch.setattr("fst.experiments.precision.processor_flags", lambda: "")

    def call(*words: str, given: bool = True, given_painting: bool = True) -> int:
        base = [
            "experiment=laptop",
            "loss=relative",  # a calibrated one takes its time
            "loss_network=file",
            f"loss_network.file={tiny_vgg}",
            *TINY,
        ]
        if given:
            base += [f"data.root={photos}"]
            base += [f"style.image={painting}"] if given_painting else []
        keys = {word.partition("=")[0] for word in words}
        os.environ.pop("FST_RUN_FOLDER", None)
        return main(["train", *(w for w in base if w.partition("=")[0] not in keys), *words])

    return call
