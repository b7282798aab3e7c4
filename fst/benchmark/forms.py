"""A net in every form it ships in for a GPU, pixels to pixels, and the plain one beside them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fst.benchmark.plain import PlainNet, pixels_of
from fst.benchmark.step import arithmetic
from fst.inference.pixel_net import PixelNet
from fst.inference.pt2_file import aoti_package, program_of
from fst.nets.transformer_net import TransformerNet

Pass = Callable[[Tensor], Tensor]
FORMS = (
    "plain",
    "plain, no TF32",
    "fst, float32",
    "fst, half",
    "fst, half, channels last",
    "fst, half, compiled",
    "fst, half, CUDA graphs",
    ".pt2, half",
    "AOTInductor, half",
)
EXACT = "fst, float32, no TF32"  # what the others' pixels are compared with
COMPILED = ("compiled", "graphs", "AOTInductor, half")  # how the names end of what takes a minute


def form_of(name: str, net: TransformerNet, device: str, folder: Path) -> Pass:
    """One of ``FORMS`` of a net, or ``EXACT``, ready to run on ``device``.

    The plain ones have a net of the same size and of weights of their own.
    """
    if name.startswith("plain"):
        plain = PlainNet(net.width, net.residual_blocks).to(device)
        return _switched(partial(pixels_of, plain), tf32="no TF32" not in name, ours=False)
    if "half" not in name:
        tf32 = name != EXACT
        return _switched(PixelNet(net).to(device), tf32=tf32, ours=True)
    half = PixelNet(copy.deepcopy(net).half()).to(device).eval()
    if name == "fst, half":
        return _switched(half, tf32=True, ours=True)
    if name == ".pt2, half":
        return _switched(program_of(half).module(), tf32=True, ours=True)
    if name == "AOTInductor, half":
        path = folder / "net.pt2"
        return _switched(aoti_package(program_of(half), path), tf32=True, ours=True)
    last: Any = half.to(memory_format=torch.channels_last)
    modes = {"fst, half, compiled": "default", "fst, half, CUDA graphs": "reduce-overhead"}
    if name in modes:
        last = torch.compile(last, mode=modes[name], dynamic=False)
    return _switched(lambda pixels: last(_channels_last(pixels)), tf32=True, ours=True)


def _channels_last(pixels: Tensor) -> Tensor:
    return pixels.contiguous(memory_format=torch.channels_last)


def _switched(run: Any, *, tf32: bool, ours: bool) -> Pass:
    def work(pixels: Tensor) -> Tensor:
        with torch.no_grad(), arithmetic(tf32=tf32, benchmark=ours):
            if ours:
                torch.compiler.cudagraph_mark_step_begin()
            return run(pixels)

    return work
