"""How well the photo's colors are kept, and what the controls of a pass cost, as tables.

python scripts/proofs/kept_colors.py

Hue and chroma are those of Oklab, of colors with a chroma of at least 0.04 in the photo and in the
result; a color is in sRGB's reach where the result has its chroma. Costs are of processor time on
one thread: of numpy in milliseconds a megapixel, of graphs in times of the pass without inputs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fst.benchmark.passes import untrained_style
from fst.inference.backends import RUNTIMES, installed
from fst.inference.controls import Controls, controlled
from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.inference.stylizer import Stylizer
from fst.nets.style_file import read_checked
from fst.pictures.image import to_array
from fst.pictures.kept_colors import LIGHTNESS, TO_LMS
from fst.system.machine import machine
from fst.system.paths import sample_photo

GRAYS = (30, 80, 128, 180, 230)
STYLES = ("udnie", "great_wave", "the_scream")
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png")
OF_OPPONENTS = np.array(
    [
        LIGHTNESS,
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
CHROMA = 0.04
HEIGHT, WIDTH = 768, 1024
REPETITIONS = 5
INPUTS = ("strength", "colors", "mask")


def main() -> None:
    print(machine())
    print("| under | hue turned, mean | most, in sRGB's reach | chroma kept | lightness off |")
    print("|---|---|---|---|---|")
    level = np.linspace(0, 255, 18).round().astype(np.uint8)
    chart = np.stack(np.meshgrid(level, level, level)).reshape(3, 1, -1)
    for gray in GRAYS:
        print(row(f"gray {gray}, {chart.shape[2]} colors", np.full_like(chart, gray), chart))
    for style in STYLES:
        stylizer = Stylizer(style)
        for name in PHOTOS:
            photo = to_array(Image.open(sample_photo(name)).convert("RGB"))
            print(row(f"{style}, {Path(name).stem}", stylizer.pixels(photo)[0], photo[0]))
    numpy_costs()
    graph_costs()


def row(what: str, stylized: np.ndarray, photo: np.ndarray) -> str:
    """stylized, photo (3, H, W) uint8 -> a line of the first table."""
    made = controlled(stylized[None], photo[None], Controls(keep_colors=1))[0]
    (light, a, b), (_, c, d), (wanted, _, _) = map(oklab, (made, photo, stylized))
    chroma, own = np.hypot(a, b), np.hypot(c, d)
    turned = np.degrees(np.arctan2(b, a) - np.arctan2(d, c))
    turned = np.abs((turned + 180) % 360 - 180)
    colored = (chroma > CHROMA) & (own > CHROMA)
    reached = colored & (chroma > own - 0.01)
    kept = (chroma[own > CHROMA] / own[own > CHROMA]).mean()
    off = np.abs(light - wanted).max()
    return (
        f"| {what} | {turned[colored].mean():.1f} | {turned[reached].max():.1f} | {kept:.0%} "
        f"| {off:.3f} |"
    )


def oklab(pixels: np.ndarray) -> np.ndarray:
    """(3, H, W) uint8 -> (3, N): lightness, a, b in double precision."""
    value = pixels.reshape(3, -1) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return OF_OPPONENTS @ np.cbrt(TO_LMS.astype(float) @ linear)


def numpy_costs() -> None:
    random = np.random.default_rng(0)
    photo, made = random.integers(0, 256, (2, 1, 3, HEIGHT, WIDTH), dtype=np.uint8)
    mask = random.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    asked = {
        "strength": (Controls(strength=0.5), None),
        "mask": (Controls(), mask),
        "colors": (Controls(keep_colors=1.0), None),
    }
    for name, (controls, own) in asked.items():
        seconds = median(lambda c=controls, m=own: controlled(made, photo, c, m))  # type: ignore[misc]
        print(f"numpy, {name}: {1e3 * seconds / (HEIGHT * WIDTH / 1e6):.0f} ms a megapixel")


def graph_costs() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (1, 3, HEIGHT, WIDTH), dtype=np.uint8)
    given = {
        "pixels": pixels,
        "strength": np.full(1, 0.5, np.float32),
        "colors": np.full(1, 0.5, np.float32),
        "mask": random.integers(0, 256, (1, 1, HEIGHT, WIDTH), dtype=np.uint8),
    }
    with tempfile.TemporaryDirectory() as folder:
        for width in (16, 32):
            card, data = read_checked(untrained_style(Path(folder), width))
            for name in filter(installed, RUNTIMES):
                runs = []
                for inputs in ((), ("strength", "mask"), INPUTS):
                    graph = onnx_graph(card, data, GraphOptions(inputs=inputs))
                    own = {key: given[key] for key in inputs}
                    backend = RUNTIMES[name](graph, threads=1)
                    runs.append(lambda b=backend, k=own: b(pixels, **k))
                plain, mixed, colored = in_turns(runs)
                print(
                    f"{name}, width {width}: strength,mask {mixed / plain:.2f}; "
                    f"{','.join(INPUTS)} {colored / plain:.2f} times the pass"
                )


def median(work: Callable[[], object]) -> float:
    return in_turns([work])[0]


def in_turns(works: list[Callable[[], object]]) -> list[float]:
    """The median seconds of processor time of each, after one call to warm up."""
    seconds: list[list[float]] = [[] for _ in works]
    for turn in range(1 + REPETITIONS):
        for work, own in zip(works, seconds, strict=True):
            start = time.process_time()
            work()
            if turn:
                own.append(time.process_time() - start)
    return [float(np.median(own)) for own in seconds]


if __name__ == "__main__":
    main()
