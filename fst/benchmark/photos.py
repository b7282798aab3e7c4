"""How fast a trained style is: each backend's pass, a folder of photos, the start of a process."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fst.benchmark.loading import new_net, sample_folder
from fst.benchmark.plain import plain_stylized
from fst.benchmark.timing import (
    Contestant,
    Machine,
    Row,
    Timing,
    count_flops,
    race,
    summary,
    whole_process,
)
from fst.inference.backends import RUNTIMES, Backend, installed, open_backend
from fst.inference.graph_cache import forget_graph
from fst.inference.photo_jobs import Job, Limits, stylize_files
from fst.inference.stylizer import Stylizer
from fst.nets.style_file import Card, load_style, read_card, save_style
from fst.pictures.image import read_picture, to_array
from fst.system.machine import keep_freed_memory, keep_memory_as_usual

PROBE = "import sys; from fst.benchmark.photos import probe; probe(*sys.argv[1:])"


def backends() -> list[str]:
    """Those that are installed here."""
    return ["torch", *(name for name in RUNTIMES if installed(name))]


def benchmark_pass(
    *,
    machine: Machine,
    sizes: Sequence[int],
    width: int,
    warm_up: int,
    repetitions: int,
    memory: bool,
) -> Iterator[Row]:
    """One photo of size x size pixels, 8-bit to 8-bit, on the CPU: plain and each backend.

    The steady state, and, if ``memory`` is asked for, the peak memory of a process of its own that
    loads the style and makes one picture. Untrained weights: the time is the same.
    """
    with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder, ExitStack() as at_the_end:
        style = untrained_style(Path(folder), width)
        at_the_end.callback(forget_graph, read_card(style))
        net = load_style(style)[0].eval()
        opened = {name: open_backend(name, style) for name in backends()}
        for size in sizes:
            pixels = np.random.default_rng(0).integers(0, 256, (1, 3, size, size), dtype=np.uint8)
            reference = plain_pass(net, pixels).astype(int)
            contestants: dict[str, Contestant] = {"plain": partial(_plain, net, pixels)}
            contestants |= {k: partial(_own, backend, pixels) for k, backend in opened.items()}
            flops = count_flops(lambda pixels=pixels: plain_pass(net, pixels))  # type: ignore[misc]
            timings = race(contestants, warm_up=warm_up, repetitions=repetitions)
            for name, timing in timings.items():
                note, peak = "", None
                if name in opened:
                    off = np.abs(opened[name](pixels).astype(int) - reference).max()
                    note = f"at most {off} of 255 from plain"
                if memory:
                    done = whole_process([sys.executable, "-c", PROBE, name, str(style), str(size)])
                    peak = done.peak_mb
                yield Row.of(
                    "single pass",
                    name,
                    timing,
                    against=timings["plain"],
                    size=size,
                    batch=1,
                    floor_s=flops / machine.flops,
                    peak_mb=peak,
                    note=note,
                )


def untrained_style(folder: Path, width: int) -> Path:
    """A style file of a net with random weights."""
    torch.manual_seed(0)
    path = folder / f"untrained_{width}.safetensors"
    net = new_net(width)
    save_style(path, net, Card(name=path.stem, net=net.arguments), half=False)
    return path


@torch.no_grad()
def plain_pass(net: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    """pixels (B, 3, H, W) uint8 RGB -> the plain net's, the same shape and type."""
    stylized = plain_stylized(net, torch.from_numpy(pixels).float() / 255)  # type: ignore[arg-type]
    return (stylized * 255).round().to(torch.uint8).numpy()


def _plain(net: torch.nn.Module, pixels: np.ndarray) -> None:
    keep_memory_as_usual()
    plain_pass(net, pixels)


def _own(backend: Backend, pixels: np.ndarray) -> None:
    if backend.name == "torch":
        keep_freed_memory()  # as fst stylize does
    backend(pixels)


def probe(name: str, style: str, size: str) -> None:
    """One picture in a process whose peak memory is looked at from outside."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, int(size), int(size)), dtype=np.uint8)
    if name == "plain":
        plain_pass(load_style(style)[0].eval(), pixels)
        return
    _own(open_backend(name, Path(style)), pixels)


def benchmark_folder(photos: Sequence[Path], *, style: str, size: int, count: int) -> list[Row]:
    """``count`` photos from file to file, with each backend, against the sum of the parts."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
        files = sample_folder(Path(folder), photos, size, count)
        for name in backends():
            stylizer = Stylizer(style, backend=name)
            stylizer.pixels(to_array(read_picture(files[0]).rgb))
            rows.append(folder_row(stylizer, files, name=name, size=size))
    return rows


def folder_row(
    stylizer: Stylizer, files: Sequence[Path], *, name: str, size: int, device: str = "cpu"
) -> Row:
    """All ``files`` stylized into files beside them: what each part took, and what bounds it."""
    jobs = [Job(p, p.with_name(f"{p.stem}_{name}.jpg"), suffix_given=True) for p in files]
    parts: dict[str, float] = dict.fromkeys(("read", "net", "write"), 0.0)

    def work() -> None:
        limits = Limits(size=None, quality=95, force=True)
        for done in stylize_files(stylizer, jobs, limits):
            if done.error:
                raise done.error
            parts["read"] += done.read_s
            parts["net"] += done.work_s
            parts["write"] += done.write_s

    timing = race({name: work}, warm_up=0, repetitions=1, device=device)[name]
    in_parts, longest = sum(parts.values()), max(parts, key=lambda part: parts[part])
    return Row.of(
        "folder",
        name,
        timing,
        size=size,
        batch=len(files),
        device=device,
        note=f"{len(files) / timing.median_s:.2f} photos/s; parts: "
        + ", ".join(f"{k} {v:.2f} s" for k, v in parts.items())
        + f"; {timing.median_s / in_parts:.2f} of their sum, net "
        f"{parts['net'] / timing.median_s:.2f} of the time; bound by {longest}",
    )


def benchmark_start(photos: Sequence[Path], *, style: str, repetitions: int) -> list[Row]:
    """Whole processes, in turns: the help, the imports, one photo of 512 px with each backend."""
    with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
        (photo,) = sample_folder(Path(folder), photos, 512, 1)
        fst = [sys.executable, "-m", "fst"]
        output = str(Path(folder, "out.jpg"))
        stylize = [*fst, "stylize", str(photo), "--style", style, "-o", output, "--force"]
        commands: Mapping[str, list[str]] = {
            "fst --help": [*fst, "--help"],
            "import torch": [sys.executable, "-c", "import torch"],
            "from fst import Stylizer": [sys.executable, "-c", "from fst import Stylizer"],
            **{f"fst stylize, {name}": [*stylize, "--backend", name] for name in backends()},
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        peaks: dict[str, float] = {}
        for turn in range(1 + repetitions):  # the first fills the file cache and the graph cache
            for name, command in commands.items():
                done = whole_process(command)
                if done.code:
                    raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
                if turn:
                    seconds[name].append(done.seconds)
                    peaks[name] = max(peaks.get(name, 0.0), done.peak_mb)
    timings: dict[str, Timing] = {name: summary(values, 1) for name, values in seconds.items()}
    return [
        Row.of(
            "whole process",
            name,
            timing,
            size=512 if "stylize" in name else None,
            batch=1 if "stylize" in name else None,
            peak_mb=peaks[name],
        )
        for name, timing in timings.items()
    ]
