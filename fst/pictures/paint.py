"""Our own painted styles, drawn by code: nobody's property, the same every time.

Each starts from one invented landscape (a sun over hills and water, another for every seed and
palette) and renders it with its own tools: strokes along a flow, leaded glass, carved lines, dots.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fst.errors import FstError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Palette:
    """Colors (RGB in [0, 1]) of sky from top to horizon, sun, hills from far to near, water."""

    sky: tuple[tuple[float, float, float], ...]
    sun: tuple[float, float, float]
    hills: tuple[tuple[float, float, float], ...]
    water: tuple[tuple[float, float, float], ...]


def _hex(*colors: str) -> tuple[tuple[float, float, float], ...]:
    return tuple(
        (int(c[:2], 16) / 255, int(c[2:4], 16) / 255, int(c[4:], 16) / 255) for c in colors
    )


DUSK = Palette(
    sky=_hex("12224f", "1f4f8f", "3f8fb0", "e8b04a"),
    sun=_hex("ffe27a")[0],
    hills=_hex("35607a", "274a5c", "1d6a55", "123a3a"),
    water=_hex("2f7fa8", "123a6a"),
)
GLASS = Palette(
    sky=_hex("1a3fa0", "2f78d0", "7a4fb8", "f0a030"),
    sun=_hex("ffd030")[0],
    hills=_hex("8a2fa0", "c02f4f", "1f8f5a", "0f5f4a"),
    water=_hex("1fa0b8", "103f90"),
)
PRINT = Palette(
    sky=_hex("e8dcc0", "e8d0a8", "e8c090", "e0a070"),
    sun=_hex("d04028")[0],
    hills=_hex("b0b8a8", "7f9a98", "4a7080", "203848"),
    water=_hex("9ab8b8", "406878"),
)
FIELD = Palette(
    sky=_hex("6fb0e0", "a8d0e8", "f0e0c0", "f8d8b0"),
    sun=_hex("fff4c0")[0],
    hills=_hex("90a8d0", "7fb070", "d0c050", "d06050"),
    water=_hex("70b8d0", "3f7fb0"),
)


def paint(name: str, *, size: int, seed: int = 0) -> Image.Image:
    """Paint the style ``name`` as a square RGB picture of ``size`` pixels (64 at least).

    The same name, size and seed give the same picture. Raises ``FstError`` for an unknown name.
    """
    if name not in STYLES:
        raise FstError(f"'{name}' is not a painted style; use one of {', '.join(STYLES)}")
    if size < 64:
        raise FstError(f"a painting of {size} px is too small; use 64 px or more")
    pixels = STYLES[name](size, np.random.default_rng([seed, sum(map(ord, name))]))
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


def smooth_noise(size: int, cells: int, rng: np.random.Generator, octaves: int = 1) -> Array:
    """(size, size) noise in about [-1, 1], ``cells`` waves across, finer octaves at half weight."""
    total = np.zeros((size, size))
    for octave in range(octaves):
        grid = rng.standard_normal((cells * 2**octave + 3,) * 2).astype(np.float32)
        layer = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
        total += np.asarray(layer, dtype=np.float64) / 2**octave
    return total / np.abs(total).max()


def landscape(size: int, palette: Palette, rng: np.random.Generator) -> tuple[Array, Array]:
    """The invented scene: (colors (size, size, 3) in [0, 1], region numbers (size, size)).

    Regions are 0 for the sky, 1 for the sun, 2 and up for the hills, the last for the water.
    """
    y, x = np.mgrid[0:size, 0:size] / size
    colors = _gradient(palette.sky, (y / 0.62).clip(0, 1))
    regions = np.zeros((size, size))
    sun_x, sun_y = rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.32)
    distance = np.hypot(x - sun_x, y - sun_y)
    glow = np.exp(-((distance / 0.22) ** 2))[..., None] * 0.75
    colors = colors * (1 - glow) + np.array(palette.sun) * glow
    colors[distance < 0.085] = palette.sun
    regions[distance < 0.085] = 1
    for number, hill in enumerate(palette.hills):
        base = 0.48 + 0.1 * number
        ridge = smooth_noise(size, 3 + number, rng, octaves=3)[0] * (0.13 - 0.015 * number)
        below = y > base + ridge[None, :]
        depth = ((y - base - ridge[None, :]) * 3).clip(0, 1)[..., None]
        shaded = np.array(hill) * (1.15 - 0.5 * depth)
        colors = np.where(below[..., None], shaded, colors)
        regions[below] = 2 + number
    shore = 0.86 + 0.03 * smooth_noise(size, 2, rng)[0]
    water = y > shore[None, :]
    waves = 0.5 + 0.5 * np.sin(90 * (y + 0.02 * np.sin(14 * x)))
    mirrored = _gradient(palette.water, (0.7 * waves + 2 * (y - 0.86)).clip(0, 1))
    colors = np.where(water[..., None], mirrored, colors)
    regions[water] = 2 + len(palette.hills)
    return colors.clip(0, 1), regions


def flowing_strokes(size: int, rng: np.random.Generator) -> Array:
    """Thick strokes of a loaded brush that follow a swirling field, large ones under small ones."""
    colors, regions = landscape(size, DUSK, rng)
    y, x = np.mgrid[0:size, 0:size] / size
    angle = 0.5 * smooth_noise(size, 3, rng)
    for _ in range(5):  # whirls in the sky
        cx, cy, turn = rng.uniform(0, 1), rng.uniform(0, 0.5), rng.choice([-1.0, 1.0])
        weight = np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / 0.02)) * (regions < 2)
        around = np.arctan2(y - cy, x - cx) + turn * math.pi / 2
        angle = np.where(weight > 0.2, around, angle)
    canvas = Image.fromarray((colors * 200).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for length, width, count in ((0.10, 0.016, 1500), (0.07, 0.010, 4500), (0.045, 0.006, 7000)):
        steps, pen = max(4, int(length * 60)), max(1, round(width * size))
        for px, py in rng.uniform(-0.08, 1, (count, 2)) * size:
            start = colors[max(0, int(py)), max(0, int(px))]
            light = 1 + 0.28 * rng.standard_normal()
            hue = 0.05 * rng.standard_normal(3)
            color = ((start * light + hue).clip(0, 1) * 255).astype(int)
            points = [(px, py)]
            for _ in range(steps):
                row, column = int(points[-1][1]) % size, int(points[-1][0]) % size
                step = length * size / steps
                turn = angle[row, column]
                points.append(
                    (points[-1][0] + step * math.cos(turn), points[-1][1] + step * math.sin(turn))
                )
            draw.line(points, fill=tuple(color), width=pen, joint="curve")
            ridge = [(a - pen * 0.25, b - pen * 0.3) for a, b in points[1:-1]]
            bright = tuple((color + (255 - color) * 0.25).astype(int))
            draw.line(ridge, fill=bright, width=max(1, pen // 4))
    return np.asarray(canvas, dtype=np.float64) / 255


def stained_glass(size: int, rng: np.random.Generator) -> Array:
    """Panes of colored glass between dark leads, each with its own streaks and light."""
    colors, _ = landscape(size, GLASS, rng)
    across = 15
    grid = (np.mgrid[0:across, 0:across].reshape(2, -1).T + 0.5) / across
    sites = (grid + rng.uniform(-0.42, 0.42, grid.shape) / across) * size
    first, second, nearest = _two_nearest(size, sites)
    cell = np.array([colors[min(int(a), size - 1), min(int(b), size - 1)] for a, b in sites])
    cell = cell.mean(1, keepdims=True) + 1.45 * (cell - cell.mean(1, keepdims=True))
    cell = cell * rng.uniform(0.75, 1.3, (len(cell), 1)) + 0.04 * rng.standard_normal(cell.shape)
    streaks = 1 + 0.16 * smooth_noise(size, 10, rng, octaves=3)
    bubbles = 1 + 0.05 * smooth_noise(size, 60, rng)
    edge = second - first
    lead = size / 110
    light = 0.82 + 0.3 * np.tanh(edge / (6 * lead))
    pane = cell[nearest] * (streaks * bubbles * light)[..., None]
    tone = np.array([0.07, 0.065, 0.08]) * (1 + 2.2 * (1 - edge / lead).clip(0, 1) ** 2)[..., None]
    blend = ((edge - lead) / 1.5).clip(0, 1)[..., None]
    return tone * (1 - blend) + pane * blend


def woodcut(size: int, rng: np.random.Generator) -> Array:
    """Black lines carved along the forms over flat tints of color, on cream paper."""
    colors, regions = landscape(size, PRINT, rng)
    y, x = np.mgrid[0:size, 0:size] / size
    tone = colors.mean(-1)
    warp = 0.035 * smooth_noise(size, 4, rng, octaves=2)
    sun = regions == 1
    sun_y, sun_x = (np.argwhere(sun).mean(0) / size) if sun.any() else (0.25, 0.5)
    rings = np.hypot(x - sun_x, y - sun_y)
    phase = np.where(regions < 2, rings + 0.4 * warp, y + (0.35 + 0.12 * regions) * x + warp)
    lines = 0.5 + 0.5 * np.cos(2 * math.pi * 46 * phase)
    grain = 0.10 * smooth_noise(size, 90, rng)
    darkness = (1.0 - tone) * 1.05 - 0.08 + 0.1 * smooth_noise(size, 6, rng)
    ink = ((darkness + grain - lines) * 9).clip(0, 1)
    outline = np.zeros_like(tone)
    for axis in (0, 1):
        change = np.abs(np.diff(regions, axis=axis, append=regions.take([-1], axis=axis))) > 0
        reach = max(1, size // 256)
        for shift in range(-reach, reach + 1):
            outline = np.maximum(outline, np.roll(change, shift, axis=1 - axis))
            outline = np.maximum(outline, np.roll(change, shift, axis=axis))
    paper = np.array([0.94, 0.89, 0.78]) * (1 + 0.02 * smooth_noise(size, 120, rng))[..., None]
    tints = np.stack([np.roll(colors[..., c], size // 300, axis=1) for c in range(3)], -1)
    flat = (tints * 7).round() / 7
    printed = paper * (0.25 + 0.75 * flat)
    black = np.array([0.07, 0.07, 0.10])
    cover = np.maximum(ink * (regions != 1), outline)[..., None]
    return printed * (1 - cover) + black * cover


def dots(size: int, rng: np.random.Generator) -> Array:
    """Small dabs of pure color side by side that mix in the eye."""
    colors, _ = landscape(size, FIELD, rng)
    canvas = Image.new("RGB", (size, size), (236, 226, 205))
    draw = ImageDraw.Draw(canvas)
    for radius, count in ((0.0085, 6000), (0.006, 15000), (0.0042, 16000)):
        reach = max(1.0, radius * size)
        for px, py in rng.random((count, 2)) * size:
            color = colors[int(py), int(px)]
            mean = color.mean()
            vivid = mean + 1.5 * (color - mean) + 0.13 * rng.standard_normal(3)
            if rng.random() < 0.14:  # a complement here and there
                vivid = 1.05 * mean - 0.8 * (color - mean)
            fill = tuple((np.clip(vivid, 0, 1) * 255).astype(int))
            wide = reach * rng.uniform(0.8, 1.3)
            draw.ellipse((px - wide, py - reach, px + wide, py + reach), fill=fill)
    return np.asarray(canvas, dtype=np.float64) / 255


STYLES: dict[str, Callable[[int, np.random.Generator], Array]] = {
    "flowing_strokes": flowing_strokes,
    "stained_glass": stained_glass,
    "woodcut": woodcut,
    "dots": dots,
}


def _gradient(stops: tuple[tuple[float, float, float], ...], where: Array) -> Array:
    """Colors along ``stops`` at ``where`` in [0, 1]."""
    places = np.linspace(0, 1, len(stops))
    table = np.array(stops)
    return np.stack([np.interp(where, places, table[:, c]) for c in range(3)], -1)


def _two_nearest(size: int, sites: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Distances in pixels to the nearest and second nearest site, and the nearest's number."""
    first, second = np.empty((size, size)), np.empty((size, size))
    nearest = np.empty((size, size), dtype=np.int64)
    columns = np.arange(size)[:, None] - sites[None, :, 1]
    for row in range(size):
        distance = np.hypot(columns, row - sites[None, :, 0])
        two = np.partition(distance, 1, axis=1)
        first[row], second[row] = two[:, 0], two[:, 1]
        nearest[row] = distance.argmin(1)
    return first, second, nearest
