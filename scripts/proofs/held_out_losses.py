"""Held-out losses, compared:

python scripts/proofs/held_out_losses.py [--json FILE] NAME=STYLE_FILE ...

The last validation of each run, from the card of its style file; several files of one NAME are runs
of other seeds, of which the median counts. The first NAME is what the others are compared with.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from fst.nets.style_card import read_card


def main() -> None:
    """Print a line a name, and write the same as JSON lines."""
    parser = argparse.ArgumentParser(description="Compare held-out losses of runs.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("runs", nargs="+", metavar="NAME=STYLE_FILE")
    options = parser.parse_args()
    totals: dict[str, list[float]] = {}
    for run in options.runs:
        name, _, file = run.partition("=")
        totals.setdefault(name, []).append(read_card(Path(file)).losses["total"])
    first = statistics.median(next(iter(totals.values())))
    lines = []
    for name, values in totals.items():
        median = statistics.median(values)
        off = median / first - 1
        listed = ", ".join(f"{value:.5g}" for value in values)
        print(f"{name:<28} median {median:.5g} ({off:+.1%} of the first)   {listed}")
        row = {"part": "quality", "name": name, "median": median, "off": off, "totals": values}
        lines.append(json.dumps(row) + "\n")
    if options.json is not None:
        options.json.write_text("".join(lines))


if __name__ == "__main__":
    main()
