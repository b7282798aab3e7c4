"""One file is one exported graph: uint8 pixels in, uint8 pixels out, any batch, height and width.

``.pt2`` is torch.export's program, ``.onnx`` runs in ONNX Runtime and its kin. Both carry the
style's card and the parity that was measured on the file itself. torch is imported for ``.pt2`` and
for the parity; without it an ``.onnx`` file is written, run, and compared with nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fst.errors import FstError, pip_install
from fst.inference.backends import RUNTIMES, installed
from fst.inference.controls import Controls, controlled
from fst.inference.graph_controls import INPUTS
from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.nets.blend import read_style
from fst.nets.style_card import Card, read_cards
from fst.nets.style_file import MIN_SIDE, built, load_style, load_styles, read_checked, read_whole
from fst.nets.trained_strength import picture_share, takes_strength
from fst.system.files import write_whole
from fst.system.installed import is_here, require_torch
from fst.system.machine import cpu_threads

if TYPE_CHECKING:
    from fst.inference.controlled_net import ControlledNet
    from fst.inference.pixel_net import PixelNet

FORMATS = ("pt2", "onnx")
# batch, height, width: the least, odd ones, more than one picture
PARITY_SHAPES = ((1, MIN_SIDE, MIN_SIDE), (1, 17, 31), (2, 65, 48), (3, 33, 129), (1, 255, 339))

Run = Callable[..., np.ndarray]  # pixels (B, 3, H, W) uint8, and inputs by name -> the same


def export_graph(
    style: Path, card: Card, path: Path, *, file_format: str, options: GraphOptions | None = None
) -> dict[str, Any]:
    """Write the graph of a style, run the written file at several odd sizes, return the parity.

    The file appears only if no pixel is off by more than 1 of 255, or 2 in half precision, from
    eager PyTorch in float32; else ``FstError`` is raised and nothing is left behind. Where torch is
    not installed, ``max_difference`` is missing from what is returned. A graph that takes controls
    must do with them what numpy does, within 1 of 255. If ``styles`` is one, ``style`` is a file of
    several paintings, and ``card`` has the name and the net that they share.
    """
    options = options or GraphOptions()
    if file_format not in FORMATS:
        raise FstError(f"--format {file_format} is unknown; use one of {', '.join(FORMATS)}")
    if file_format == "pt2" and options != GraphOptions(half=options.half, inputs=options.inputs):
        raise FstError("--opset and --size are for --format onnx; leave them out")
    for word, given in (("--format pt2", file_format == "pt2"), ("--half", options.half)):
        if given:
            require_torch(word)
    cards = read_cards(style) if "styles" in options.inputs else [card]
    trained = "strength" in options.inputs and takes_strength(card)
    at = partial(_at_strength, style) if trained else None
    of_pass = tuple(name for name in options.inputs if name == "styles")
    eager = _eager(style, of_pass) if is_here("torch") else None
    written = _eager(style, of_pass, half=True) if options.half else None  # in torch
    most = 2 if options.half else 1
    shapes = [(1, *options.size)] if options.size else PARITY_SHAPES
    pack, load = _pt2(style, options) if file_format == "pt2" else _onnx(style, options)

    def parity_of(data: bytes) -> dict[str, Any]:
        parity = measure_parity(eager, load(data), shapes, options.inputs, len(cards), at)
        if file_format == "onnx" and written is not None:
            # ONNX Runtime computes in float32 on a CPU, which says nothing of float16
            rounded = measure_parity(eager, written, shapes, of_pass, len(cards))
            parity = max(parity, rounded, key=lambda one: one["max_difference"])
        return parity

    parity = parity_of(pack({}))
    if eager is not None:
        card.export[file_format] = parity
    data = pack(_metadata(cards, options.inputs))

    def check(file: Path) -> None:
        again = parity_of(file.read_bytes())
        worst = max(one.get("max_difference", 0) for one in (again, parity))
        controls = max(one.get("controls_difference", 0) for one in (again, parity))
        if controls > (most if trained else 1):  # which compares nets of two precisions
            raise FstError(
                f"{path} is not written: its controls are off by {controls} of 255; please report "
                "this with the versions of torch, onnxruntime and openvino"
            )
        if worst > most:
            cure = "please report this with your torch version"
            if options.half:  # where hatching or dots are decided by a bit, rounding moves them
                cure = f"float16 is too coarse for {card.name}: leave out --half"
            raise FstError(
                f"{path} is not written: a pixel of the exported graph is off by {worst} of "
                f"255; {cure}"
            )

    write_whole(path, data, check=check)
    return parity


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
        "torch": version("torch"),
    }


Inputs = dict[str, np.ndarray]  # by name


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


def _told(card: Card) -> dict[str, Any]:
    return {key: value for key, value in asdict(card).items() if key != "thumbnail"}


def _metadata(cards: Sequence[Card], inputs: Sequence[str]) -> dict[str, str]:
    """What a file says of its styles, and of the inputs beside the photo, if there are any."""
    if "styles" not in inputs:
        said = {"card": json.dumps(_told(cards[0]), ensure_ascii=False)}
    else:
        said = {"cards": json.dumps([*map(_told, cards)], ensure_ascii=False)}
        said["styles"] = json.dumps([card.name for card in cards], ensure_ascii=False)
    if inputs:
        said["inputs"] = json.dumps({name: INPUTS[name] for name in inputs})
    return said


def load_onnx(data: bytes) -> Run:
    """The bytes of an ``.onnx`` file -> a function of pixels, in the runtime that is installed."""
    for name in ("onnx", "openvino"):
        if installed(name):
            return RUNTIMES[name](data, threads=cpu_threads())
    raise FstError(f"--format onnx needs onnxruntime; {pip_install('onnx')}")


def _eager(style: Path, inputs: Sequence[str], *, half: bool = False) -> Run:
    """The style's pass in PyTorch on the CPU, in float32 or ``half``."""
    return _run_of(_pixel_net(style, inputs, half=half))


def _run_of(pixel_net: PixelNet | ControlledNet) -> Run:
    import torch

    def run(pixels: np.ndarray, **given: np.ndarray) -> np.ndarray:
        tensors = {name: torch.from_numpy(value) for name, value in given.items()}
        with torch.inference_mode():
            return pixel_net(torch.from_numpy(pixels), **tensors).numpy()

    return run


def _at_strength(style: Path, strength: float, pixels: np.ndarray) -> np.ndarray:
    """What a net that takes strengths makes of pixels at one, before the photo is mixed in."""
    card, data = read_style(style, strength=strength)
    if not is_here("torch"):
        return load_onnx(onnx_graph(card, data))(pixels)
    from fst.inference.pixel_net import PixelNet

    return _run_of(PixelNet(built(style, data, card.net)))(pixels)


def _pixel_net(style: Path, inputs: Sequence[str], *, half: bool) -> PixelNet | ControlledNet:
    from fst.inference.controlled_net import ControlledNet
    from fst.inference.pixel_net import PixelNet

    net = (load_styles(style) if "styles" in inputs else load_style(style))[0]
    net = net.half() if half else net
    return (ControlledNet(net, inputs) if inputs else PixelNet(net)).eval()


Pack = Callable[[dict[str, str]], bytes]  # metadata -> a file


def _onnx(style: Path, options: GraphOptions) -> tuple[Pack, Callable[[bytes], Run]]:
    if "styles" in options.inputs:
        cards, data = read_whole(style)
        card = Card(name=style.stem, net=cards[0].net)
    else:
        card, data = read_checked(style)
    return (lambda metadata: onnx_graph(card, data, options, metadata)), load_onnx


def _pt2(style: Path, options: GraphOptions) -> tuple[Pack, Callable[[bytes], Run]]:
    from fst.inference import pt2_file

    pixel_net = _pixel_net(style, options.inputs, half=options.half)
    return pt2_file.pack_pt2(pixel_net), pt2_file.load_pt2
