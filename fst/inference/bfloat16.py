"""How far a net's pictures in bfloat16 are from those in float32: what its card says of it.

Every layer is computed in float32 and rounded to bfloat16, its inputs and weights before and its
result after: what PyTorch's autocast computes, and the units of a processor that have bfloat16, but
for the order of sums. It takes any processor the time of a pass, where autocast takes one without
bfloat16 fifty times as long, and says the same everywhere.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from fst.inference.pixel_net import PixelNet
from fst.nets.transformer_net import InstanceNorm, ResidualBlock, TransformerNet

PHOTOS = 4  # of those that a training holds out
LARGEST = 512  # pixels a side: a net differs more on large photos than on small ones


def in_bfloat16(net: TransformerNet) -> TransformerNet:
    """A copy of a net that rounds as bfloat16 would; its tensors stay float32."""

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(map(_rounded, inputs))

    def after(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return _rounded(output)

    net = copy.deepcopy(net).cpu().float().eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            for parameter in module.parameters():
                parameter.copy_(_rounded(parameter))
            module.register_forward_pre_hook(before)
        if isinstance(module, nn.Conv2d | InstanceNorm | ResidualBlock):
            module.register_forward_hook(after)
    return net


def _rounded(values: Tensor) -> Tensor:
    return values.bfloat16().float()


@torch.inference_mode()
def bfloat16_difference(net: TransformerNet, photos: Iterable[Tensor]) -> dict[str, float]:
    """What ``Card.bf16`` holds, for a net of one painting.

    photos (B, 3, H, W) RGB in [0, 1], of one size or of several. Both passes are from 8-bit pixels
    to 8-bit pixels; ``mean_difference`` is in levels of 255, ``within_2_levels`` a share of all
    values.
    """
    exact = PixelNet(copy.deepcopy(net).cpu().float().eval())
    rounding = PixelNet(in_bfloat16(net))
    total = near = count = 0
    for photo in photos:
        pixels = (255 * photo.cpu().float()).round().to(torch.uint8)
        off = (rounding(pixels).int() - exact(pixels).int()).abs()
        total += int(off.sum())
        near += int((off <= 2).sum())
        count += off.numel()
    return {
        "mean_difference": round(total / count, 4),
        "within_2_levels": round(near / count, 5),
    }
