"""How fast a trained style is from file to file: a folder of photos, the start of a process."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fst.benchmark.loading import sample_folder
from fst.benchmark.pass_processes import PLAIN, contestants
from fst.benchmark.timing import Row, Timing, race, summary, whole_process
from fst.inference.photo_jobs import Job, Limits, stylize_files
from fst.inference.stylizer import Stylizer
from fst.pictures.image import read_picture, to_array


def backends() -> list[str]:
    """Those that are installed here."""
    return [name for name in contestants() if name != PLAIN]


def benchmark_folder(photos: Sequence[Path], *, style: str, size: int, count: int) -> list[Row]:
    """``count`` photos from file to file, with each backend, against the sum of the parts."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
        files = sample_folder(Path(folder), photos, size, count)
        for name in backends():
            stylizer = Stylizer(style, backend=name, precision="exact")
            stylizer.pixels(to_array(read_picture(files[0]).rgb))
            rows.append(folder_row(stylizer, files, name=name, size=size))
    return rows


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
        for turn in range(1 + repetitions):  # the first fills the file cache
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
