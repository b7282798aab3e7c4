"""What a machine allows: its measured rates, and the least arithmetic and bytes that work takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fst.benchmark.timing import Contestant, race
from fst.nets.transformer_net import OutputConvLayer, TransformerNet

SETTLED_TURNS, MOST_TURNS = 4, 24


class Machine(NamedTuple):
    """What a device can do at most, measured."""

    flops: float  # multiplications and additions a second, of a large product or convolution
    bandwidth: float  # bytes a second, read and written, of a large copy


def measure_machine(
    device: str = "cpu", *, side: int = 3072, dtype: str = "float32", most_turns: int = MOST_TURNS
) -> Machine:
    """The best of several products of (side, side) matrices and convolutions, and of copies.

    They are repeated until none has been faster for ``SETTLED_TURNS``, ``most_turns`` at most. With
    a ``side`` under 2048 the others are smaller too: for a quick look.
    On some processors the library for convolutions is faster than that for products.
    """
    kind = getattr(torch, dtype)
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    edge = min(64, side // 32)
    picture = torch.randn(4, 256, edge, edge, device=device).to(kind)
    kernels = torch.randn(256, 256, 3, 3, device=device).to(kind)
    flops = {"product": 2 * side**3, "convolution": 2 * 9 * 256 * picture.numel()}
    floats = min(64 * 2**20, 16 * side**2)  # 256 MB: no cache holds it
    source = torch.zeros(floats, device=device)
    target = torch.empty_like(source)
    contestants: dict[str, Contestant] = {
        "product": lambda: a @ b,
        "convolution": lambda: F.conv2d(picture, kernels, padding=1),
        "copy": lambda: target.copy_(source),
    }
    best: dict[str, float] = {}
    turns = settled = 0
    while turns < most_turns and settled < SETTLED_TURNS:  # a machine may be busy for a while
        turns, settled = turns + 1, settled + 1
        for name, timing in race(contestants, repetitions=1, warm_up=1, device=device).items():
            if timing.median_s < 0.98 * best.get(name, math.inf):
                settled = 0
            best[name] = min(best.get(name, math.inf), timing.median_s)
    rate = max(count / best[name] for name, count in flops.items())
    return Machine(rate, 8 * source.numel() / best["copy"])


@contextmanager
def as_defined() -> Iterator[None]:
    """The last convolution not in blocks, which take more operations, and less time."""
    OutputConvLayer.in_blocks = False
    try:
        yield
    finally:
        OutputConvLayer.in_blocks = True


def count_flops(work: Contestant) -> int:
    """Multiplications and additions in the matrix products and convolutions of one call."""
    with as_defined(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def least_bytes(net: TransformerNet, height: int, width: int) -> int:
    """Bytes a single pass over one photo must move in half precision, if each convolution reads
    its input and writes its output once and everything between them is fused into it."""
    moved = 0

    def count(layer: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        moved += 2 * (inputs[0].numel() + output.numel())

    hooks = [
        layer.register_forward_hook(count)
        for layer in net.modules()
        if isinstance(layer, torch.nn.Conv2d)
    ]
    small = 64
    with torch.no_grad(), as_defined():
        net(torch.zeros(1, 3, small, small, device=next(net.parameters()).device))
    for hook in hooks:
        hook.remove()
    return round(moved * height * width / small**2)
