"""The image transformation network (Johnson, Alahi, Fei-Fei 2016, section 3.1 and supplement).

One forward pass stylizes a photo. The architecture in the paper's notation is
``c9s1-32, d64, d128, R128 x 5, u64, u32, c9s1-3``. Where we depart from it, the class concerned
says so and why.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.errors import FstError

UPSAMPLINGS = ("nearest", "bilinear")
MIN_SIDE = 16  # pixels: the least that is promised, tested and exported


class ConvLayer(nn.Module):
    """A convolution that keeps the size (divided by the stride, rounded up).

    Departure: reflection padding at every convolution instead of 40 px once at the front, so that
    no border shows and any size from 16 px fits.
    """

    def __init__(
        self, *, in_channels: int, out_channels: int, kernel_size: int, stride: int
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2,
            padding_mode="reflect",
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, in, H, W) -> (B, out, ceil(H / stride), ceil(W / stride))."""
        return self.conv(x)


class InstanceNorm(nn.InstanceNorm2d):
    """Affine instance normalization in place of batch normalization (Ulyanov et al. 2016).

    Half precision: means and variances are of up to millions of pixels and must be accumulated in
    float32, which PyTorch's own does for float16 and bfloat16 features, on a CPU as on a GPU; only
    its result is rounded. It wants channels first, though, and copies what comes with channels
    last, before and after. A compiled net has ``normalized`` instead, which the compiler fuses with
    its neighbors in whatever order the memory has.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> the same shape and type."""
        if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
            return normalized(x, self.weight, self.bias, self.eps)
        return super().forward(x)


def normalized(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Instance normalization of x (B, C, H, W), computed in float32 at least, as plain sums."""
    kind = torch.promote_types(x.dtype, torch.float32)
    variance, mean = torch.var_mean(x.to(kind), dim=(2, 3), correction=0, keepdim=True)
    scale = weight.to(kind)[:, None, None] * (variance + eps).rsqrt()
    return ((x.to(kind) - mean) * scale + bias.to(kind)[:, None, None]).to(x.dtype)


@functools.cache
def _without_grid(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The orthogonal projector (size, size) onto kernels that are 0 at periods of 2 and 4."""
    position = torch.arange(size, dtype=torch.float64)
    waves = [torch.cos(math.pi * position)]
    waves += [wave(math.pi / 2 * position) for wave in (torch.cos, torch.sin)]
    basis = torch.linalg.qr(torch.stack(waves, dim=1)).Q
    return (torch.eye(size, dtype=torch.float64) - basis @ basis.T).to(device, dtype)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a sum; ReLU after the first only, none after the sum.

    The form of Gross and Wilber that the paper follows (supplement). Departure: the convolutions
    are padded, so the skip needs no crop.
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(in_channels=channels, out_channels=channels, kernel_size=3, stride=1)
        self.norm1 = InstanceNorm(channels)
        self.conv2 = ConvLayer(in_channels=channels, out_channels=channels, kernel_size=3, stride=1)
        self.norm2 = InstanceNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> (B, C, H, W)."""
        y = F.relu(self.norm1(self.conv1(x)))
        return x + self.norm2(self.conv2(y))


class UpsampleConvLayer(nn.Module):
    """Enlargement to a given size, nearest-neighbour or bilinear, then a convolution.

    Departure: the paper's transposed convolution spreads unevenly and leaves a checkerboard
    (Odena et al. 2016). The target is the size the encoder had on the way down, not "times two":
    that is what returns every odd size exactly, with no crop afterwards, which also keeps the
    exported graph free of size-dependent slices.
    """

    def __init__(self, *, in_channels: int, out_channels: int, kernel_size: int, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.conv = ConvLayer(
            in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size, stride=1
        )

    def forward(self, x: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
        """x (B, in, h, w), size (H, W) -> (B, out, H, W)."""
        corners = None if self.mode == "nearest" else False
        return self.conv(F.interpolate(x, size=size, mode=self.mode, align_corners=corners))


class TransformerNet(nn.Module):
    """The feed-forward stylizer: RGB in [0, 1] in, RGB in [0, 1] out, of the same height and width.

    ``width`` is the number of channels after the first convolution: 32 in the paper (1,679,235
    parameters at five residual blocks), 16 in the authors' released instance-norm models, at a
    quarter of the operations.

    Departure: the output is ``(1 + tanh(output_gain * y)) / 2``. The authors' code has
    ``150 * tanh`` around the mean colour, a little wider than the pixel range, and clips on saving;
    ours is bounded by the range itself, so nothing is ever clipped and no gradient is cut by a
    clamp. A step of Adam moves each of the last layer's thousands of weights alike, so their sum
    jumps by units: at an ``output_gain`` of 1 whole regions are thrown into saturation and stay
    there as black or white blobs; at 0.1 none were seen.

    Departure: the kernels of the last convolution do not respond at periods of 2 and 4 pixels
    (``remove_grid``). Between the pixels that are enlarged, edge-like kernels and ReLUs put a
    fixed lattice into the picture, which short trainings leave visible; whatever the layers before
    make of it, it cannot pass. Neighbouring periods can: ``upsampling="bilinear"`` has less of
    those than ``"nearest"``, with which older style files were trained. Raises ``FstError`` for
    another one.
    """

    def __init__(
        self,
        *,
        width: int,
        residual_blocks: int,
        output_gain: float,
        upsampling: str = "nearest",
    ) -> None:
        super().__init__()
        if upsampling not in UPSAMPLINGS:
            raise FstError(
                f"net.upsampling '{upsampling}' is unknown; use one of {', '.join(UPSAMPLINGS)}"
            )
        self.upsampling = upsampling
        self.width = width
        self.residual_blocks = residual_blocks
        self.output_gain = output_gain
        self.conv1 = ConvLayer(in_channels=3, out_channels=width, kernel_size=9, stride=1)
        self.norm1 = InstanceNorm(width)
        self.down1 = ConvLayer(in_channels=width, out_channels=2 * width, kernel_size=3, stride=2)
        self.norm2 = InstanceNorm(2 * width)
        self.down2 = ConvLayer(
            in_channels=2 * width, out_channels=4 * width, kernel_size=3, stride=2
        )
        self.norm3 = InstanceNorm(4 * width)
        self.residual = nn.Sequential(
            *(ResidualBlock(channels=4 * width) for _ in range(residual_blocks))
        )
        self.up1 = UpsampleConvLayer(
            in_channels=4 * width, out_channels=2 * width, kernel_size=3, mode=upsampling
        )
        self.norm4 = InstanceNorm(2 * width)
        self.up2 = UpsampleConvLayer(
            in_channels=2 * width, out_channels=width, kernel_size=3, mode=upsampling
        )
        self.norm5 = InstanceNorm(width)
        self.conv2 = ConvLayer(in_channels=width, out_channels=3, kernel_size=9, stride=1)
        self.remove_grid()

    @torch.no_grad()
    def remove_grid(self) -> None:
        """Project the last kernels onto those without response at periods of 2 and 4 pixels.

        For training to call after each step of the optimizer; a net that is only run needs it not.
        """
        weight = self.conv2.conv.weight
        # on a GPU, a float32 product may be one of TF32's 10 bits
        exact = torch.float64 if weight.is_cuda else weight.dtype
        projector = _without_grid(weight.shape[-1], weight.device, exact)
        weight.copy_(projector @ weight.to(exact) @ projector)

    @property
    def arguments(self) -> dict[str, float | str]:
        """What to call the class with to build this net again; stored in a style file's card."""
        return {
            "width": self.width,
            "residual_blocks": self.residual_blocks,
            "output_gain": self.output_gain,
            "upsampling": self.upsampling,
        }

    def forward(self, content: Tensor) -> Tensor:
        """content (B, 3, H, W), RGB in [0, 1], H and W >= 16 -> stylized (B, 3, H, W) in [0, 1]."""
        full = F.relu(self.norm1(self.conv1(content)))
        half = F.relu(self.norm2(self.down1(full)))
        x = F.relu(self.norm3(self.down2(half)))
        x = self.residual(x)
        x = F.relu(self.norm4(self.up1(x, half.shape[-2:])))
        x = F.relu(self.norm5(self.up2(x, full.shape[-2:])))
        y = self.conv2(x)
        if y.dtype in (torch.float16, torch.bfloat16):
            y = y.float()  # bfloat16 has 129 levels between 0.5 and 1: too few for a picture
        return (torch.tanh(self.output_gain * y) + 1) / 2


class PixelNet(nn.Module):
    """The whole single pass from 8-bit pixels to 8-bit pixels: what is exported and what runs.

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
