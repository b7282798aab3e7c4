"""The parts of ``fst benchmark --device``: on a GPU, or on a CPU at sizes that a CPU can do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from fst.benchmark import passes as use
from fst.benchmark import step as training
from fst.benchmark.report import Line, counted, rows_and_lines, shares
from fst.benchmark.timing import Machine, measure_machine
from fst.system.files import write_whole
from fst.system.machine import choose_device
from fst.system.machine import machine as machine_name

Part = Callable[[], Iterator[Line]]


def benchmark_gpu(options: argparse.Namespace, photos: list[Path], parts: Sequence[str]) -> int:
    """Print the tables of ``parts``, and write their rows as they come; the exit code."""
    device = str(choose_device(options.device))
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(device)  # whose memory is looked at, and whom is waited for
    dtype = "bfloat16" if on_gpu else "float32"
    found = measure_machine(device, side=8192 if on_gpu else 512, dtype=dtype)
    about = {
        "part": "machine",
        "name": machine_name(),
        "device": device,
        "dtype": dtype,
        "gflops": round(found.flops / 1e9),
        "gigabytes_per_s": round(found.bandwidth / 1e9, 1),
    }
    lines = [json.dumps(about)]
    print(
        f"machine   {about['name']}, {device}: {found.flops / 1e12:.2f} TFLOP/s in {dtype}, "
        f"{about['gigabytes_per_s']} GB/s"
    )
    runs = _parts(options, photos, found, device)
    for part in parts:
        print(f"\n{part}", flush=True)
        for line, row in runs[part]():
            print(line, flush=True)
            lines.append(json.dumps({k: v for k, v in row.items() if v is not None}))
            if options.json is not None:
                write_whole(options.json, ("\n".join(lines) + "\n").encode())
    if options.json is not None:
        write_whole(options.json, ("\n".join(lines) + "\n").encode())
    return 0


def _parts(
    options: argparse.Namespace, photos: list[Path], found: Machine, device: str
) -> Mapping[str, Part]:
    batches, width, size = options.batches, options.width, options.size
    recipes = [r for r in training.RECIPES if r.mode is None or not options.eager]
    forms = [f for f in use.FORMS if not options.eager or not f.endswith(use.COMPILED)]
    return {
        "machine": lambda: iter(()),
        "count": lambda: counted(size, training.operations(width=width, size=size), found),
        "step": lambda: rows_and_lines(
            training.benchmark_device_step(
                machine=found,
                device=device,
                size=size,
                batches=batches,
                width=width,
                warm_up=2,
                repetitions=options.repetitions,
                calls=options.calls,
                recipes=recipes,
            )
        ),
        "profile": lambda: shares(
            training.profile_step(
                device=device,
                size=size,
                batch=batches[0],
                width=width,
                steps=options.calls,
                recipes=recipes,
            )
        ),
        "pass": lambda: rows_and_lines(
            use.benchmark_device_pass(
                machine=found,
                device=device,
                shapes=[(h, w) for w, h in options.shapes],
                batches=options.photos_at_once,
                width=width,
                warm_up=2,
                repetitions=options.repetitions,
                forms=forms,
            )
        ),
        "folder": lambda: rows_and_lines(
            use.benchmark_device_folder(
                photos,
                style=options.style,
                device=device,
                shapes=options.sizes,
                count=options.count,
            )
        ),
    }
