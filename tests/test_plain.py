"""The yardstick computes what it says: otherwise no ratio would mean anything."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from fst.benchmark.plain import (
    CONTENT_LAYER,
    CONTENT_WEIGHT,
    LAYERS,
    STYLE_WEIGHT,
    PlainNet,
    PlainVGG16,
    photo_batches,
    pixels_of,
    plain_losses,
    style_grams,
    training_step,
)
from fst.benchmark.twins import twin_network
from fst.loss.perceptual_loss import PerceptualLoss
from fst.nets.transformer_net import TransformerNet

from .conftest import picture


@pytest.mark.parametrize("blocks", [2, 5])
def test_its_net_is_the_products_but_for_the_function_at_the_end(blocks: int) -> None:
    ours = TransformerNet(width=8, residual_blocks=blocks, output_gain=0.1, upsampling="nearest")
    plain = PlainNet(8, blocks)
    mine, theirs = list(ours.parameters()), list(plain.parameters())
    with torch.no_grad():
        for known, weight in zip(mine, theirs, strict=True):
            weight.copy_(known)
    content = torch.rand(2, 3, 32, 48)
    assert torch.allclose(ours(content), (1 + torch.tanh(0.1 * plain(content))) / 2, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-6)])
def test_its_losses_and_gradients_are_the_products_with_its_layers_and_weights(
    dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    vgg, painting = PlainVGG16(8).to(dtype), torch.rand(1, 3, 32, 32, dtype=dtype)
    loss = PerceptualLoss(
        network=twin_network(vgg).to(dtype),
        style_image=painting,
        content_layers={CONTENT_LAYER: 1},
        style_layers=dict.fromkeys(LAYERS, 1),
        relative=False,
        content_weight=CONTENT_WEIGHT,
        style_weight=STYLE_WEIGHT,
        tv_weight=0,
    )
    grams = style_grams(vgg, 255 * painting, 2)
    stylized, content = (torch.rand(2, 3, 32, 48, dtype=dtype) for _ in range(2))
    one, two = (stylized.clone().requires_grad_() for _ in range(2))
    ours = loss(one, content)
    plain = plain_losses(vgg, grams, 255 * two, 255 * content)
    for mine, known in zip((ours.content, ours.style), plain, strict=True):
        assert float(mine.detach()) == pytest.approx(float(known.detach()), rel=tolerance)
    (mine,), (known,) = (
        torch.autograd.grad(total, at) for total, at in ((ours.total, one), (sum(plain), two))
    )
    assert (mine - known).norm() <= tolerance * known.norm()


def test_its_step_trains_the_net_and_leaves_the_loss_network_alone() -> None:
    assert not any(weight.requires_grad for weight in PlainVGG16(4).parameters())
    step = training_step(size=32, batch=2, width=4, vgg_width=4)
    losses = [sum(step()) for _ in range(20)]  # type: ignore[arg-type]
    assert losses[-1] < losses[0]


def test_its_pictures_are_cut_to_whole_numbers() -> None:
    pixels = torch.tensor([0, 99, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    brighter = pixels_of(torch.nn.Threshold(-1, 0), pixels)
    assert brighter.equal(pixels)
    offset = torch.nn.Conv2d(3, 3, 1, groups=3)
    with torch.no_grad():
        offset.weight.fill_(1)
        offset.bias.fill_(0.9)  # type: ignore[union-attr]
    assert pixels_of(offset, pixels)[0, :, 0, 0].tolist() == [0, 99, 255]


def test_its_photos_are_the_middle_of_each_in_batches_of_0_to_255(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        picture(96, 48, seed=number).save(tmp_path / "photos" / f"{number}.png")
    batches = list(photo_batches(tmp_path, size=48, batch=2))
    assert [tuple(batch.shape) for batch in batches] == [(2, 3, 48, 48), (1, 3, 48, 48)]
    with Image.open(tmp_path / "photos" / "0.png") as whole:
        middle = whole.convert("RGB").crop((24, 0, 72, 48))
    shown = torch.frombuffer(bytearray(middle.tobytes()), dtype=torch.uint8).view(48, 48, 3)
    assert (batches[0][0] - shown.permute(2, 0, 1)).abs().max() < 1e-3
