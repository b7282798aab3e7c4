"""How fast a trained style is from file to file: a folder of photos, the start of a process."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fst.benchmark.loading import sample_folder
from fst.benchmark.pass_processes import PLAIN, backend_and_precision, contestants
from fst.benchmark.timing import Row, Timing, race, summary, whole_process
from fst.inference.backends import Backend, installed
from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.inference.photo_jobs import Job, Limits, stylize_files
from fst.inference.stylizer import Stylizer
from fst.nets.style_file import read_checked
from fst.nets.style_names import find_style
from fst.pictures.image import read_picture, to_array

BARE_ONNX = "ONNX Runtime and Pillow alone"
BARE = """
import sys
import numpy as np
import onnxruntime
from PIL import Image
graph, photo, output = sys.argv[1:]
session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
pixels = np.asarray(Image.open(photo)).transpose(2, 0, 1)[None]
made = session.run(None, {"pixels": np.ascontiguousarray(pixels)})[0][0]
Image.fromarray(made.transpose(1, 2, 0)).save(output, quality=95)
"""  # the least that a process with ONNX Runtime can do for a photo


def backends() -> list[str]:
    """Those that are installed here, one with its precision after its name."""
    return [name for name in contestants() if name != PLAIN]


def benchmark_folder(
    photos: Sequence[Path], *, style: str, sizes: Sequence[int], count: int
) -> Iterator[Row]:
    """``count`` photos from file to file by shorter side, with each backend."""
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
            files = sample_folder(Path(folder), photos, size, count)
            for name in backends():
                backend, precision = backend_and_precision(name)
                stylizer = Stylizer(style, device="cpu", backend=backend, precision=precision)
                stylizer.pixels(to_array(read_picture(files[0]).rgb))
                yield folder_row(stylizer, files, name=name, size=size)


def benchmark_device_folder(
    photos: Sequence[Path], *, style: str, device: str, shapes: Sequence[int], count: int
) -> Iterator[Row]:
    """``fst stylize`` of ``count`` JPEG photos, from file to file, by shorter side."""
    for size in shapes:
        with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
            files = sample_folder(Path(folder), photos, size, count)
            stylizer = Stylizer(style, device=device, backend="torch")
            stylizer.pixels(to_array(read_picture(files[0]).rgb))
            yield folder_row(stylizer, files, name="torch", size=size, device=device)


class TimedBackend:
    """A backend that adds up the ``seconds`` of its calls: those of the net alone."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        started = time.monotonic()
        try:
            return self._backend(pixels)
        finally:
            self.seconds += time.monotonic() - started


def folder_row(
    stylizer: Stylizer, files: Sequence[Path], *, name: str, size: int, device: str = "cpu"
) -> Row:
    """All ``files`` stylized into files beside them, and the share of the time that the net took.

    Reading and writing are those of their threads, beside it.
    """
    jobs = [Job(p, p.with_name(f"{p.stem}_{name}.jpg"), suffix_given=True) for p in files]
    read_s = write_s = 0.0
    net = TimedBackend(stylizer.backend)
    stylizer.backend = net  # type: ignore[assignment]

    def work() -> None:
        nonlocal read_s, write_s
        limits = Limits(size=None, quality=95, force=True)
        for done in stylize_files(stylizer, jobs, limits):
            if done.error:
                raise done.error
            read_s += done.read_s
            write_s += done.write_s

    timing = race({name: work}, warm_up=0, repetitions=1, device=device)[name]
    return Row.of(
        "folder",
        name,
        timing,
        size=size,
        batch=len(files),
        device=device,
        note=f"{len(files) / timing.median_s:.2f} photos/s; "
        f"net {net.seconds / timing.median_s:.1%} of the time; "
        f"beside it read {read_s:.2f} s, write {write_s:.2f} s",
    )


def benchmark_start(photos: Sequence[Path], *, style: str, repetitions: int) -> list[Row]:
    """Whole processes, in turns: the help, the imports, one photo of 512 px with each backend.

    Where ONNX Runtime is installed, the bare use of it beside them, with the graph in a file.
    """
    with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
        (photo,) = sample_folder(Path(folder), photos, 512, 1)
        fst = [sys.executable, "-m", "fst"]
        output = str(Path(folder, "out.jpg"))
        stylize = [*fst, "stylize", str(photo), "--style", style, "-o", output, "--force"]
        commands = {
            "fst --help": [*fst, "--help"],
            "import torch": [sys.executable, "-c", "import torch"],
            "from fst import Stylizer": [sys.executable, "-c", "from fst import Stylizer"],
        }
        for name in backends():
            backend, precision = backend_and_precision(name)
            chosen = ["--backend", backend, "--precision", precision]
            commands[f"fst stylize, {name}"] = [*stylize, *chosen]
        if installed("onnx"):
            graph = Path(folder, "net.onnx")
            graph.write_bytes(
                onnx_graph(*read_checked(find_style(style)), GraphOptions(blocks=True))
            )
            bare = [sys.executable, "-c", BARE, str(graph), str(photo), output]
            commands[BARE_ONNX] = bare
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        peaks: dict[str, float] = {}
        for turn in range(1 + repetitions):  # the first fills the file cache
            for name, command in commands.items():
                done = whole_process(command)
                if done.code:
                    raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
                if turn:
                    seconds[name].append(done.seconds)
                    peaks[name] = max(peaks.get(name, 0.0), done.peak_mb)
    timings: dict[str, Timing] = {name: summary(values, 1) for name, values in seconds.items()}
    of_a_photo = {name for name in commands if "stylize" in name or name == BARE_ONNX}
    return [
        Row.of(
            "whole process",
            name,
            timing,
            size=512 if name in of_a_photo else None,
            batch=1 if name in of_a_photo else None,
            peak_mb=peaks[name],
        )
        for name, timing in timings.items()
    ]
