"""The yardstick of ``fst benchmark``: what people run who do not run this.

The most copied public implementation is ``fast_neural_style`` of pytorch/examples (files
``neural_style.py``, ``transformer_net.py``, ``vgg.py``, ``utils.py`` in its folder
``neural_style``). This file does what that one does, in code of our own; nothing of the product
uses it, and it uses nothing of the product. What it mirrors, line by line of a training:

- the net (``TransformerNet``): 32 channels first, five residual blocks, a reflection padding of its
  own before every convolution, nearest-neighbor enlargement by two, affine instance normalization,
  no function at the end: RGB in 0 .. 255 in and, nearly, out. ``PlainNet``
- the loss network (``Vgg16(requires_grad=False)``): torchvision's VGG-16 in four pieces up to
  relu4_3, ReLUs in place, no gradients for its weights; every call runs all four pieces and returns
  their four results. ``PlainVGG16``; its weights are random here, which changes no time
- the photos (``ImageFolder`` and ``DataLoader(dataset, batch_size=4)``): decoded by Pillow in the
  process that trains, without workers or shuffling, ``Resize(256)`` and ``CenterCrop(256)``, times
  255. ``photo_batches``
- the style: the painting repeated for each picture of a batch, its four Gram matrices computed
  once. ``style_grams``
- a step (``train``): the net; both pictures divided by 255 in place and normalized by ImageNet's
  mean and deviation; the whole loss network for each of the two; content at relu2_2, times 1e5;
  Gram matrices, of a product divided by C*H*W, at all four, times 1e10; no total variation; Adam
  with 1e-3; both losses fetched as numbers at each step. ``training_step``
- a picture (``stylize``): float32 without gradients, clamped to 0 .. 255 and cut to whole numbers.
  ``single_pass``
- and what it does not do: everything is eager, float32, in contiguous memory, with the system's
  allocator as it is: so it is timed in a process of its own, where no setting of ours reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

VGG16_TO_RELU4_3 = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8))  # by block: channels, in units of 64
LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")  # the last of each block
CONTENT_LAYER = "relu2_2"
CONTENT_WEIGHT, STYLE_WEIGHT = 1e5, 1e10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for RGB in [0, 1]


class Padded(nn.Module):
    """A reflection padding and a convolution, after an enlargement where there is one."""

    def __init__(
        self, channels: int, out: int, kernel: int, *, stride: int = 1, enlarge: bool = False
    ) -> None:
        super().__init__()
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest") if enlarge else nn.Identity()
        self.pad = nn.ReflectionPad2d(kernel // 2)
        self.conv = nn.Conv2d(channels, out, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) -> (B, out, ...): twice, once or half as high and wide."""
        return self.conv(self.pad(self.enlarge(x)))


class Residual(nn.Module):
    """Two convolutions with their normalizations, and the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Padded(channels, channels, 3)
        self.first_norm = nn.InstanceNorm2d(channels, affine=True)
        self.second = Padded(channels, channels, 3)
        self.second_norm = nn.InstanceNorm2d(channels, affine=True)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> the same shape."""
        y = self.relu(self.first_norm(self.first(x)))
        return self.second_norm(self.second(y)) + x


class PlainNet(nn.Module):
    """The net: content (B, 3, H, W), RGB in 0 .. 255, sides divisible by 4 -> the same shape.

    Its parameters are in the order of ``TransformerNet``'s. Another ``width`` or number of
    ``blocks`` than 32 and 5 is for comparisons with one of ours.
    """

    def __init__(self, width: int = 32, blocks: int = 5) -> None:
        super().__init__()

        def normalized(layer: Padded) -> list[nn.Module]:
            norm = nn.InstanceNorm2d(layer.conv.out_channels, affine=True)
            return [layer, norm, nn.ReLU()]

        self.layers = nn.Sequential(
            *normalized(Padded(3, width, 9)),
            *normalized(Padded(width, 2 * width, 3, stride=2)),
            *normalized(Padded(2 * width, 4 * width, 3, stride=2)),
            *(Residual(4 * width) for _ in range(blocks)),
            *normalized(Padded(4 * width, 2 * width, 3, enlarge=True)),
            *normalized(Padded(2 * width, width, 3, enlarge=True)),
            Padded(width, 3, 9),
        )

    def forward(self, content: Tensor) -> Tensor:
        return self.layers(content)


class PlainVGG16(nn.Module):
    """VGG-16 to relu4_3 in four pieces (Simonyan and Zisserman 2014), frozen, random weights.

    Another ``width`` than VGG-16's own makes it slimmer, for tests of what it computes.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        channels = 3
        for widths in VGG16_TO_RELU4_3:
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if len(self.blocks) else []
            for times in widths:
                layers += [nn.Conv2d(channels, times * width, 3, padding=1), nn.ReLU(inplace=True)]
                nn.init.kaiming_normal_(layers[-2].weight)  # type: ignore[arg-type]
                channels = times * width
            self.blocks.append(nn.Sequential(*layers))
        self.requires_grad_(False)

    def convolutions(self) -> list[tuple[int, Tensor, Tensor]]:
        """(block, weight, bias) in order, as ``LossNetwork`` is built from."""
        found = []
        for number, block in enumerate(self.blocks, 1):
            convs = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
            found += [(number, conv.weight.detach(), conv.bias.detach()) for conv in convs]  # type: ignore
        return found

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """image (B, 3, H, W), normalized -> the features of ``LAYERS``."""
        features = {}
        for name, block in zip(LAYERS, self.blocks, strict=True):
            image = block(image)
            features[name] = image
        return features


def normalized_batch(batch: Tensor) -> Tensor:
    """batch (B, 3, H, W), RGB in 0 .. 255 -> normalized; ``batch`` is divided in place."""
    mean, std = (batch.new_tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
    return (batch.div_(255) - mean) / std


def gram(features: Tensor) -> Tensor:
    """features (B, C, H, W) -> (B, C, C), divided by C*H*W."""
    batch, channels, height, width = features.shape
    flat = features.view(batch, channels, width * height)
    return flat.bmm(flat.transpose(1, 2)) / (channels * height * width)


def style_grams(vgg: PlainVGG16, painting: Tensor, batch: int) -> dict[str, Tensor]:
    """painting (1, 3, H, W), RGB in 0 .. 255 -> its Gram matrices, repeated ``batch`` times."""
    features = vgg(normalized_batch(painting.repeat(batch, 1, 1, 1)))
    return {name: gram(found) for name, found in features.items()}


def plain_losses(
    vgg: PlainVGG16, grams: dict[str, Tensor], stylized: Tensor, content: Tensor
) -> tuple[Tensor, Tensor]:
    """stylized, content (B, 3, H, W), RGB in 0 .. 255 and changed in place -> content, style."""
    made, given = vgg(normalized_batch(stylized)), vgg(normalized_batch(content))
    content_loss = CONTENT_WEIGHT * F.mse_loss(made[CONTENT_LAYER], given[CONTENT_LAYER])
    style_loss = torch.zeros(()).to(content_loss)
    for name in LAYERS:
        style_loss = style_loss + F.mse_loss(gram(made[name]), grams[name])
    return content_loss, STYLE_WEIGHT * style_loss


def training_step(
    *, size: int, batch: int, width: int = 32, vgg_width: int = 64, device: str = "cpu"
) -> Callable[[], object]:
    """A step of the training, to be called again and again, on random photos of (size, size)."""
    torch.manual_seed(42)
    net, vgg = PlainNet(width).to(device), PlainVGG16(vgg_width).to(device)
    grams = style_grams(vgg, 255 * torch.rand(1, 3, size, size).to(device), batch)
    photos = 255 * torch.rand(batch, 3, size, size).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def step() -> tuple[float, float]:
        optimizer.zero_grad()
        content = photos.clone()  # as a loader makes a new batch, which is then divided in place
        losses = plain_losses(vgg, grams, net(content), content)
        (losses[0] + losses[1]).backward()
        optimizer.step()
        return losses[0].item(), losses[1].item()

    return step


@torch.no_grad()
def pixels_of(net: nn.Module, pixels: Tensor) -> Tensor:
    """pixels (B, 3, H, W) uint8 RGB -> stylized, the same shape and type."""
    return net(pixels.float()).clamp(0, 255).to(torch.uint8)


def single_pass(*, height: int, width: int, channels: int = 32) -> Callable[[], object]:
    """A pass over one random photo, to be called again and again, by a net of ``channels``."""
    torch.manual_seed(42)
    net = PlainNet(channels)
    photo = np.random.default_rng(0).integers(0, 256, (1, 3, height, width), dtype=np.uint8)
    return lambda: pixels_of(net, torch.from_numpy(photo)).numpy()


def photo_batches(folder: Path, *, size: int, batch: int) -> Iterator[Tensor]:
    """Each photo of the folders in ``folder`` once, in batches (B, 3, size, size) in 0 .. 255."""
    from torchvision import datasets, transforms  # seconds, for this alone

    steps: Sequence[Callable[..., object]] = (
        transforms.Resize(size),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
        transforms.Lambda(lambda photo: photo.mul(255)),
    )
    photos = datasets.ImageFolder(str(folder), transforms.Compose(steps))
    for crops, _ in torch.utils.data.DataLoader(photos, batch_size=batch):
        yield crops
