"""The solvers, on objectives whose minimum is known."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from fst.errors import FstError
from fst.loss.image_optimizer import Iterate, optimize

torch.manual_seed(0)
CURVES = torch.logspace(-2, 2, 48).view(1, 3, 4, 4)


def run(objective, start: Tensor, count: int, **options) -> list[Iterate]:
    return list(itertools.islice(optimize(objective, start, **options), count + 1))


def test_lbfgs_finds_the_minimum_of_an_uneven_quadratic_in_the_box() -> None:
    wish = torch.linspace(-0.5, 1.5, 48, dtype=torch.float64).view(1, 3, 4, 4)

    def objective(x: Tensor) -> Tensor:
        return (CURVES * (x - wish) ** 2).sum()

    iterates = run(objective, torch.full_like(wish, 0.5), 60, method="lbfgs")
    torch.testing.assert_close(iterates[-1].image, wish.clamp(0, 1), atol=1e-5, rtol=0)
    values = [iterate.value for iterate in iterates]
    assert values == sorted(values, reverse=True)
    assert all(i.image.min() >= 0 and i.image.max() <= 1 for i in iterates)


def test_lbfgs_finds_its_way_through_a_curved_valley() -> None:
    def rosenbrock(x: Tensor) -> Tensor:
        a, b = x.flatten()
        return 100 * (b - a**2) ** 2 + (0.7 - a) ** 2

    start = torch.tensor([0.0, 1.0], dtype=torch.float64).view(1, 1, 1, 2)
    last = run(rosenbrock, start, 60, method="lbfgs")[-1]
    torch.testing.assert_close(
        last.image.flatten(), torch.tensor([0.7, 0.49], dtype=torch.float64), atol=1e-4, rtol=0
    )
    assert last.evaluations < 120


def test_lbfgs_uses_little_more_than_one_evaluation_an_iteration() -> None:
    mixing = torch.randn(48, 48, dtype=torch.float64) / 7
    wish = mixing @ torch.rand(48, dtype=torch.float64)

    def objective(x: Tensor) -> Tensor:
        return (mixing @ x.flatten() - wish).square().sum()

    start = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    last = run(objective, start, 40, method="lbfgs")[-1]
    assert last.number == 40
    assert last.evaluations < 60
    assert last.value < 1e-3 * float(objective(start))


def test_it_ends_by_itself_at_the_minimum() -> None:
    assert (
        len(run(lambda x: (x - 0.5).square().sum(), torch.rand(1, 3, 4, 4), 99, method="lbfgs"))
        < 10
    )
    assert len(run(lambda x: x.sum(), torch.zeros(1, 3, 4, 4), 99, method="lbfgs")) == 1


def test_adam_comes_near_and_stays_in_the_box() -> None:
    wish = torch.linspace(-0.5, 1.5, 48).view(1, 3, 4, 4)
    last = run(lambda x: (x - wish).square().sum(), torch.rand(1, 3, 4, 4), 300, method="adam")[-1]
    torch.testing.assert_close(last.image, wish.clamp(0, 1), atol=0.02, rtol=0)


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_a_step_into_nan_is_undone(method: str) -> None:
    def bowl_by_a_cliff(x: Tensor) -> Tensor:
        value = 50 * (x - 0.105).square().sum()
        return value if bool(x.mean() < 0.11) else value * math.nan

    start = torch.full((1, 3, 4, 4), 0.1)
    iterates = run(bowl_by_a_cliff, start, 30, method=method, learning_rate=0.9)
    assert all(math.isfinite(i.value) and i.image.isfinite().all() for i in iterates)
    assert iterates[-1].undone > 0
    assert iterates[-1].value < iterates[0].value


def test_a_clipped_gradient_does_not_stop_adam_for_long() -> None:
    def steep_at_the_top(x: Tensor) -> Tensor:
        return x.sum() + 1e6 * torch.relu(x - 0.9).sum()

    start = torch.full((1, 3, 4, 4), 0.95)
    free = run(steep_at_the_top, start, 60, method="adam")[-1]
    clipped = run(steep_at_the_top, start, 60, method="adam", clip_gradient=1.0)[-1]
    assert clipped.value < free.value / 2


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(FstError, match="use one of lbfgs, adam"):
        run(torch.sum, torch.rand(1, 3, 4, 4), 1, method="sgd")
    with pytest.raises(FstError, match="needs method=adam"):
        run(torch.sum, torch.rand(1, 3, 4, 4), 1, method="lbfgs", clip_gradient=1.0)
    with pytest.raises(FstError, match="not finite at the start"):
        run(lambda x: x.sum() * math.nan, torch.rand(1, 3, 4, 4), 1, method="adam")
