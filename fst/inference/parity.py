"""How far an exported graph is from the net it was made of, in levels of 255."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from fst.errors import FstError
from fst.inference.controls import Controls, controlled
from fst.nets.style_file import MIN_SIDE
from fst.nets.trained_strength import picture_share
from fst.system.installed import is_here

# batch, height, width: the least, odd ones, more than one picture
PARITY_SHAPES = ((1, MIN_SIDE, MIN_SIDE), (1, 17, 31), (2, 65, 48), (3, 33, 129), (1, 255, 339))

Run = Callable[..., np.ndarray]  # pixels (B, 3, H, W) uint8, and inputs by name -> the same
Inputs = dict[str, np.ndarray]  # by name


def measure_parity(
    eager: Run | None,
    run: Run,
    shapes: Sequence[tuple[int, int, int]] = PARITY_SHAPES,
    inputs: Sequence[str] = (),
    paintings: int = 1,
    at: Callable[[float, np.ndarray], np.ndarray] | None = None,
) -> dict[str, Any]:
    """The largest and mean difference between a graph and eager PyTorch, in levels of 255.

    ``shapes`` (batch, height, width) are those of the pixels that both are given. Without
    ``eager`` the graph is only run. A graph with further ``inputs`` is compared with ``eager``
    where they leave the picture as it is, and then, as ``controls_difference``, at a setting for
    each shape, with what numpy makes of that picture. A net that takes strengths makes another
    picture for each: ``at`` has them, and is compared with apart from the colors, which may move by
    levels for a rounding of the picture.
    """
    generator = np.random.default_rng(0)
    largest, total, count, controls = 0, 0.0, 0, 0
    for batch, height, width in shapes:
        noise = generator.random((batch, 3, height, width))
        pixels = ((noise * 0.3 + np.linspace(0, 1, width) * 0.7) * 255).astype(np.uint8)
        blend, neutral, setting = _settings(inputs, pixels, paintings, generator)
        got = run(pixels, **blend, **neutral)
        if got.shape != pixels.shape or got.dtype != np.uint8:
            raise FstError(
                f"the exported graph returned {got.shape} for {pixels.shape}; please report this "
                "with the versions of torch, onnxruntime and openvino"
            )
        if eager is not None:
            difference = np.abs(got.astype(int) - eager(pixels, **blend))
            largest = max(largest, int(difference.max()))
            total += float(difference.sum())
            count += difference.size
        if neutral:
            tried = [(got, setting)]
            if at is not None:
                whole = {**setting, "strength": neutral["strength"]}
                colorless = {k: neutral[k] if k == "colors" else v for k, v in setting.items()}
                weaker = at(float(setting["strength"][0]), pixels)
                tried = [(got, whole), (weaker, colorless)]
            for picture, asked in tried:
                made = run(pixels, **blend, **asked).astype(int)
                expected = _by_numpy(picture, pixels, asked, trained=at is not None)
                controls = max(controls, int(np.abs(made - expected).max()))
    told: dict[str, Any] = {"shapes": ["x".join(map(str, shape)) for shape in shapes]}
    if {*inputs} - {"styles"}:
        told["controls_difference"] = controls
    if eager is None:
        return told
    return {
        "max_difference": largest,
        "mean_difference": total / count,
        **told,
        **({"torch": version("torch")} if is_here("torch") else {}),
    }


def _settings(
    inputs: Sequence[str], pixels: np.ndarray, paintings: int, generator: np.random.Generator
) -> tuple[Inputs, Inputs, Inputs]:
    """The shares of paintings, the other inputs where they do nothing, and where they do a lot."""
    if not inputs:  # nothing is drawn, so that pixels are what they were before there were any
        return {}, {}, {}
    batch, _, height, width = pixels.shape
    mask = np.tile(generator.integers(0, 256, (1, 1, height, width), np.uint8), (batch, 1, 1, 1))
    strength, colors, shares = (
        generator.random(count, dtype=np.float32) for count in (1, 1, paintings)
    )
    blend = {"styles": shares}
    neutral = {"strength": np.ones_like(strength), "colors": np.zeros_like(colors)}
    neutral["mask"] = np.full_like(mask, 255)
    setting = {"strength": strength, "colors": colors, "mask": mask}

    def asked(every: Inputs) -> Inputs:
        return {name: every[name] for name in inputs if name in every}

    return asked(blend), asked(neutral), asked(setting)


def _by_numpy(
    stylized: np.ndarray, photo: np.ndarray, setting: Inputs, *, trained: bool
) -> np.ndarray:
    strength = float(setting["strength"][0]) if "strength" in setting else 1.0
    controls = Controls(
        strength=picture_share(strength) if trained else strength,
        keep_colors=float(setting["colors"][0]) if "colors" in setting else 0.0,
    )
    mask = setting["mask"][0, 0] if "mask" in setting else None
    return controlled(stylized, photo, controls, mask)


def in_levels(run: Run) -> Run:
    """A graph of float32 pixels and masks in 0 .. 1 -> the same function of levels in uint8."""

    def levels(pixels: np.ndarray, **inputs: np.ndarray) -> np.ndarray:
        given = {k: v / np.float32(255) if v.dtype == np.uint8 else v for k, v in inputs.items()}
        made = run(pixels / np.float32(255), **given)
        return np.rint(made * 255).astype(np.uint8)

    return levels
