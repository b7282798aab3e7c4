"""``PixelNet`` with the controls of a pass as further inputs: what ``.pt2`` files are made of.

The same sums as ``fst.inference.controls`` in numpy and ``fst.inference.graph_controls`` in ONNX.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.inference.graph_controls import LEAST_SUM
from fst.nets.trained_strength import picture_share
from fst.nets.transformer_net import TransformerNet
from fst.pictures.kept_colors import FROM_LMS, LEAST, LIGHTNESS, LINEAR_LEVELS, TO_LMS


class ControlledNet(nn.Module):
    """A net between 8-bit pixels that takes ``inputs``, some of ``INPUTS``, beside the photo.

    ``net`` is of several paintings if and only if ``styles`` is one of them.
    """

    levels: Tensor
    to_lms: Tensor
    from_lms: Tensor
    lightness: Tensor

    def __init__(self, net: TransformerNet, inputs: Sequence[str]) -> None:
        super().__init__()
        self.net = net
        self.inputs = tuple(inputs)
        self.register_buffer("levels", torch.from_numpy(LINEAR_LEVELS.copy()), persistent=False)
        for name, matrix in (("to_lms", TO_LMS), ("from_lms", FROM_LMS)):
            weight = torch.from_numpy(matrix)[..., None, None]
            self.register_buffer(name, weight, persistent=False)
        lightness = torch.from_numpy(LIGHTNESS)[None, :, None, None]
        self.register_buffer("lightness", lightness, persistent=False)

    def forward(
        self,
        pixels: Tensor,
        strength: Tensor | None = None,
        colors: Tensor | None = None,
        mask: Tensor | None = None,
        styles: Tensor | None = None,
    ) -> Tensor:
        """pixels (B, 3, H, W) uint8 RGB -> stylized (B, 3, H, W) uint8 RGB.

        strength, colors (1,) float32; mask (B, 1, H, W) uint8; styles (paintings,) float32. Each is
        given if and only if it is one of ``inputs``; values outside 0 .. 1 are clipped.
        """
        dtype = self.net.conv1.conv.weight.dtype
        shares = None
        if styles is not None:
            shares = styles.clamp(0, 1)
            shares = (shares / shares.sum().clamp(min=LEAST_SUM)).expand(pixels.shape[0], -1)
        part = None if strength is None else strength.clamp(0, 1)
        if self.net.strengths and part is not None:
            shares = part.to(dtype).expand(pixels.shape[0])
            part = picture_share(part)
        stylized = self.net(pixels.to(dtype) / 255, shares)
        y, x = (stylized.float() * 255).round(), pixels.float()
        if colors is not None:
            share = colors.clamp(0, 1)
            y = y * (1 - share) + self._colors_kept(y, pixels) * share
        if mask is not None:
            part = mask.float() / 255 if part is None else mask.float() / 255 * part
        if part is not None:
            y = y * part + x * (1 - part)
        return y.round().to(torch.uint8)

    def _colors_kept(self, stylized: Tensor, photo: Tensor) -> Tensor:
        """``colors_kept`` of two pictures (B, 3, H, W), float32 and uint8, in 0 .. 255."""
        lightness = (self._roots(stylized) * self.lightness).sum(1, keepdim=True)
        roots = self._roots(photo)
        roots = roots + (lightness - (roots * self.lightness).sum(1, keepdim=True))
        color = F.conv2d(roots**3, self.from_lms)
        gray = (lightness**3).clamp(max=1)
        color = color - gray
        above = (1 - gray) / color.amax(1, keepdim=True).clamp(min=LEAST)
        below = gray / (-color.amin(1, keepdim=True)).clamp(min=LEAST)
        color = (color * torch.minimum(above, below).clamp(max=1) + gray).clamp(min=0)
        curved = 1.055 * color ** (1 / 2.4) - 0.055
        return 255 * torch.where(color <= 0.0031308, 12.92 * color, curved)

    def _roots(self, pixels: Tensor) -> Tensor:
        """Levels of sRGB (B, 3, H, W) -> cube roots of the cone responses."""
        lms = F.conv2d(self.levels[pixels.long()], self.to_lms)
        return lms.clamp(min=LEAST**2) ** (1 / 3)
