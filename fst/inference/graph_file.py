"""One file is one exported graph: uint8 pixels in, uint8 pixels out, any batch, height and width.

``.pt2`` is torch.export's program or, of the format ``aoti``, what AOTInductor compiled of it;
``.onnx`` runs in ONNX Runtime and its kin. All carry the style's card and the parity that was
measured on the file itself. torch is imported for ``.pt2`` and for the parity; without it an
``.onnx`` file is written, run, and compared with nothing. ``fst.inference.coreml_file`` makes the
one format that is a folder.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fst.errors import FstError, pip_install
from fst.inference.backends import RUNTIMES, installed
from fst.inference.graph_controls import INPUTS
from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.inference.parity import PARITY_SHAPES, Run, in_levels, measure_parity
from fst.inference.targets import Target, require_runnable, suited
from fst.nets.blend import read_style
from fst.nets.style_card import Card, read_cards
from fst.nets.style_file import built, load_style, load_styles, read_checked, read_whole
from fst.nets.trained_strength import takes_strength
from fst.system.files import write_whole
from fst.system.installed import is_here, require_torch
from fst.system.machine import cpu_threads

if TYPE_CHECKING:
    import numpy as np

    from fst.inference.controlled_net import ControlledNet
    from fst.inference.pixel_net import PixelNet

# format -> how its files end
FORMATS = {"pt2": ".pt2", "onnx": ".onnx", "aoti": ".aoti.pt2", "coreml": ".mlpackage"}


def export_graph(
    style: Path,
    card: Card,
    path: Path,
    *,
    file_format: str,
    options: GraphOptions | None = None,
    target: Target | None = None,
) -> dict[str, Any]:
    """Write the graph of a style, run the written file at several odd sizes, return the parity.

    The file appears only if no pixel is off by more than 1 of 255, or 2 in half precision, from
    eager PyTorch in float32; else ``FstError`` is raised and nothing is left behind. Where torch is
    not installed, ``max_difference`` is missing from what is returned. A graph that takes controls
    must do with them what numpy does, within 1 of 255. If ``styles`` is one, ``style`` is a file of
    several paintings, and ``card`` has the name and the net that they share. ``target`` is who is
    to run an ``.onnx`` file: what would fail there is refused (``fst.inference.targets``).
    """
    options = options or GraphOptions()
    if target is not None:
        options = suited(target, options)
    assert file_format in FORMATS
    in_torch = file_format in ("pt2", "aoti")
    if in_torch and options != GraphOptions(half=options.half, inputs=options.inputs):
        raise FstError("--opset, --size and --floats are for --format onnx; leave them out")
    for word, given in ((f"--format {file_format}", in_torch), ("--half", options.half)):
        if given:
            require_torch(word)
    if file_format == "aoti":
        _require_for_aoti(options)
    cards = read_cards(style) if "styles" in options.inputs else [card]
    trained = "strength" in options.inputs and takes_strength(card)
    at = partial(_at_strength, style) if trained else None
    of_pass = tuple(name for name in options.inputs if name == "styles")
    eager = eager_pass(style, of_pass)
    written = eager_pass(style, of_pass, half=True) if options.half else None  # in torch
    most = 2 if options.half else 1
    shapes = [(1, *options.size)] if options.size else PARITY_SHAPES
    if in_torch:
        pack, load = _in_torch(style, options, file_format)
    else:
        pack, load = _onnx(style, options, target)

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
    data = pack(metadata_of(cards, options.inputs))

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


def _told(card: Card) -> dict[str, Any]:
    return {key: value for key, value in asdict(card).items() if key != "thumbnail"}


def metadata_of(cards: Sequence[Card], inputs: Sequence[str] = ()) -> dict[str, str]:
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


def eager_pass(style: Path, inputs: Sequence[str] = (), *, half: bool = False) -> Run | None:
    """The style's pass in PyTorch on the CPU, in float32 or ``half``; None where torch is not."""
    return _run_of(_pixel_net(style, inputs, half=half)) if is_here("torch") else None


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


def _onnx(
    style: Path, options: GraphOptions, target: Target | None
) -> tuple[Pack, Callable[[bytes], Run]]:
    if "styles" in options.inputs:
        cards, data = read_whole(style)
        card = Card(name=style.stem, net=cards[0].net)
    else:
        card, data = read_checked(style)

    def load(graph: bytes) -> Run:
        run = load_onnx(graph)
        return in_levels(run) if options.floats else run

    def pack(metadata: dict[str, str]) -> bytes:
        graph = onnx_graph(card, data, options, metadata)
        if target is not None:
            require_runnable(target, graph)
        return graph

    return pack, load


def _in_torch(
    style: Path, options: GraphOptions, file_format: str
) -> tuple[Pack, Callable[[bytes], Run]]:
    from fst.inference import pt2_file

    pixel_net = _pixel_net(style, options.inputs, half=options.half)
    if file_format == "aoti":
        return pt2_file.pack_aoti(pixel_net), pt2_file.load_aoti
    return pt2_file.pack_pt2(pixel_net), pt2_file.load_pt2


def _require_for_aoti(options: GraphOptions) -> None:
    """Raise ``FstError`` where AOTInductor could not compile what is asked for."""
    if options.half:
        raise FstError(
            "--format aoti compiles for this processor, and --half is for GPUs; leave it out"
        )
    compiler = os.environ.get("CXX", "g++")  # as torch has it
    if shutil.which(compiler) is None:
        raise FstError(
            f"--format aoti needs a C++ compiler, and there is no {compiler} here; install g++, or "
            "set CXX to another one"
        )
