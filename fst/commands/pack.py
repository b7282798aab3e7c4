"""fst pack STYLE -o FOLDER: what a model hub wants beside a style file; nothing is uploaded.

fst pack runs/painting/painting.safetensors -o painting-hub --license mit --author 'A. Name'
"""

from __future__ import annotations

import argparse
import sys

from fst.inference.hub_folder import Wishes, write_hub_folder
from fst.nets.model_card import KNOWN_LICENSES
from fst.nets.style_card import TRUST_HELP, cards_trusted
from fst.nets.style_names import find_style
from fst.system.console import Parser, shown_in_line
from fst.system.paths import user_path


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    folder = user_path(options.output)
    wishes = Wishes(
        license_id=options.license,
        license_file=user_path(options.license_file) if options.license_file else None,
        author=options.author,
        photo=user_path(options.photo) if options.photo else None,
        onnx=options.onnx,
    )

    def say(line: str) -> None:
        print(f"fst pack: {shown_in_line(line)}", file=sys.stderr)

    with cards_trusted(options.trust_card):
        names = write_hub_folder(find_style(options.style), folder, wishes, say)
    print(f"{shown_in_line(folder)}: {shown_in_line(', '.join(names))}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="fst pack",
        description="A folder for a model hub: the style, its model card, license and pictures. "
        "Nothing is uploaded, and the painting is not part of it.",
    )
    parser.add_argument("style", metavar="STYLE", help="name or style file")
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="a new folder")
    parser.add_argument(
        "--license",
        metavar="ID",
        help=f"of the weights: {', '.join(KNOWN_LICENSES)} or another; a shipped style has mit",
    )
    parser.add_argument("--license-file", metavar="FILE", help="its text, for all but mit")
    parser.add_argument("--author", metavar="NAME", help="who gives the weights, for mit")
    parser.add_argument(
        "--photo", metavar="FILE", help="what the example is made of; default a free photo"
    )
    parser.add_argument("--onnx", action="store_true", help="with the style as an ONNX graph")
    parser.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
    return parser
