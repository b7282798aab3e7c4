"""The parts of ``fst benchmark``, on a CPU and for a GPU, and the one loop that runs them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fst.benchmark import forms, loading, passes, photos, step
from fst.benchmark.floors import Machine, measure_machine
from fst.benchmark.report import Line, counted, rows_and_lines, shares
from fst.benchmark.timing import Row
from fst.system.files import write_whole
from fst.system.machine import choose_device, machine

Part = Callable[[], Iterator[Line]]
# What --quick insists on, of the fastest calls: far below what was measured, so that only a gross
# loss is one.
LEAST_RATIOS = {
    ("training step", "fst, VGG-16"): 0.7,
    ("training step", "fst, lite"): 1.2,
    ("loading", "fst, prepared"): 1.7,
    ("single pass", "torch"): 0.7,
    ("single pass", "onnx"): 0.8,
}


def benchmark_cpu(
    options: argparse.Namespace, files: Sequence[Path], chosen: Sequence[str]
) -> list[Row]:
    """Run the ``chosen`` parts on the CPU, with the photos ``files``; the rows of their tables."""
    found = measure_machine(side=1024, most_turns=2) if options.quick else measure_machine()
    about = _about(found)
    print(
        f"machine   {about['name']}: {about['gflops']} GFLOP/s in float32, "
        f"{about['gigabytes_per_s']} GB/s"
    )
    runs = cpu_parts(options, files, found)
    known = [part for part in runs if part in chosen]
    return [Row(**row) for row in run_parts(runs, known, about, options.json)]


def benchmark_device(
    options: argparse.Namespace, files: Sequence[Path], chosen: Sequence[str]
) -> None:
    """Run the ``chosen`` parts for a GPU: on one, or on a CPU at sizes that a CPU can do."""
    device = str(choose_device(options.device))
    on_gpu = device.startswith("cuda")
    if on_gpu:
        number = torch.device(device).index or 0
        torch.cuda.set_device(number)  # whose memory is looked at, and whom is waited for
    dtype = "bfloat16" if on_gpu else "float32"
    found = measure_machine(device, side=8192 if on_gpu else 512, dtype=dtype)
    about = _about(found, device=device, dtype=dtype)
    print(
        f"machine   {about['name']}, {device}: {found.flops / 1e12:.2f} TFLOP/s in {dtype}, "
        f"{about['gigabytes_per_s']} GB/s"
    )
    run_parts(device_parts(options, files, found, device), chosen, about, options.json)


def run_parts(
    runs: Mapping[str, Part], chosen: Sequence[str], about: Mapping[str, Any], file: Path | None
) -> list[dict[str, Any]]:
    """Print the lines of each part as they come; their rows, which ``file`` gets as JSON lines.

    The file's first line is ``about``. It is written after each row: what is measured is kept.
    """
    lines, rows = [json.dumps(about)], []

    def keep() -> None:
        if file is not None:
            write_whole(file, ("\n".join(lines) + "\n").encode())

    keep()
    for part in chosen:
        print(f"\n{part}", flush=True)
        for line, row in runs[part]():
            print(line, flush=True)
            rows.append(row)
            lines.append(json.dumps({k: v for k, v in row.items() if v is not None}))
            keep()
    return rows


def lost_ratios(rows: Sequence[Row]) -> list[str]:
    """A sentence for each of ``LEAST_RATIOS`` that is not reached."""
    ratios = {(row.part, row.name): row.best_ratio for row in rows}
    return [
        f"{part}, {name}: {ratios[part, name]} times, at least {least} is asked"
        for (part, name), least in LEAST_RATIOS.items()
        if (ratios.get((part, name)) or least) < least
    ]


def _about(found: Machine, **more: str) -> dict[str, Any]:
    return {
        "part": "machine",
        "name": machine(),
        **more,
        "gflops": round(found.flops / 1e9),
        "gigabytes_per_s": round(found.bandwidth / 1e9, 1),
    }


def cpu_parts(
    options: argparse.Namespace, files: Sequence[Path], found: Machine
) -> Mapping[str, Part]:
    """The parts of a CPU by name; ``--quick`` has fewer and smaller ones."""
    quick, repetitions = options.quick, options.repetitions
    few, warm_up = (3, 1) if quick else (repetitions, 2)
    parts: dict[str, Part] = {
        "step": lambda: rows_and_lines(
            step.benchmark_step(
                machine=found,
                size=96 if quick else options.size,
                batch=2 if quick else options.batch,
                width=32,
                warm_up=0 if quick else warm_up,
                repetitions=few,
                variants=not quick,
            )
        ),
        "loading": lambda: rows_and_lines(
            loading.benchmark_loading(
                files, size=256, count=16 if quick else 64, warm_up=1, repetitions=few
            )
        ),
        "pass": lambda: rows_and_lines(
            passes.benchmark_pass(
                machine=found,
                sizes=[256] if quick else options.sizes,
                width=options.width,
                warm_up=warm_up,
                repetitions=few,
            )
        ),
    }
    if quick:
        return parts
    return parts | {
        "megapixels": lambda: rows_and_lines(
            passes.benchmark_megapixels(
                machine=found,
                megapixels=options.megapixels,
                width=options.width,
                repetitions=min(repetitions, 3),
            )
        ),
        "folder": lambda: rows_and_lines(
            photos.benchmark_folder(
                files, style=options.style, sizes=(256, 512), count=options.count
            )
        ),
        "start": lambda: rows_and_lines(
            photos.benchmark_start(files, style=options.style, repetitions=repetitions)
        ),
    }


def device_parts(
    options: argparse.Namespace, files: Sequence[Path], found: Machine, device: str
) -> Mapping[str, Part]:
    """The parts for a GPU by name, to be run on ``device``."""
    batches, width, size = options.batches, options.width, options.size
    recipes = [r for r in step.RECIPES if r.mode is None or not options.eager]
    wanted = [f for f in forms.FORMS if not options.eager or not f.endswith(forms.COMPILED)]
    return {
        "machine": lambda: iter(()),
        "count": lambda: counted(size, step.operations(width=width, size=size), found),
        "step": lambda: rows_and_lines(
            step.benchmark_device_step(
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
            step.profile_step(
                device=device,
                size=size,
                batch=batches[0],
                width=width,
                steps=options.calls,
                recipes=recipes,
            )
        ),
        "pass": lambda: rows_and_lines(
            passes.benchmark_device_pass(
                machine=found,
                device=device,
                shapes=[(h, w) for w, h in options.shapes],
                batches=options.photos_at_once,
                width=width,
                warm_up=2,
                repetitions=options.repetitions,
                forms=wanted,
            )
        ),
        "folder": lambda: rows_and_lines(
            photos.benchmark_device_folder(
                files,
                style=options.style,
                device=device,
                shapes=options.sizes,
                count=options.count,
            )
        ),
    }
