"""Three ways for ONNX Runtime to take its memory: the first pass of a size, the second, the peak.

python scripts/proofs/onnx_memory.py                          # great_wave at 3 megapixels
python scripts/proofs/onnx_memory.py udnie --size 4000x3000

``off``: no arena (``enable_cpu_mem_arena = False``). ``kept``: with its arena.
``back``: the arena gives back what it holds after each pass, as ``fst stylize`` has it. A process
for each, without patterns of memory; the peak and what is held in the end are the process's, less
what it held before.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import numpy as np

from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.nets.blend import read_style
from fst.nets.style_names import find_style
from fst.system.machine import cpu_threads
from fst.system.memory import held_memory

WAYS = ("off", "kept", "back")


def one(way: str, style: str, width: int, height: int) -> str:
    """A row of the table, measured in this process."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_threads()
    options.enable_cpu_mem_arena = way != "off"
    options.enable_mem_pattern = False
    card, data = read_style(find_style(style), None, 1.0)
    session = onnxruntime.InferenceSession(
        onnx_graph(card, data, GraphOptions(blocks=True)),
        options,
        providers=["CPUExecutionProvider"],
    )
    run_options = onnxruntime.RunOptions()
    if way == "back":
        run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    photo = np.random.default_rng(0).integers(0, 256, (1, 3, height, width), dtype=np.uint8)
    before, seconds = held_memory(), []
    for _ in range(2):
        start = time.perf_counter()
        session.run(None, {"pixels": photo}, run_options)
        seconds.append(time.perf_counter() - start)
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    cells = [way, f"{width}x{height}", *(f"{value:.2f}" for value in seconds)]
    cells += [f"{(peak - before) / 1e9:.2f}", f"{(held_memory() - before) / 1e9:.2f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("style", nargs="?", default="great_wave")
    parser.add_argument("--size", default="2048x1536")
    parser.add_argument("--way", choices=WAYS, help="one of them, in this process")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    if options.way:
        print(one(options.way, options.style, width, height))
        return 0
    print("| arena | photo | first pass, s | second, s | peak, GB | held in the end, GB |")
    print("|---|---|---|---|---|---|", flush=True)
    for way in WAYS:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--way", way], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
