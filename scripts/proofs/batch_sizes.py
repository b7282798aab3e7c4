"""Whether small photos are faster in batches: seconds a photo by backend, size and batch.

python scripts/proofs/batch_sizes.py                      # those installed, two minutes
python scripts/proofs/batch_sizes.py --style udnie --sizes 256 --batches 1,16

The batches of one backend and size take turns. CPU seconds are those of all threads: what other
work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from fst.benchmark.pass_processes import backend_and_precision
from fst.benchmark.photos import backends
from fst.inference.stylizer import Stylizer
from fst.system.machine import keep_freed_memory


def numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--style", default="great_wave")
    parser.add_argument("--sizes", type=numbers, default="256,512")
    parser.add_argument("--batches", type=numbers, default="1,2,4,8")
    parser.add_argument("--backends", nargs="+", default=backends(), choices=backends())
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args(argv)
    print("| backend | px | batch | ms a photo | CPU ms a photo | times as fast as alone |")
    print("|---|---|---|---|---|---|")
    for name in options.backends:
        backend, precision = backend_and_precision(name)
        stylizer = Stylizer(options.style, device="cpu", backend=backend, precision=precision)
        if backend == "torch":
            keep_freed_memory()  # as fst stylize does
        for size in options.sizes:
            table(name, stylizer, size, options.batches, options.repetitions)
    return 0


def table(name: str, stylizer: Stylizer, size: int, batches: list[int], repetitions: int) -> None:
    """The rows of one backend and size."""
    rng = np.random.default_rng(0)
    photos = {n: rng.integers(0, 256, (n, 3, size, size), dtype=np.uint8) for n in batches}
    most = max(batches)
    wall: dict[int, list[float]] = {batch: [] for batch in batches}
    cpu: dict[int, list[float]] = {batch: [] for batch in batches}
    for turn in range(1 + repetitions):
        for batch, pixels in photos.items():
            started = time.perf_counter(), time.process_time()
            for _ in range(max(1, most // batch)):  # as many photos of each
                stylizer.pixels(pixels)
            if turn:
                done = batch * max(1, most // batch)
                wall[batch].append((time.perf_counter() - started[0]) / done)
                cpu[batch].append((time.process_time() - started[1]) / done)
    alone = statistics.median(wall[batches[0]])
    for batch in batches:
        seconds, busy = statistics.median(wall[batch]), statistics.median(cpu[batch])
        row = (name, size, batch, f"{1e3 * seconds:.1f}", f"{1e3 * busy:.1f}")
        print("|", " | ".join(map(str, row)), f"| {alone / seconds:.2f} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
