"""The score of flicker knows what flickers, by how much, and what merely moves."""

from __future__ import annotations

import numpy as np
import pytest

from fst.video.score import FRAMES, MARGIN, MOTIONS, _off, clip, score
from tests.test_steady import photo

SIDE = 96 + 2 * MARGIN


def photos() -> list[np.ndarray]:
    return [photo(seed, SIDE, SIDE)[0].transpose(1, 2, 0) for seed in (3, 4)]


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_motion_of_a_clip_is_known(motion: str) -> None:
    """A frame moved along is the next one, but for what two interpolations take from the grain."""
    frames, steps, own = clip(*photos(), MOTIONS[motion])
    off = [_off(*frames[t - 1 : t + 1], steps[t], own[t]) for t in range(1, FRAMES)]
    other = [_off(*frames[t - 1 : t + 1], np.eye(3), own[t]) for t in range(1, FRAMES)]
    assert np.mean(off) < 5 < np.mean(other)
    assert 0.4 < own[3].mean() < 0.9


def test_a_style_that_flickers_scores_worse_by_its_flicker_and_steady_takes_it_away() -> None:
    calls = iter(range(10**6))

    def flickering(pixels: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(next(calls)).normal(0, 10, pixels.shape)
        return (pixels + noise).clip(0, 255).astype(np.uint8)

    def still(pixels: np.ndarray) -> np.ndarray:
        return pixels

    calm, _ = score(still, photos())
    rough, steady = score(flickering, photos())
    assert calm.still == pytest.approx(1)
    assert calm.lock == (0, 0)
    assert steady.lock is None
    assert rough.lock.fine > calm.lock.fine
    assert rough.still > 2
    assert steady.still < 0.2 * rough.still
    # two frames' noise of 10 levels, the first interpolated; flow of pairs of pixels leaves 0.30
    for motion in MOTIONS:
        assert 10 < rough.warping[motion] < 16
        assert calm.warping[motion] < 6
        assert steady.warping[motion] < 0.28 * rough.warping[motion]
