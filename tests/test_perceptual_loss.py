"""Known answers, computed by hand, in float64."""

import pytest
import torch
from torch import Tensor

from fst.errors import FstError
from fst.loss.loss_network import LossNetwork
from fst.loss.loss_network_file import parse_vgg
from fst.loss.perceptual_loss import (
    LEAST_VARIANCE,
    PerceptualLoss,
    gram_matrix,
    total_variation,
)

from .conftest import vgg_state


def doubling_network() -> LossNetwork:
    """relu1_1 is twice the picture, relu1_2 twice relu1_1, as every kernel is a scaled identity."""
    weight = torch.zeros(3, 3, 3, 3)
    weight[range(3), range(3), 1, 1] = 2.0
    return LossNetwork(
        convolutions=[(1, weight, torch.zeros(3)), (1, weight, torch.zeros(3))],
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        padding_mode="zeros",
        description="doubling",
    ).double()


def make_loss(style_image: Tensor, **changes: object) -> PerceptualLoss:
    options: dict[str, object] = {
        "network": doubling_network(),
        "style_image": style_image,
        "content_layers": {"relu1_1": 1},
        "style_layers": {"relu1_2": 1},
        "content_weight": 1,
        "style_weight": 1,
        "tv_weight": 0,
        "relative": False,
    }
    return PerceptualLoss(**{**options, **changes})  # type: ignore[arg-type]


def constant(value: float, height: int = 4, width: int = 6) -> Tensor:
    return torch.full((1, 3, height, width), value, dtype=torch.float64)


def test_gram_of_constant_features_is_their_square_over_the_channels() -> None:
    # sum over H*W of 0.5 * 0.5, divided by C*H*W, is 0.25 / C
    gram = gram_matrix(torch.full((2, 5, 3, 7), 0.5, dtype=torch.float64))
    torch.testing.assert_close(gram, torch.full((2, 5, 5), 0.25 / 5, dtype=torch.float64))


def test_gram_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]], dtype=torch.float64)
    expected = torch.tensor([[[5.0, 11.0], [11.0, 25.0]]], dtype=torch.float64) / 4
    torch.testing.assert_close(gram_matrix(features), expected)


def test_gram_does_not_depend_on_where_things_are() -> None:
    features = torch.rand(1, 4, 5, 6, dtype=torch.float64)
    shuffled = features.flatten(2)[..., torch.randperm(30)].view(1, 4, 5, 6)
    torch.testing.assert_close(gram_matrix(features), gram_matrix(shuffled))


def test_gram_of_half_precision_features_does_not_overflow() -> None:
    gram = gram_matrix(torch.full((1, 2, 64, 64), 1000.0, dtype=torch.float16))
    torch.testing.assert_close(gram, torch.full((1, 2, 2), 500_000.0))


def test_total_variation_by_hand() -> None:
    image = torch.tensor([[[[0.0, 1.0], [3.0, 3.0]]]], dtype=torch.float64)
    # vertical 3^2 + 2^2, horizontal 1^2 + 0^2
    assert total_variation(image) == 14
    assert total_variation(image.repeat(5, 1, 1, 1)) == 14  # mean over the batch


def test_content_term_by_hand() -> None:
    loss = make_loss(constant(0.5), content_weight=3, content_layers={"relu1_1": 1, "relu1_2": 2})
    terms = loss(constant(0.4), constant(0.1))
    # relu1_1: (0.8 - 0.2)^2; relu1_2: 2 * (1.6 - 0.4)^2
    torch.testing.assert_close(terms.content.item(), 3 * (0.36 + 2 * 1.44))


def test_style_term_by_hand() -> None:
    loss = make_loss(constant(0.5, 8, 8), style_weight=10)
    terms = loss(constant(0.25), constant(0.25))
    # features at relu1_2: 1.0 and 2.0; Grams 1/3 and 4/3 everywhere; the mean square is 1
    torch.testing.assert_close(terms.style.item(), 10.0)
    torch.testing.assert_close(terms.style_by_layer["relu1_2"].item(), 10.0)


def test_relative_terms_are_divided_by_what_they_are_measured_against() -> None:
    loss = make_loss(constant(0.5, 8, 8), relative=True)
    # Gram 1/3 against 4/3: (1/3 - 4/3)^2 / (4/3)^2
    assert loss(constant(0.25), constant(0.25)).style.item() == pytest.approx(9 / 16)
    content = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    content[..., 0] = 0.5  # features 1, 1, 0, 0: variance 1/3, mean square 1/2
    terms = loss(torch.zeros_like(content), content)
    assert terms.content.item() == pytest.approx(0.5 / (1 / 3))


def test_a_crop_in_which_next_to_nothing_varies_does_not_count_a_hundredfold() -> None:
    """One of two flat halves was most of its step's gradient, and of what Adam remembered."""
    content = constant(0.5, 8, 8)
    content[..., 0, 0] = 0.51  # features 1 and a 1.02: variance 6e-6
    stylized = constant(0.0, 8, 8)
    term = make_loss(constant(0.5, 8, 8), relative=True)(stylized, content).content.item()
    assert term == pytest.approx(1 / LEAST_VARIANCE, rel=0.01)


def test_total_variation_term_is_in_levels_of_255() -> None:
    stylized = constant(0.0)
    stylized[..., 0, 0] = 1 / 255
    terms = make_loss(constant(0.5), tv_weight=2)(stylized, constant(0.0))
    assert terms.total_variation.item() == pytest.approx(2 * 3 * 2)  # 3 channels, 2 neighbors


def test_the_total_is_the_sum_of_the_terms_and_style_of_its_layers() -> None:
    loss = make_loss(
        torch.rand(1, 3, 9, 9, dtype=torch.float64),
        style_layers={"relu1_1": 0.5, "relu1_2": 2},
        tv_weight=1e-4,
    )
    terms = loss(*torch.rand(2, 2, 3, 9, 9, dtype=torch.float64))
    torch.testing.assert_close(terms.total, terms.content + terms.style + terms.total_variation)
    torch.testing.assert_close(sum(terms.style_by_layer.values()), terms.style)


def test_nothing_is_lost_when_content_style_and_result_are_one_picture() -> None:
    image = torch.rand(1, 3, 12, 12, dtype=torch.float64)
    terms = make_loss(image)(image, image)
    assert terms.total.item() == 0


def test_arguments_are_not_changed_and_only_the_result_gets_a_gradient() -> None:
    stylized = torch.rand(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    content = torch.rand(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    copies = stylized.detach().clone(), content.detach().clone()
    make_loss(constant(0.5), tv_weight=1)(stylized, content).total.backward()
    assert torch.equal(stylized, copies[0])
    assert torch.equal(content, copies[1])
    assert stylized.grad is not None
    assert content.grad is None


def test_gradient_agrees_with_finite_differences() -> None:
    network = LossNetwork(
        convolutions=parse_vgg(vgg_state([[4], [5]]), "test"),
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.3, 0.4),
        padding_mode="reflect",
        description="test",
    ).double()
    loss = make_loss(
        torch.rand(1, 3, 8, 8, dtype=torch.float64),
        network=network,
        content_layers={"relu2_1": 1},
        style_layers={"relu1_1": 1, "relu2_1": 1},
        tv_weight=1e-3,
    )
    content = torch.rand(1, 3, 6, 6, dtype=torch.float64)
    stylized = torch.rand(1, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, content).total, (stylized,))


def test_a_layer_of_weight_0_is_not_asked_for() -> None:
    loss = make_loss(constant(0.5), style_layers={"relu1_1": 1, "relu5_1": 0})
    assert list(loss.style_layers) == ["relu1_1"]


def test_a_layer_beyond_the_network_is_named() -> None:
    with pytest.raises(FstError, match=r"'relu4_3' is not in .* relu1_1 \.\. relu1_2"):
        make_loss(constant(0.5), style_layers={"relu4_3": 1})


def test_a_constant_photo_gives_a_finite_loss_and_gradient() -> None:
    stylized = constant(0.5).requires_grad_()
    loss = make_loss(torch.rand(1, 3, 8, 8, dtype=torch.float64), relative=True)
    total = loss(stylized, constant(0.0)).total
    total.backward()
    assert torch.isfinite(total)
    assert stylized.grad is not None
    assert torch.isfinite(stylized.grad).all()
