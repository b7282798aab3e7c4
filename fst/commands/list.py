"""fst list: the styles at hand, shipped and trained here."""

from __future__ import annotations

import argparse

from fst.errors import FstError
from fst.nets.style_card import parted_address, read_card
from fst.nets.style_names import shipped_styles, trained_styles


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="fst list", description="Show the styles at hand.")
    parser.parse_args(argv)
    rows = [("shipped", name, path) for name, path in shipped_styles().items()]
    rows += [("runs/", name, path) for name, path in trained_styles().items()]
    if not rows:
        print("no styles yet; `fst train` makes one")
        return 0
    width = max(len(name) for _, name, _ in rows)
    for where, name, path in rows:
        try:
            painting = read_card(path).painting
        except FstError as error:
            print(f"{name:<{width}}  {where:<8} {error}")
            continue
        parts = [painting.get(key) for key in ("title", "artist", "year")]
        title = ", ".join(str(part) for part in parts if part) or "your own painting"
        size = parted_address(path)[0].stat().st_size
        print(f"{name:<{width}}  {where:<8} {size / 1e6:4.1f} MB  {title}")
    return 0
