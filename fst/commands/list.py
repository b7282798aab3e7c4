"""fst list: the styles there are: shipped, and trained in this folder."""

from __future__ import annotations

from fst.errors import FstError
from fst.nets.style_card import TRUST_HELP, cards_trusted, parted_address, read_card
from fst.nets.style_names import shipped_styles, trained_styles
from fst.system.console import Parser, shown_in_line


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="fst list", description="Show the styles there are.")
    parser.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
    options = parser.parse_args(argv)
    with cards_trusted(options.trust_card):
        return _list()


def _list() -> int:
    rows = [("shipped", name, path) for name, path in shipped_styles().items()]
    rows += [("runs/", name, path) for name, path in trained_styles().items()]
    if not rows:
        print("no styles yet; `fst train` makes one")
        return 0
    width = max(len(shown_in_line(name)) for _, name, _ in rows)
    for where, name, path in rows:
        name = shown_in_line(name)
        try:
            painting = read_card(path).painting
        except FstError as error:
            print(f"{name:<{width}}  {where:<8} {shown_in_line(error)}")
            continue
        parts = [painting.get(key) for key in ("title", "artist", "year")]
        title = ", ".join(str(part) for part in parts if part) or "your own painting"
        size = parted_address(path)[0].stat().st_size
        print(f"{name:<{width}}  {where:<8} {size / 1e6:4.1f} MB  {shown_in_line(title)}")
    return 0
