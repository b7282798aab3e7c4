"""The colors of a photo under the light and dark of a picture made from it.

In Oklab (Björn Ottosson 2020, https://bottosson.github.io/posts/oklab): the lightness of the
picture, and the hue and chroma of the photo as far as sRGB has them at that lightness.
"""

from __future__ import annotations

import numpy as np

# linear sRGB -> cone responses; their cube roots -> lightness; cone responses -> linear sRGB
TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
LIGHTNESS = np.array([0.2104542553, 0.7936177850, -0.0040720468], np.float32)
FROM_LMS = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ],
    np.float32,
)
LEAST = 1e-6  # of a distance to the gray, to divide by


def _linear_levels() -> np.ndarray:
    level = np.arange(256) / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


# (256,) float32: what each 8-bit level of sRGB is in linear light, 0 .. 1 (IEC 61966-2-1)
LINEAR_LEVELS = _linear_levels()


def colors_kept(stylized: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """stylized, photo (3, N) uint8 sRGB -> (3, N) float32 in 0 .. 255, sRGB: a picture with the
    lightness of the one and the colors of the other.

    Equal a and b mean that the cube roots of the cone responses all move by as much as the
    lightness does. Where sRGB has no such color, it is mixed in linear light with the gray of its
    lightness, just enough: hue and lightness stay nearly what they were, where clipping each
    channel would turn the hue.
    """
    wanted = LIGHTNESS @ _roots(LINEAR_LEVELS[stylized])
    roots = _roots(LINEAR_LEVELS[photo])
    roots += wanted - LIGHTNESS @ roots
    color = FROM_LMS @ (roots * roots * roots)
    gray = np.clip(wanted * wanted * wanted, 0, 1)
    above = (1 - gray) / np.maximum(color.max(axis=0) - gray, LEAST)
    below = gray / np.maximum(gray - color.min(axis=0), LEAST)
    color -= gray
    color *= np.minimum(np.minimum(above, below), 1)
    color += gray
    return 255 * _curved(color)


def _roots(linear: np.ndarray) -> np.ndarray:
    """Linear (3, N) -> cube roots of the cone responses (3, N)."""
    return _power(TO_LMS @ linear, 1 / 3)


def _curved(linear: np.ndarray) -> np.ndarray:
    """Linear light -> sRGB, both in 0 .. 1; what float32 leaves outside is brought back."""
    np.clip(linear, 0, 1, out=linear)
    straight = 12.92 * linear
    curved = _power(linear, 1 / 2.4)
    curved *= np.float32(1.055)
    curved -= np.float32(0.055)
    return np.where(straight <= 0.04045, straight, curved)


def _power(base: np.ndarray, exponent: float) -> np.ndarray:
    """In place, for 0 .. 1; a quarter of the time of ``**`` or ``np.cbrt`` in float32."""
    np.maximum(base, LEAST * LEAST, out=base)  # of which there is a logarithm
    np.log(base, out=base)
    base *= np.float32(exponent)
    return np.exp(base, out=base)
