"""fst export STYLE --format pt2|onnx|aoti|coreml -o FILE: a style as one graph, proved on the spot.

fst export great_wave --format onnx -o great_wave.onnx
fst export great_wave --for opencv --size 480x640
fst export great_wave udnie --format web -o page   # `fst page` for any file server
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fst.commands.export_web import export_web
from fst.errors import FstError
from fst.inference.graph_controls import INPUTS
from fst.inference.graph_file import FORMATS, export_graph
from fst.inference.onnx_graph import LEAST_OPSET, OPSET, GraphOptions
from fst.inference.targets import TARGETS, Target, suited
from fst.nets.blend import card_of_several
from fst.nets.style_card import TRUST_HELP, Card, cards_trusted, read_card
from fst.nets.style_file import MIN_SIDE
from fst.nets.style_names import find_file, find_style, style_label
from fst.system.console import Parser, shown_in_line
from fst.system.paths import user_path

WEB = "web"  # a folder of many files, which are not proved here


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    with cards_trusted(options.trust_card):
        return _export(options)


def _export(options: argparse.Namespace) -> int:
    if options.format == WEB and options.target is None:
        return export_web(options)
    if len(options.style) > 1:
        raise FstError(f"{len(options.style)} styles are for --format {WEB}; give one")
    (options.style,) = options.style
    inputs = _inputs(options.inputs)
    if "styles" in inputs:
        style = find_file(options.style)
        card = card_of_several(style)
    else:
        style = find_style(options.style)
        card = read_card(style)
    file_format, target = _format(options)
    ending = FORMATS[file_format]
    suffix = ending[ending.rindex(".") :]
    default = f"{style_label(options.style, style)}{ending}"
    path = user_path(options.output or default)
    if path.suffix != suffix:
        raise FstError(f"-o {path} does not end in {suffix}, the suffix of --format {file_format}")
    if path.exists() and not options.force:
        raise FstError(f"{path} exists already; use --force to replace it, or -o elsewhere")
    graph = GraphOptions(
        half=options.half,
        opset=options.opset or (target.opset if target else OPSET),
        size=_size(options.size),
        inputs=inputs,
        floats=options.floats,
    )
    parity, size = _write(style, card, path, file_format, graph, target)
    if file_format == "coreml":
        kind = "an RGB image of {}x{} px to the same".format(*reversed(graph.size or (0, 0)))
    else:
        floats = options.floats or (target is not None and suited(target, graph).floats)
        kind = "float32 in 0 .. 1" if floats else "uint8"
        kind += " (batch, 3, height, width), RGB"
    print(f"{shown_in_line(path)} ({size / 1e6:.1f} MB): {kind}")
    for name in inputs:
        print(f"  {name:<9} {INPUTS[name]}")
    at = ", ".join(parity["shapes"])
    if "max_difference" in parity:
        other = "eager PyTorch" if "torch" in parity else "its ONNX graph"
        print(
            f"parity with {other} at {at}: largest difference {parity['max_difference']} of "
            f"255, mean {parity['mean_difference']:.5f}"
        )
    else:
        print(f"runs at {at}; not compared with PyTorch, which is not installed here")
    if "controls_difference" in parity:
        print(f"its controls are those of Stylizer within {parity['controls_difference']} of 255")
    return 0


def _format(options: argparse.Namespace) -> tuple[str, Target | None]:
    """The format that is asked for, by itself or by who is to run it."""
    if options.target is None:
        if options.format is None:
            raise FstError(
                f"say which file is wanted: --format {'|'.join([*FORMATS, WEB])}, or "
                f"--for {'|'.join(TARGETS)}"
            )
        return options.format, None
    target = TARGETS[options.target]
    if options.format not in (None, target.file_format):
        raise FstError(
            f"{target.title} does not run what --format {options.format} writes; leave --format "
            f"out, --for {options.target} is --format {target.file_format}"
        )
    return target.file_format, target


def _write(
    style: Path,
    card: Card,
    path: Path,
    file_format: str,
    graph: GraphOptions,
    target: Target | None,
) -> tuple[dict[str, Any], int]:
    """Write the file, or the folder; its parity and its bytes."""
    if file_format != "coreml":
        parity = export_graph(
            style, card, path, file_format=file_format, options=graph, target=target
        )
        return parity, path.stat().st_size
    from fst.inference.coreml_file import export_coreml, package_bytes

    parity = export_coreml(style, card, path, graph)
    return parity, package_bytes(path)


def _inputs(text: str | None) -> tuple[str, ...]:
    words = [] if text is None else [word.strip() for word in text.split(",")]
    for word in words:
        if word not in INPUTS:
            raise FstError(f"--inputs {word} is unknown; use some of {','.join(INPUTS)}")
    return tuple(name for name in INPUTS if name in words)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, x, width = text.lower().partition("x")
    if not (x and height.isdecimal() and width.isdecimal()):
        raise FstError(f"--size {text} is not HEIGHTxWIDTH in pixels, for instance --size 480x640")
    if min(int(height), int(width)) < MIN_SIDE:
        raise FstError(f"--size {text} is smaller than {MIN_SIDE} px a side; give a larger one")
    return int(height), int(width)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="fst export", description="Write a style as one graph from pixels to pixels."
    )
    parser.add_argument("style", nargs="+", metavar="STYLE", help="name or style file")
    parser.add_argument(
        "--format", choices=[*FORMATS, WEB], help=f"{WEB} is a page of one or more styles, a folder"
    )
    parser.add_argument(
        "--for",
        dest="target",
        choices=TARGETS,
        help="who is to run it: what that needs is chosen, and what would fail there is refused",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="default STYLE.FORMAT here")
    parser.add_argument(
        "--half", action="store_true", help="in float16, for GPUs: within 2 of 255 of float32"
    )
    parser.add_argument(
        "--opset",
        type=int,
        help=f"of ONNX, from {LEAST_OPSET}; default {OPSET}",
    )
    parser.add_argument(
        "--size",
        metavar="HxW",
        help="ONNX for one photo of this size alone, without computed shapes: OpenCV 4 needs it, "
        "and --format coreml",
    )
    parser.add_argument(
        "--floats",
        action="store_true",
        help="ONNX with pixels as float32 in 0 .. 1 in place of uint8, as textures have them",
    )
    parser.add_argument(
        "--inputs",
        metavar="NAMES",
        help=f"what the graph takes beside the photo: some of {','.join(INPUTS)}; styles needs a "
        "file of several paintings, such as base",
    )
    parser.add_argument(
        "--no-webgpu", action="store_true", help=f"{WEB} without WebGPU: WebAssembly alone"
    )
    parser.add_argument(
        "--runtime",
        metavar="FOLDER",
        help=f"{WEB}: of the npm package onnxruntime-web; default as `fst page` has it",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
    return parser
