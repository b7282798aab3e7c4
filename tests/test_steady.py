"""Blending frames along their motion: what flickers less, and what must not be carried over."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fst.video.steady import SHARE, Steady
from tests.conftest import picture


def photo(seed: int = 3, width: int = 96, height: int = 64) -> np.ndarray:
    """(1, 3, H, W): a smooth picture with fine grain, that flow can follow."""
    smooth = np.asarray(picture(width, height, seed), dtype=float)
    grain = np.random.default_rng(seed).normal(0, 18, (height // 2, width // 2, 1))
    fine = grain.repeat(2, 0).repeat(2, 1)
    return (smooth + fine).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)[None]


def flicker(level: float, seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, shape)


def test_what_flickers_on_a_still_picture_flickers_less() -> None:
    still, steady = photo(), Steady()
    made = [
        (still + flicker(10, seed, still.shape)).clip(0, 255).astype(np.uint8) for seed in range(8)
    ]
    blended = [steady(still, one) for one in made]

    def change(frames: list[np.ndarray]) -> float:
        rows = [np.abs(a.astype(float) - b).mean() for a, b in pairwise(frames[3:])]
        return float(np.mean(rows))

    assert change(blended) < 0.3 * change(made)


def test_what_moves_is_carried_along() -> None:
    """The last result, moved by the known motion, not left where it was."""
    wide = photo(width=120)
    steady = Steady()
    first, second = wide[..., 10:106], wide[..., 13:109]  # moved by three pixels to the left
    painted = 255 - wide
    steady(first, painted[..., 10:106])
    other = np.full_like(first, 128)
    blended = steady(second, other)
    wanted = SHARE * painted[..., 13:109].astype(float) + (1 - SHARE) * 128
    inner = (slice(None), slice(None), slice(8, -8), slice(12, -12))
    assert np.abs(blended.astype(float) - wanted)[inner].mean() < 8


def test_nothing_is_carried_over_a_cut() -> None:
    steady = Steady()
    steady(photo(seed=3), photo(seed=5))
    after = photo(seed=9)
    assert np.array_equal(steady(255 - photo(seed=4), after), after)


@pytest.mark.parametrize("left", [30, 50])
def test_nothing_is_carried_into_what_was_covered(left: int) -> None:
    """A flat block moves by 12 px; where it was, the picture shows the new frame alone."""
    steady, behind = Steady(), photo()

    def frame(at: int) -> np.ndarray:
        shown = behind.copy()
        shown[..., 20:44, at : at + 20] = 250
        return shown

    steady(frame(left), np.zeros_like(behind))
    blended = steady(frame(left + 12), np.full_like(behind, 200))
    assert blended[..., 26:38, left + 2 : left + 9].min() > 190
