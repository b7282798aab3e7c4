"""fst info STYLE: a style's card, for people or, with --json, for machines."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from fst.nets.style_card import TRUST_HELP, bf16_in_words, cards_trusted, read_card
from fst.nets.style_names import find_style
from fst.system.console import Parser, flat, shown_in_line


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="fst info", description="Show a style's card.")
    parser.add_argument("style", metavar="STYLE", help="name or style file")
    parser.add_argument("--json", action="store_true", help="print the card as JSON")
    parser.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
    options = parser.parse_args(argv)
    with cards_trusted(options.trust_card):
        return _show(options)


def _show(options: argparse.Namespace) -> int:
    path = find_style(options.style)
    read = read_card(path)
    card = asdict(read)
    thumbnail = card.pop("thumbnail")  # a picture in letters: `fst list --sheet` shows it
    if options.json:
        print(_escaped(json.dumps(card, indent=1, ensure_ascii=False)))
        return 0
    print(f"{'file':<36} {shown_in_line(path)}")
    card["bf16"] = bf16_in_words(read)
    card["thumbnail"] = f"{len(thumbnail) * 3 // 4} bytes" if thumbnail else None
    for key, value in flat(card).items():
        if value is not None:
            print(f"{shown_in_line(key):<36} {shown_in_line(value)}")
    return 0


def _escaped(text: str) -> str:
    """JSON that means the same, with what would steer a terminal as its escapes."""
    return "".join(c if c == "\n" or shown_in_line(c) == c else json.dumps(c)[1:-1] for c in text)
