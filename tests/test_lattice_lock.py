"""A net that moves along with its photo has no lock; one with a lattice of its own has."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fst.pictures.lattice_lock import lock


def blurred_noise(*shape: int) -> Tensor:
    return F.avg_pool2d(torch.rand(*shape, generator=torch.Generator().manual_seed(0)), 3, 1, 1)


def test_what_moves_along_has_no_lock() -> None:
    found = lock(lambda x: (1 - x) ** 2, blurred_noise(2, 3, 100, 120))
    assert found.fine < 1e-6
    assert found.coarse < 1e-6


def test_a_pattern_of_its_own_is_as_another_one() -> None:
    generator = torch.Generator().manual_seed(1)

    def grain(x: Tensor) -> Tensor:
        return torch.rand(1, 1, *x.shape[-2:], generator=generator).expand_as(x)

    found = lock(grain, blurred_noise(1, 3, 128, 128))
    assert abs(found.fine - 2**0.5) < 0.1
    assert abs(found.coarse - 2**0.5) < 0.35  # few waves


def test_a_fixed_lattice_of_three_pixels_locks_what_is_fine_only() -> None:
    def woven(x: Tensor) -> Tensor:
        return x + torch.cos(2 * torch.pi / 3 * torch.arange(x.shape[-1]))

    found = lock(woven, blurred_noise(1, 3, 128, 160))
    assert found.fine > 1
    assert found.coarse < 0.05


def test_small_photos_have_a_lock_too() -> None:
    found = lock(lambda x: x, torch.rand(1, 3, 32, 35))
    assert found == (0, 0)
