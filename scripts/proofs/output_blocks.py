"""What the last convolution in blocks of pixels takes off a net's step and off a pass.

python scripts/proofs/output_blocks.py            # 2 minutes

One thread; seconds of a core, the least of several, which other work disturbs least. The step is
forward and backward of a net of width 32 alone, without a loss network, for 4 photos of 256 px; the
passes are of a shipped style, 512 px, in each runtime that is installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from fst.benchmark.floors import as_defined
from fst.inference.backends import RUNTIMES, installed
from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.nets.style_file import read_checked
from fst.nets.style_names import find_style
from fst.nets.transformer_net import TransformerNet
from fst.system.machine import keep_freed_memory


def least(work: Callable[[], object], times: int = 6) -> float:
    """Seconds of a core, of the quickest call."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    net = TransformerNet(width=32, residual_blocks=5, output_gain=0.1, upsampling="bilinear")
    photos = torch.rand(4, 3, 256, 256)

    def step() -> None:
        net(photos).square().mean().backward()

    print("| | as defined, s | in blocks, s |\n|---|---|---|")
    with as_defined():
        defined = least(step)
    print(f"| a step | {defined:.2f} | {least(step):.2f} |", flush=True)
    style = read_checked(find_style("udnie"))
    photo = np.random.default_rng(0).integers(0, 256, (1, 3, 512, 512), dtype=np.uint8)
    for name, runtime in RUNTIMES.items():
        if installed(name):
            found = []
            for blocks in (False, True):
                run = runtime(onnx_graph(*style, GraphOptions(blocks=blocks)), threads=1)
                found.append(least(lambda run=run: run(photo)))  # type: ignore[misc]
            print(f"| a pass in {name} | {found[0]:.3f} | {found[1]:.3f} |", flush=True)


if __name__ == "__main__":
    main()
