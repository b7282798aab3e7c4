"""The yardstick of ``fst benchmark``: the same mathematics as most public code has it.

Nothing of the product uses this file. It is eager float32 on contiguous memory, written with
PyTorch's own layers: padding, convolution, normalization and ReLU each by itself; a whole VGG-16 to
relu4_3 for both pictures, with the gradients of its weights, as its parameters are left trainable;
photos decoded at full resolution, in the process that trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from fst.nets.transformer_net import ConvLayer, TransformerNet

VGG16_TO_RELU4_3 = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8))  # by block: channels, in units of 64
LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")  # the last of each block
CONTENT_LAYER = "relu3_3"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for RGB in [0, 1]


def plain_stylized(net: TransformerNet, content: Tensor) -> Tensor:
    """The forward pass of ``net``: content (B, 3, H, W), RGB in [0, 1] -> the same."""

    def convolved(layer: ConvLayer, x: Tensor) -> Tensor:
        conv = layer.conv
        pad = conv.kernel_size[0] // 2
        padded = F.pad(x, (pad, pad, pad, pad), mode="reflect")
        return F.conv2d(padded, conv.weight, conv.bias, conv.stride)

    def normalized(norm: nn.Module, x: Tensor) -> Tensor:
        return F.instance_norm(x, weight=norm.weight, bias=norm.bias)  # type: ignore[arg-type]

    def enlarged(x: Tensor, like: Tensor) -> Tensor:
        corners = None if net.upsampling == "nearest" else False
        doubled = F.interpolate(x, scale_factor=2, mode=net.upsampling, align_corners=corners)
        return doubled[..., : like.shape[-2], : like.shape[-1]]

    full = F.relu(normalized(net.norm1, convolved(net.conv1, content)))
    half = F.relu(normalized(net.norm2, convolved(net.down1, full)))
    x = F.relu(normalized(net.norm3, convolved(net.down2, half)))
    for block in net.residual:
        y = F.relu(normalized(block.norm1, convolved(block.conv1, x)))  # type: ignore
        x = x + normalized(block.norm2, convolved(block.conv2, y))  # type: ignore
    x = F.relu(normalized(net.norm4, convolved(net.up1.conv, enlarged(x, half))))
    x = F.relu(normalized(net.norm5, convolved(net.up2.conv, enlarged(x, full))))
    return (1 + torch.tanh(net.output_gain * convolved(net.conv2, x))) / 2


class PlainVGG16(nn.Module):
    """VGG-16 to relu4_3 as layers in a row (Simonyan and Zisserman 2014), random weights.

    Another ``width`` than VGG-16's own makes it slimmer, for tests of what it computes.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        channels = 3
        for widths in VGG16_TO_RELU4_3:
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if len(self.blocks) else []
            for times in widths:
                layers += [nn.Conv2d(channels, times * width, 3, padding=1), nn.ReLU()]
                nn.init.kaiming_normal_(layers[-2].weight)  # type: ignore[arg-type]
                channels = times * width
            self.blocks.append(nn.Sequential(*layers))

    def convolutions(self) -> list[tuple[int, Tensor, Tensor]]:
        """(block, weight, bias) in order, as ``LossNetwork`` is built from."""
        found = []
        for number, block in enumerate(self.blocks, 1):
            convs = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
            found += [(number, conv.weight.detach(), conv.bias.detach()) for conv in convs]  # type: ignore
        return found

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """image (B, 3, H, W), RGB in [0, 1] -> the features of ``LAYERS``."""
        mean, std = (torch.tensor(values).view(3, 1, 1).to(image) for values in (MEAN, STD))
        x = (image - mean) / std
        features = {}
        for name, block in zip(LAYERS, self.blocks, strict=True):
            x = block(x)
            features[name] = x
        return features


class PlainLoss(nn.Module):
    """Content + Gram style + total variation, each term as in ``PerceptualLoss``."""

    def __init__(
        self,
        *,
        vgg: PlainVGG16,
        style_image: Tensor,
        content_weight: float,
        style_weight: float,
        tv_weight: float,
    ) -> None:
        super().__init__()
        self.vgg = vgg
        self.content_weight, self.style_weight = content_weight, style_weight
        self.tv_weight = tv_weight
        self.grams = {k: self.gram(v).detach() for k, v in vgg(style_image).items()}

    @staticmethod
    def gram(features: Tensor) -> Tensor:
        """features (B, C, H, W) -> (B, C, C), divided by C*H*W."""
        batch, channels, height, width = features.shape
        flat = features.view(batch, channels, height * width)
        return torch.bmm(flat, flat.transpose(1, 2)) / (channels * height * width)

    def forward(self, stylized: Tensor, content: Tensor) -> Tensor:
        """stylized, content (B, 3, H, W), RGB in [0, 1] -> the total."""
        made, given = self.vgg(stylized), self.vgg(content)
        total = self.content_weight * F.mse_loss(made[CONTENT_LAYER], given[CONTENT_LAYER])
        for name, gram in self.grams.items():
            term = F.mse_loss(self.gram(made[name]), gram.expand(len(stylized), -1, -1))
            total = total + self.style_weight * term
        pixels = 255 * stylized
        down = (pixels[:, :, 1:] - pixels[:, :, :-1]).pow(2).sum()
        across = (pixels[..., 1:] - pixels[..., :-1]).pow(2).sum()
        return total + self.tv_weight * (down + across) / len(stylized)


def plain_photos(paths: Sequence[Path], size: int, rng: np.random.Generator) -> Tensor:
    """One square crop a photo at full height, anywhere across -> (B, 3, size, size) in [0, 1]."""
    crops = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        edge = min(image.size)
        left = int(rng.integers(image.width - edge + 1))
        top = int(rng.integers(image.height - edge + 1))
        crop = image.crop((left, top, left + edge, top + edge))
        crop = crop.resize((size, size), Image.Resampling.BILINEAR)
        crops.append(torch.from_numpy(np.asarray(crop).copy()).permute(2, 0, 1).float() / 255)
    return torch.stack(crops)
