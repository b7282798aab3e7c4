"""How fast training is: a step against the plain one, and what feeds it."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fst.benchmark.plain import (
    CONTENT_LAYER,
    LAYERS,
    MEAN,
    STD,
    PlainLoss,
    PlainVGG16,
    plain_photos,
    plain_stylized,
)
from fst.benchmark.timing import Contestant, Machine, Row, count_flops, race
from fst.data.dataset import PhotoFolder
from fst.data.prepared_folder import cached_photos, prepare
from fst.loss.loss_network import LossNetwork
from fst.loss.loss_network_file import load_loss_network
from fst.loss.perceptual_loss import PerceptualLoss
from fst.nets.transformer_net import TransformerNet
from fst.pictures.image import resize_shorter
from fst.system.machine import keep_freed_memory, keep_memory_as_usual

WEIGHTS: dict[str, Any] = {"content_weight": 1.0, "style_weight": 5.0, "tv_weight": 1e-6}
UPSAMPLING = "bilinear"  # as configs/net has it


def new_net(width: int) -> TransformerNet:
    """A net of the paper's depth, untrained."""
    return TransformerNet(width=width, residual_blocks=5, output_gain=0.1, upsampling=UPSAMPLING)


def twin_network(vgg: PlainVGG16) -> LossNetwork:
    """The product's loss network with the weights of the plain one."""
    return LossNetwork(
        convolutions=vgg.convolutions(),
        mean=MEAN,
        std=STD,
        padding_mode="zeros",
        description="random VGG-16",
    )


def twin_loss(network: LossNetwork, style_image: Tensor) -> PerceptualLoss:
    """The product's loss with the layers and weights of the plain one."""
    return PerceptualLoss(
        network=network,
        style_image=style_image,
        content_layers={CONTENT_LAYER: 1},
        style_layers=dict.fromkeys(LAYERS, 1),
        relative=False,
        **WEIGHTS,
    )


def benchmark_step(
    *, machine: Machine, size: int, batch: int, width: int, warm_up: int, repetitions: int
) -> list[Row]:
    """A whole training step on the CPU: forward, loss, backward, Adam.

    Every contestant starts from the same weights. ``plain`` and its variants are
    ``fst.benchmark.plain``, the last two the product's step with a VGG-16 of the same random
    weights and with lite.
    """
    torch.manual_seed(0)
    style, photos = torch.rand(1, 3, size, size), torch.rand(batch, 3, size, size)
    vgg, net = PlainVGG16(), new_net(width)
    plain_loss = PlainLoss(vgg=vgg, style_image=style, **WEIGHTS)
    frozen_loss = copy.deepcopy(plain_loss).requires_grad_(False)
    vgg_loss = twin_loss(twin_network(vgg), style)
    lite_loss = twin_loss(load_loss_network(name="lite"), style)

    def plain_step(loss: PlainLoss, *, keep: bool) -> Contestant:
        own = copy.deepcopy(net)
        optimizer = torch.optim.Adam([*own.parameters()], lr=1e-3)

        def step() -> None:
            keep_freed_memory() if keep else keep_memory_as_usual()
            optimizer.zero_grad()
            loss.zero_grad()
            loss(plain_stylized(own, photos), photos).backward()
            optimizer.step()

        return step

    def our_step(loss: PerceptualLoss) -> Contestant:
        own = copy.deepcopy(net)
        optimizer = torch.optim.Adam(own.parameters(), lr=1e-3)

        def step() -> None:
            keep_freed_memory()
            optimizer.zero_grad()
            loss(own(photos), photos).total.backward()
            optimizer.step()
            own.remove_grid()

        return step

    contestants = {
        "plain": plain_step(plain_loss, keep=False),
        "plain, VGG frozen": plain_step(frozen_loss, keep=False),
        "plain, VGG frozen, memory kept": plain_step(frozen_loss, keep=True),
        "fst, VGG-16": our_step(vgg_loss),
        "fst, lite": our_step(lite_loss),
    }
    flops = {name: count_flops(work) for name, work in contestants.items()}
    timings = race(contestants, warm_up=warm_up, repetitions=repetitions)
    return [
        Row.of(
            "training step",
            name,
            timing,
            against=timings["plain"],
            size=size,
            batch=batch,
            floor_s=flops[name] / machine.flops,
        )
        for name, timing in timings.items()
    ]


def benchmark_loading(
    photos: Sequence[Path], *, size: int, count: int, warm_up: int, repetitions: int
) -> list[Row]:
    """Crops of ``size`` from ``count`` photos, one after the other, as one worker makes them.

    One process with one thread.

    The photos are first made 640x480 JPEGs of quality 92. The decoder's own limit is Pillow's
    decoding alone. The cache is that of ``fst prepare``, in its default size.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
        jpegs, cache = Path(folder, "jpeg"), Path(folder, "cache")
        jpegs.mkdir()
        for number in range(count):
            image = Image.open(photos[number % len(photos)]).convert("RGB")
            shape = (640, 480) if image.width >= image.height else (480, 640)
            image.resize(shape, Image.Resampling.BICUBIC).save(
                jpegs / f"{number:04d}.jpg", quality=92
            )
        prepare(jpegs, cache, size=320, threads=1)
        sources = {"JPEG": sorted(jpegs.iterdir()), "cache": cached_photos(cache)}
        folders = {
            name: PhotoFolder(paths=paths, size=size, crop_scale=(0.75, 1.0), flip=True, seed=0)
            for name, paths in sources.items()
        }
        rng = np.random.default_rng(0)
        contestants: dict[str, Contestant] = {
            "plain": lambda: plain_photos(sources["JPEG"], size, rng),
            "decoding alone": lambda: [Image.open(p).convert("RGB") for p in sources["JPEG"]],
            "fst, JPEG": lambda: [folders["JPEG"][k] for k in range(count)],
            "fst, prepared": lambda: [folders["cache"][k] for k in range(count)],
        }
        timings = race(contestants, warm_up=warm_up, repetitions=repetitions)
        bytes_each = {k: sum(p.stat().st_size for p in v) / count for k, v in sources.items()}
        crops = {k: torch.cat([v[n].photos for n in range(count)]) for k, v in folders.items()}
        torch.set_num_threads(threads)
        off = float((255 * (crops["JPEG"] - crops["cache"])).abs().mean())
    notes = {
        "decoding alone": "no crop",
        "fst, JPEG": f"{bytes_each['JPEG'] / 1e3:.0f} KB a photo",
        "fst, prepared": f"{bytes_each['cache'] / 1e3:.0f} KB a photo; crops differ from those of "
        f"the JPEGs by {off:.1f} of 255 on average",
    }
    return [
        Row.of(
            "loading",
            name,
            timing,
            against=timings["fst, JPEG"],
            size=size,
            batch=count,
            note="; ".join(
                x for x in (f"{count / timing.median_s:.0f} photos/s", notes.get(name)) if x
            ),
        )
        for name, timing in timings.items()
    ]


def sample_folder(folder: Path, photos: Sequence[Path], size: int, count: int) -> list[Path]:
    """``count`` JPEG files in ``folder``, their shorter side ``size``, from ``photos`` in turn."""
    made = []
    for number in range(count):
        image = Image.open(photos[number % len(photos)]).convert("RGB")
        made.append(folder / f"{number:04d}.jpg")
        resize_shorter(image, size).save(made[-1], quality=92)
    return made
