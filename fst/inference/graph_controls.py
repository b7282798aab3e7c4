"""The controls of a pass as nodes of an ONNX graph: what ``fst.inference.controls`` is in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fst.inference.onnx_proto import element_type
from fst.pictures.kept_colors import FROM_LMS, LEAST, LIGHTNESS, LINEAR_LEVELS, TO_LMS

if TYPE_CHECKING:
    from fst.inference.onnx_graph import Writer

# what a graph may take after the photo, in this order
INPUTS = {
    "strength": "float32 (1): 0 the photo .. 1 the picture",
    "colors": "float32 (1): 0 the picture's .. 1 the photo's, in Oklab",
    "mask": "uint8 (batch, 1, height, width): 0 the photo .. 255 the picture",
    "styles": "float32 (paintings): weights 0 .. 1 in the order of the paintings",
}
LEAST_SUM = 1e-6  # of the shares of paintings, to divide by
FLOAT = element_type(np.dtype(np.float32))


def controlled(
    to: Writer, stylized: str, photo: str, inputs: tuple[str, ...], *, trained: bool = False
) -> str:
    """stylized (B, 3, H, W) float32 of whole levels, photo uint8 -> the mix of the two, float32.

    ``trained`` says that the net itself took the strength, which then mixes little of the photo.

    The picture was rounded before, as numpy has it: where sRGB ends, the colors of a dark picture
    move by several levels for half a one.
    """
    y, x = stylized, to.node("Cast", photo, to=FLOAT)
    one = to.number("one", 1)
    if "colors" in inputs:
        part = clipped(to, "colors")
        rest = to.node("Sub", one, part)
        colors = colors_kept(to, y, photo)
        y = to.node("Add", to.node("Mul", y, rest), to.node("Mul", colors, part))
    share: str | None = clipped(to, "strength") if "strength" in inputs else None
    if trained and share is not None:  # picture_share
        share = to.node("Mul", share, to.node("Sub", to.number("two", 2), share))
    if "mask" in inputs:
        mask = "mask"
        if not to.options.floats:
            mask = to.node("Div", to.node("Cast", "mask", to=FLOAT), to.number("white", 255))
        share = mask if share is None else to.node("Mul", mask, share)
    if share is None:
        return y
    rest = to.node("Sub", one, share)
    return to.node("Add", to.node("Mul", y, share), to.node("Mul", x, rest))


def clipped(to: Writer, name: str) -> str:
    """An input of shares, brought to 0 .. 1."""
    return to.node("Max", to.node("Min", name, to.number("one", 1)), to.number("zero", 0))


def shares_of_ends(to: Writer) -> str:
    """The input ``strength`` as the shares of a trained net's two ends."""
    strength = clipped(to, "strength")
    rest = to.node("Sub", to.number("one", 1), strength)
    return to.node("Concat", rest, strength, axis=0)


def shares_of_paintings(to: Writer) -> str:
    """The input ``styles``, divided by its sum."""
    shares = clipped(to, "styles")
    total = to.node("Max", to.node("ReduceSum", shares), to.number("least_sum", LEAST_SUM))
    return to.node("Div", shares, total)


def colors_kept(to: Writer, stylized: str, photo: str) -> str:
    """``fst.pictures.kept_colors.colors_kept``, of levels in float32 and in uint8.

    Powers are taken through logarithms, which runtimes compute for many numbers at a time.
    """
    # a logarithm of 0 is infinite
    levels = np.maximum(LINEAR_LEVELS, np.float32(LEAST**2))
    table = to.constant("linear_levels", levels)

    def roots(pixels: str) -> str:
        index = to.node("Cast", pixels, to=element_type(np.dtype(np.int32)))
        lms = product(to, "to_lms", TO_LMS, to.node("Gather", table, index))
        return power(to, lms, "third", 1 / 3)

    lightness = product(to, "lightness", LIGHTNESS[None], roots(stylized))
    # the photo's roots less its lightness
    chroma = product(to, "chroma", np.eye(3, dtype=np.float32) - LIGHTNESS, roots(photo))
    lms = to.node("Add", chroma, lightness)
    color = product(to, "from_lms", FROM_LMS, cube(to, lms))
    one, least = to.number("one", 1), to.number("least", LEAST)
    gray = to.node("Min", cube(to, lightness), one)
    color = to.node("Sub", color, gray)
    most, fewest = reduced(to, "ReduceMax", color), reduced(to, "ReduceMin", color)
    above = to.node("Div", to.node("Sub", one, gray), to.node("Max", most, least))
    below = to.node("Div", gray, to.node("Max", to.node("Neg", fewest), least))
    share = to.node("Min", to.node("Min", above, below), one)
    color = to.node("Add", to.node("Mul", color, share), gray)
    color = to.node("Max", color, to.number("darkest", LEAST**2))
    curved = power(to, color, "curve", 1 / 2.4)
    curved = to.node("Mul", curved, to.number("curve_scale", 255 * 1.055))
    curved = to.node("Sub", curved, to.number("curve_shift", 255 * 0.055))
    straight = to.node("Mul", color, to.number("slope", 255 * 12.92))
    straight = to.node("Min", straight, to.number("bend", 255 * 12.92 * 0.0031308))
    return to.node("Max", curved, straight)


def product(to: Writer, name: str, matrix: np.ndarray, x: str) -> str:
    """A matrix times the channels of each pixel."""
    return to.node("Conv", x, to.constant(name, matrix.astype(np.float32)[..., None, None]))


def power(to: Writer, x: str, name: str, exponent: float) -> str:
    """Of positive numbers, through their logarithms."""
    return to.node("Exp", to.node("Mul", to.node("Log", x), to.number(name, exponent)))


def cube(to: Writer, x: str) -> str:
    """The third power."""
    return to.node("Mul", to.node("Mul", x, x), x)


def reduced(to: Writer, kind: str, x: str) -> str:
    """Over the channels; opset 18 has the axes as an input."""
    if to.options.opset < 18:
        return to.node(kind, x, axes=[1])
    return to.node(kind, x, to.constant("channels", np.array([1], np.int64)))
