"""The yardstick computes what the product computes: otherwise no ratio would mean anything."""

import copy

import pytest
import torch

from fst.benchmark.plain import PlainLoss, PlainVGG16, plain_stylized
from fst.benchmark.twins import WEIGHTS, twin_loss, twin_network
from fst.loss.perceptual_loss import PerceptualLoss
from fst.nets.transformer_net import TransformerNet


def both_losses(dtype: torch.dtype, size: int, vgg_width: int) -> tuple[PlainLoss, PerceptualLoss]:
    torch.manual_seed(0)
    vgg, style = PlainVGG16(vgg_width).to(dtype), torch.rand(1, 3, size, size, dtype=dtype)
    ours = twin_loss(twin_network(vgg).to(dtype), style)
    return PlainLoss(vgg=vgg, style_image=style, **WEIGHTS), ours


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", [(32, 48), (33, 37)])
def test_the_forward_pass_is_the_same(upsampling: str, size: tuple[int, int]) -> None:
    net = TransformerNet(width=8, residual_blocks=2, output_gain=0.1, upsampling=upsampling)
    content = torch.rand(2, 3, *size)
    assert torch.allclose(net(content), plain_stylized(net, content), atol=1e-6)


SMALL = {"width": 8, "residual_blocks": 1, "size": 32, "vgg_width": 8}
FULL = {"width": 32, "residual_blocks": 5, "size": 96, "vgg_width": 64}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-6)])
@pytest.mark.parametrize(
    "shape",
    [pytest.param(SMALL, id="small"), pytest.param(FULL, id="full", marks=pytest.mark.slow)],
)
def test_fifty_steps_have_the_same_losses_gradients_and_weights(
    shape: dict[str, int], dtype: torch.dtype, tolerance: float
) -> None:
    size = shape["size"]
    plain_loss, loss = both_losses(dtype, size, shape["vgg_width"])
    ours = TransformerNet(
        width=shape["width"],
        residual_blocks=shape["residual_blocks"],
        output_gain=0.1,
        upsampling="bilinear",
    ).to(dtype)
    plain = copy.deepcopy(ours)
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-3) for net in (ours, plain)]
    for step in range(50):
        photos = torch.rand(2, 3, size, size, dtype=dtype)
        if dtype == torch.float32:  # each step from the same weights: chaos is not an error
            plain.load_state_dict(ours.state_dict())
        totals = loss(ours(photos), photos).total, plain_loss(plain_stylized(plain, photos), photos)
        for optimizer, total in zip(optimizers, totals, strict=True):
            optimizer.zero_grad()
            total.backward()
        one, two = (float(total.detach()) for total in totals)
        assert one == pytest.approx(two, rel=tolerance), step
        mine, theirs = (
            torch.cat([p.grad.flatten() for p in net.parameters()])  # type: ignore[union-attr]
            for net in (ours, plain)
        )
        assert (mine - theirs).norm() <= tolerance * theirs.norm(), step
        for optimizer, net in zip(optimizers, (ours, plain), strict=True):
            optimizer.step()
            net.remove_grid()
    if dtype == torch.float64:
        for weight, known in zip(ours.parameters(), plain.parameters(), strict=True):
            assert torch.allclose(weight, known, atol=tolerance)
