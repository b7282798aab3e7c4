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
from fst.nets.card_schema import ENDS, UPSAMPLINGS
from fst.nets.trained_strength import picture_share

# pixels, the side of what the last convolution makes at once on a CPU. 4 is as fast, but for 16
# or 24 channels in bfloat16 oneDNN's kernel for AMX is wrong then (in torch 2.11 and 2.15)
BLOCK = 2
SEVERAL_STRENGTHS = "net.strengths=true is for a net of one painting, and styles= for several"


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


def conv2d_in_blocks(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``F.conv2d(x, weight, bias)`` to a few channels, a block of pixels at a time: for a CPU.

    A CPU's convolutions make eight or sixteen output channels at once, and three leave most of that
    idle. The same sums are made by one with a stride of ``BLOCK`` whose kernels are those given at
    each place of a block, zeros around them, so that its channels are the block's pixels, put in
    order at the end (the sub-pixel convolution of Shi et al. 2016, section 3.2, of kernels that are
    not learned as such).
    """
    height, width = (side - weight.shape[-1] + 1 for side in x.shape[-2:])
    last = BLOCK - 1
    places = [(row, column) for row in range(BLOCK) for column in range(BLOCK)]
    kernels = torch.stack([F.pad(weight, (c, last - c, r, last - r)) for r, c in places], dim=1)
    x = F.pad(x, (0, -width % BLOCK, 0, -height % BLOCK))
    biases = bias.repeat_interleave(BLOCK**2)
    blocks = F.conv2d(x, kernels.flatten(0, 1), biases, stride=BLOCK)
    return F.pixel_shuffle(blocks, BLOCK)[..., :height, :width]


class OutputConvLayer(ConvLayer):
    """The convolution to the three channels of a picture, on a CPU ``conv2d_in_blocks``.

    That takes a tenth off a net's part of a step (``scripts/proofs/output_blocks.py``).
    ``in_blocks`` set to False has it as it is defined, to count its operations.
    """

    in_blocks = True

    def forward(self, x: Tensor) -> Tensor:
        """x (B, in, H, W) -> (B, out, H, W)."""
        if x.device.type != "cpu" or not self.in_blocks or torch.compiler.is_exporting():
            return super().forward(x)
        assert self.conv.bias is not None
        padded = F.pad(x, (self.conv.kernel_size[0] // 2,) * 4, mode="reflect")
        return conv2d_in_blocks(padded, self.conv.weight, self.conv.bias)


class InstanceNorm(nn.InstanceNorm2d):
    """Affine instance normalization in place of batch normalization (Ulyanov et al. 2016).

    Conditional where a net knows several ``paintings`` (Dumoulin et al. 2017, section 2.2): the
    scale and the shift are then of shape (paintings, channels), a row for each painting, and each
    picture of a batch takes those of its own.

    Half precision: means and variances are of up to millions of pixels and must be accumulated in
    float32, which PyTorch's own does for float16 and bfloat16 features, on a CPU as on a GPU; only
    its result is rounded. But it needs channels first, and copies what comes with channels last,
    before and after. A compiled net has ``normalized`` instead, which the compiler fuses with
    its neighbors in whatever order the memory has.
    """

    def __init__(self, channels: int, paintings: int = 1) -> None:
        super().__init__(channels, affine=True)
        if paintings > 1:
            self.weight = nn.Parameter(torch.ones(paintings, channels))
            self.bias = nn.Parameter(torch.zeros(paintings, channels))

    def forward(self, x: Tensor, painting: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), painting (B,) their rows -> the same shape and type as x.

        ``painting`` (B, paintings), floating point, has the shares of all rows, for a blend. It is
        None if and only if the net knows one.
        """
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if painting is not None:
            if painting.is_floating_point():
                shares = painting.to(weight.dtype)
                weight, bias = shares @ weight, shares @ bias  # (B, C)
            else:
                weight, bias = weight[painting], bias[painting]  # (B, C)
        if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
            return normalized(x, weight, bias, self.eps)
        if painting is None:
            return super().forward(x)
        # what instance_norm itself does, but with a row for each picture in place of one repeated
        flat = x.reshape(1, -1, *x.shape[-2:])
        flat = F.batch_norm(
            flat, None, None, weight.flatten(), bias.flatten(), training=True, eps=self.eps
        )
        return flat.view(x.shape)


def normalized(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Instance normalization of x (B, C, H, W), computed in float32 at least, as plain sums.

    weight, bias (C) for all pictures, or (B, C) for each.
    """
    kind = torch.promote_types(x.dtype, torch.float32)
    variance, mean = torch.var_mean(x.to(kind), dim=(2, 3), correction=0, keepdim=True)
    scale = weight.to(kind)[..., None, None] * (variance + eps).rsqrt()
    return ((x.to(kind) - mean) * scale + bias.to(kind)[..., None, None]).to(x.dtype)


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

    def __init__(self, *, channels: int, paintings: int = 1) -> None:
        super().__init__()
        self.conv1 = ConvLayer(in_channels=channels, out_channels=channels, kernel_size=3, stride=1)
        self.norm1 = InstanceNorm(channels, paintings)
        self.conv2 = ConvLayer(in_channels=channels, out_channels=channels, kernel_size=3, stride=1)
        self.norm2 = InstanceNorm(channels, paintings)

    def forward(self, x: Tensor, painting: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), painting as in ``InstanceNorm`` -> (B, C, H, W)."""
        y = F.relu(self.norm1(self.conv1(x), painting))
        return x + self.norm2(self.conv2(y), painting)


class UpsampleConvLayer(nn.Module):
    """Enlargement by two, nearest-neighbor or bilinear, to a given size, then a convolution.

    Departure: the paper's transposed convolution spreads unevenly and leaves a checkerboard
    (Odena et al. 2016). The target is the size the encoder had on the way down, which returns every
    odd size exactly: the last row or column of what is twice as large is left out where it is one
    too many. To stretch by a little less than two instead would shift every stroke against its
    photo, so that a photo one row shorter would get another pattern all over. The crop is a
    negative padding, as a slice of a size that depends on another cannot be exported.
    """

    def __init__(self, *, in_channels: int, out_channels: int, kernel_size: int, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.conv = ConvLayer(
            in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size, stride=1
        )

    def forward(self, x: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
        """x (B, in, h, w), size (H, W) of 2h or 2h - 1, 2w or 2w - 1 -> (B, out, H, W)."""
        corners = None if self.mode == "nearest" else False
        doubled = F.interpolate(x, scale_factor=2.0, mode=self.mode, align_corners=corners)
        if torch.compiler.is_exporting() or doubled.shape[-2:] != size:
            missing = size[0] - doubled.shape[-2], size[1] - doubled.shape[-1]
            doubled = F.pad(doubled, (0, missing[1], 0, missing[0]))
        return self.conv(doubled)


class TransformerNet(nn.Module):
    """The feed-forward stylizer: RGB in [0, 1] in, RGB in [0, 1] out, of the same height and width.

    ``width`` is the number of channels after the first convolution: 32 in the paper (1,679,235
    parameters at five residual blocks), 16 in the authors' released instance-norm models, at a
    quarter of the operations.

    Departure: the output is ``(1 + tanh(output_gain * y)) / 2``. The authors' code has
    ``150 * tanh`` around the mean color, a little wider than the pixel range, and clips on saving;
    ours is bounded by the range itself, so nothing is ever clipped and no gradient is cut by a
    clamp. A step of Adam moves each of the last layer's thousands of weights alike, so their sum
    jumps by units: at an ``output_gain`` of 1 whole regions are thrown into saturation and stay
    there as black or white blobs; at 0.1 none were seen.

    Departure: the kernels of the last convolution do not respond at periods of 2 and 4 pixels
    (``remove_grid``). Between the pixels that are enlarged, edge-like kernels and ReLUs put a
    fixed lattice into the picture, which short trainings leave visible; whatever the layers before
    make of it, it cannot pass. Neighboring periods can: ``upsampling="bilinear"`` has less of
    those than ``"nearest"``, with which older style files were trained. Raises ``FstError`` for
    another one.

    Extension: a net of several ``paintings`` shares all but the scales and shifts of its instance
    norms, of which each painting has a row (Dumoulin et al. 2017, *A learned representation for
    artistic style*); ``of_painting`` takes one out as an ordinary net. A net of one painting that
    takes ``strengths`` has a row for the photo's end and one for the painting's instead
    (``fst.nets.trained_strength``).
    """

    def __init__(
        self,
        *,
        width: int,
        residual_blocks: int,
        output_gain: float,
        upsampling: str = "nearest",
        paintings: int = 1,
        strengths: bool = False,
    ) -> None:
        super().__init__()
        if strengths and paintings > 1:
            raise FstError(SEVERAL_STRENGTHS)
        if upsampling not in UPSAMPLINGS:
            raise FstError(
                f"net.upsampling '{upsampling}' is unknown; use one of {', '.join(UPSAMPLINGS)}"
            )
        self.upsampling = upsampling
        self.width = width
        self.residual_blocks = residual_blocks
        self.output_gain = output_gain
        self.paintings = paintings
        self.strengths = strengths
        rows = ENDS if strengths else paintings
        self.conv1 = ConvLayer(in_channels=3, out_channels=width, kernel_size=9, stride=1)
        self.norm1 = InstanceNorm(width, rows)
        self.down1 = ConvLayer(in_channels=width, out_channels=2 * width, kernel_size=3, stride=2)
        self.norm2 = InstanceNorm(2 * width, rows)
        self.down2 = ConvLayer(
            in_channels=2 * width, out_channels=4 * width, kernel_size=3, stride=2
        )
        self.norm3 = InstanceNorm(4 * width, rows)
        self.residual = nn.Sequential(
            *(ResidualBlock(channels=4 * width, paintings=rows) for _ in range(residual_blocks))
        )
        self.up1 = UpsampleConvLayer(
            in_channels=4 * width, out_channels=2 * width, kernel_size=3, mode=upsampling
        )
        self.norm4 = InstanceNorm(2 * width, rows)
        self.up2 = UpsampleConvLayer(
            in_channels=2 * width, out_channels=width, kernel_size=3, mode=upsampling
        )
        self.norm5 = InstanceNorm(width, rows)
        self.conv2 = OutputConvLayer(in_channels=width, out_channels=3, kernel_size=9, stride=1)
        self.remove_grid()

    @torch.no_grad()
    def remove_grid(self) -> None:
        """Project the last kernels onto those without response at periods of 2 and 4 pixels.

        Training calls it after each step of the optimizer; a net that is only run does not need it.
        """
        weight = self.conv2.conv.weight
        # on a GPU, a float32 product may be one of TF32's 10 bits
        exact = torch.float64 if weight.is_cuda else weight.dtype
        projector = _without_grid(weight.shape[-1], weight.device, exact)
        weight.copy_(projector @ weight.to(exact) @ projector)

    @property
    def arguments(self) -> dict[str, float | str | bool]:
        """What to call the class with to build this net again; stored in a style file's card."""
        return {
            "width": self.width,
            "residual_blocks": self.residual_blocks,
            "output_gain": self.output_gain,
            "upsampling": self.upsampling,
            **({"paintings": self.paintings} if self.paintings > 1 else {}),
            **({"strengths": True} if self.strengths else {}),
        }

    def of_painting(self, row: int) -> TransformerNet:
        """One painting of several as a net of its own, with copies of the weights."""
        net = TransformerNet(**{**self.arguments, "paintings": 1})  # type: ignore[arg-type]
        shapes = {name: value.shape for name, value in net.state_dict().items()}
        net.load_state_dict(
            {
                name: value.detach().clone() if value.shape == shapes[name] else value[row]
                for name, value in self.state_dict().items()
            }
        )
        return net

    def norms(self) -> list[InstanceNorm]:
        """The instance norms, in the order of the pass."""
        return [module for module in self.modules() if isinstance(module, InstanceNorm)]

    def _between_ends(self, content: Tensor, strength: Tensor | None) -> Tensor:
        """What the norms take for strengths (B,): the shares of both ends, or the last row."""
        if strength is None:
            return torch.ones(content.shape[0], dtype=torch.int64, device=content.device)
        return torch.stack([1 - strength, strength], dim=1)

    def at_strength(self, content: Tensor, strength: Tensor) -> Tensor:
        """content (B, 3, H, W), RGB in [0, 1], strength (B,) in 0 .. 1 -> the picture, the same.

        With the photo mixed in as ``picture_share`` says: what a net that takes strengths is
        trained for, and what ``fst stylize --strength`` shows of it.
        """
        share = picture_share(strength)[:, None, None, None]
        return self(content, strength) * share + content * (1 - share)

    def forward(self, content: Tensor, painting: Tensor | None = None) -> Tensor:
        """content (B, 3, H, W), RGB in [0, 1], H and W >= 16 -> stylized (B, 3, H, W) in [0, 1].

        A net of several paintings takes for each photo the row of its ``painting``, (B,) int64, or
        the shares of all rows, (B, paintings). One that takes strengths has them in their place,
        (B,) floating point in 0 .. 1, or None for 1.
        """
        if self.strengths:
            painting = self._between_ends(content, painting)
        full = F.relu(self.norm1(self.conv1(content), painting))
        half = F.relu(self.norm2(self.down1(full), painting))
        x = F.relu(self.norm3(self.down2(half), painting))
        for block in self.residual:
            x = block(x, painting)
        x = F.relu(self.norm4(self.up1(x, half.shape[-2:]), painting))
        x = F.relu(self.norm5(self.up2(x, full.shape[-2:]), painting))
        y = self.conv2(x)
        if y.dtype in (torch.float16, torch.bfloat16):
            y = y.float()  # bfloat16 has 129 levels between 0.5 and 1: too few for a picture
        return (torch.tanh(self.output_gain * y) + 1) / 2
