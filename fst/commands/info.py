"""fst info STYLE: a style's card, for people or, with --json, for machines."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from fst.nets.style_card import read_card
from fst.nets.style_names import find_style
from fst.system.console import flat


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="fst info", description="Show a style's card.")
    parser.add_argument("style", metavar="STYLE", help="name or style file")
    parser.add_argument("--json", action="store_true", help="print the card as JSON")
    options = parser.parse_args(argv)
    path = find_style(options.style)
    card = asdict(read_card(path))
    if options.json:
        print(json.dumps(card, indent=1, ensure_ascii=False))
        return 0
    print(f"{'file':<36} {path}")
    for key, value in flat(card).items():
        if value is not None:
            print(f"{key:<36} {value}")
    return 0
