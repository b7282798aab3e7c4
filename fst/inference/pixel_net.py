"""The whole single pass, from 8-bit pixels to 8-bit pixels, as one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fst.nets.transformer_net import TransformerNet


class PixelNet(nn.Module):
    """A net between 8-bit pixels: what is exported and what runs.

    The wrapper keeps the research net free of pixel formats. Rounding is to the nearest level.
    """

    def __init__(self, net: TransformerNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels (B, 3, H, W) uint8 RGB -> stylized (B, 3, H, W) uint8 RGB."""
        dtype = self.net.conv1.conv.weight.dtype
        stylized = self.net(pixels.to(dtype) / 255)
        return (stylized.float() * 255).round().to(torch.uint8)
