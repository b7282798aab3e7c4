import pytest
import torch

from fst.inference.pixel_net import PixelNet
from fst.nets.transformer_net import UPSAMPLINGS, ConvLayer, OutputConvLayer, TransformerNet


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_width_32_has_the_papers_number_of_parameters() -> None:
    assert parameters(TransformerNet(width=32, residual_blocks=5, output_gain=0.1)) == 1_679_235


@pytest.mark.parametrize(
    "size", [(16, 16), (17, 16), (16, 19), (18, 21), (33, 34), (47, 35), (338, 51)]
)
@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_output_size_equals_input_size(size: tuple[int, int], upsampling: str) -> None:
    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1, upsampling=upsampling)
    assert net(torch.rand(2, 3, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_a_photo_a_few_rows_shorter_gets_the_same_strokes(upsampling: str) -> None:
    torch.manual_seed(0)
    net = TransformerNet(width=8, residual_blocks=1, output_gain=0.1, upsampling=upsampling)
    photo = torch.rand(1, 3, 128, 160)
    with torch.no_grad():
        whole = net(photo)
        for rows, columns in ((1, 0), (2, 3), (3, 1)):
            shorter = net(photo[..., : 128 - rows, : 160 - columns])
            change = (whole[..., :96, :128] - shorter[..., :96, :128]).std()
            assert change < 0.06 * whole.std(), (rows, columns)


def test_every_size_from_16_to_40_comes_back_unchanged() -> None:
    net = TransformerNet(width=2, residual_blocks=1, output_gain=0.1)
    with torch.no_grad():
        for side in range(16, 41):
            assert net(torch.rand(1, 3, side, 56 - side + 16)).shape[-2:] == (side, 72 - side)


def test_output_stays_in_range_however_large_the_weights() -> None:
    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1)
    torch.nn.init.normal_(net.conv2.conv.weight, std=100.0)
    out = net(torch.rand(1, 3, 24, 24))
    assert out.min() >= 0
    assert out.max() <= 1


def test_gradient_reaches_every_parameter_and_the_photo() -> None:
    net = TransformerNet(width=4, residual_blocks=2, output_gain=0.1).double()
    content = torch.rand(2, 3, 20, 22, dtype=torch.float64, requires_grad=True)
    (net(content) * torch.rand(2, 3, 20, 22)).sum().backward()
    assert content.grad is not None
    assert content.grad.abs().max() > 0
    # a constant added to a channel before an instance norm is taken away again: exactly no gradient
    canceled = {"conv1.conv.bias", "down1.conv.bias", "down2.conv.bias"}
    canceled |= {"up1.conv.conv.bias", "up2.conv.conv.bias"}
    for block in range(2):
        canceled |= {f"residual.{block}.{end}" for end in ("conv1.conv.bias", "conv2.conv.bias")}
        canceled.add(f"residual.{block}.norm2.bias")
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad.abs().max() > 1e-9) == (name not in canceled), name


@pytest.mark.parametrize(("kernel_size", "stride"), [(9, 1), (3, 1), (3, 2)])
def test_a_convolution_of_a_constant_has_no_border(kernel_size: int, stride: int) -> None:
    layer = ConvLayer(in_channels=3, out_channels=5, kernel_size=kernel_size, stride=stride)
    out = layer.double()(torch.full((1, 3, 40, 53), 0.3, dtype=torch.float64))
    assert out.shape[-2:] == (-(-40 // stride), -(-53 // stride))
    assert out.std(dim=(2, 3)).max() < 1e-12


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (22, 19)], ids=str)
def test_the_last_convolution_in_blocks_is_the_one_that_is_defined(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result, and what flows back through it into the features, kernels and biases."""
    torch.manual_seed(0)
    layer = OutputConvLayer(in_channels=5, out_channels=3, kernel_size=9, stride=1).double()
    x = torch.randn(2, 5, *size, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, *size, dtype=torch.float64)

    def results() -> list[torch.Tensor]:
        made = layer(x)
        given = [x, layer.conv.weight, layer.conv.bias]
        return [made, *torch.autograd.grad((made * weights).sum(), given)]

    in_blocks = results()
    monkeypatch.setattr(OutputConvLayer, "in_blocks", False)
    for found, defined in zip(in_blocks, results(), strict=True):
        torch.testing.assert_close(found, defined, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels", [8, 16, 24, 32])
def test_blocks_in_bfloat16_are_right_on_this_processor(channels: int) -> None:
    """A library's kernel may be wrong for a processor: with AMX that of blocks of 4 px was."""
    torch.manual_seed(0)
    layer = OutputConvLayer(in_channels=channels, out_channels=3, kernel_size=9, stride=1)
    x = torch.randn(2, channels, 48, 51, requires_grad=True)
    weights = torch.randn(2, 3, 48, 51)
    exact = layer.double()(x.double())
    (wanted,) = torch.autograd.grad((exact * weights).sum(), x)
    layer.float()
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    (got,) = torch.autograd.grad((found * weights).sum(), x)
    for half, full in ((found.double(), exact), (got, wanted)):
        assert (half - full).norm() < 0.01 * full.norm()


def test_photos_of_a_batch_do_not_affect_each_other() -> None:
    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1).double()
    batch = torch.rand(3, 3, 24, 24, dtype=torch.float64)
    torch.testing.assert_close(net(batch)[1:2], net(batch[1:2]))


def test_relu_follows_only_the_first_convolution_of_a_residual_block() -> None:
    block = TransformerNet(width=4, residual_blocks=1, output_gain=0.1).residual[0]
    torch.nn.init.zeros_(block.norm2.weight)
    torch.nn.init.constant_(block.norm2.bias, -3.0)
    x = torch.randn(1, 16, 8, 8)
    torch.testing.assert_close(block(x), x - 3)  # negative values pass: no ReLU after the sum


def test_pixel_net_is_the_net_between_8_bit_pixels() -> None:
    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1)
    pixels = torch.randint(0, 256, (1, 3, 21, 18), dtype=torch.uint8)
    expected = (net(pixels.float() / 255) * 255).round().to(torch.uint8)
    assert torch.equal(PixelNet(net)(pixels), expected)


def lattice(period: int, axis: int) -> torch.Tensor:
    wave = torch.cos(2 * torch.pi * torch.arange(48) / period + 0.3)
    plane = (wave[:, None] if axis == 0 else wave[None]) * torch.ones(48, 48)
    return plane.expand(1, 4, 48, 48)


@pytest.mark.parametrize("period", [2, 4])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_lattice_of_two_or_four_pixels_does_not_pass(period: int, axis: int) -> None:
    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1)

    def response() -> float:
        inside = net.conv2(lattice(period, axis))[..., 8:-8, 8:-8]
        return float((inside - net.conv2.conv.bias[:, None, None]).detach().abs().max())

    torch.nn.init.normal_(net.conv2.conv.weight)
    assert response() > 1
    net.remove_grid()
    assert response() < 1e-4


def test_removing_the_grid_twice_is_removing_it_once() -> None:
    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1)
    torch.nn.init.normal_(net.conv2.conv.weight)
    net.remove_grid()
    once = net.conv2.conv.weight.detach().clone()
    net.remove_grid()
    torch.testing.assert_close(net.conv2.conv.weight, once)
