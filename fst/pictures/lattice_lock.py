"""How much of a net's pattern hangs on its own lattice of pixels instead of on the photo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

STEP = 4  # pixels: the lattice of two strides of two; both crops are of whole steps
MARGIN = 32  # pixels along the border that are not compared: there the padding differs
FINE, COARSE = (2.0, 5.0), (8.0, 32.0)  # periods in pixels: weave; what flickers in films
LUMINANCE = (0.299, 0.587, 0.114)


class Lock(NamedTuple):
    """Change of a pattern when the photo moves by one pixel, over the pattern itself, RMS.

    0: the pattern moves along with the photo. 1.41, the root of two: it is another pattern, as
    different as two that have nothing to do with each other.
    """

    fine: float
    coarse: float


def lock(stylize: Callable[[Any], Any], photo: Any) -> Lock:
    """The lock of a net on photo (B, 3, H, W), RGB in [0, 1], each side 32 px or more.

    ``photo`` is a tensor or an array, and ``stylize`` maps such a batch to one of the same shape.
    It is called with two crops of equal size, one pixel apart down and to the right, as another
    size would change the pattern itself. Over a batch the powers are summed.
    """
    height, width = (side // STEP * STEP - STEP for side in photo.shape[-2:])
    still = _luminance(stylize(photo[..., :height, :width]))
    moved = _luminance(stylize(photo[..., 1 : height + 1, 1 : width + 1]))
    margin = min(MARGIN, height // 4, width // 4)
    here = still[:, margin + 1 : height - margin, margin + 1 : width - margin]
    there = moved[:, margin : height - margin - 1, margin : width - margin - 1]
    changed, whole = _power(here - there), _power(here)
    shares = [_band(changed, band) / max(_band(whole, band), 1e-12) for band in (FINE, COARSE)]
    return Lock(*(share**0.5 for share in shares))


def _luminance(pictures: Any) -> np.ndarray:
    if hasattr(pictures, "detach"):  # a tensor, which numpy takes from the CPU alone
        pictures = pictures.detach().cpu().double()
    return np.einsum("bchw,c->bhw", np.asarray(pictures, np.float64), LUMINANCE)


def _power(pictures: np.ndarray) -> np.ndarray:
    """pictures (B, H, W) -> the sum over them of the power at each frequency, (H, W)."""
    height, width = pictures.shape[-2:]
    window = np.hanning(height)[:, None] * np.hanning(width)
    level = pictures.mean((1, 2), keepdims=True)
    return np.square(np.abs(np.fft.fft2((pictures - level) * window))).sum(0)


def _band(power: np.ndarray, periods: tuple[float, float]) -> float:
    down, across = (np.fft.fftfreq(side) for side in power.shape)
    frequency = np.hypot(down[:, None], across[None])
    inside = (frequency >= 1 / periods[1]) & (frequency <= 1 / periods[0])
    return float(power[inside].sum())
