"""Time, peak memory, scratch and traffic of pictures of so many megapixels, a process for each.

python scripts/proofs/huge_picture.py 400 --max-memory 2GB --backend openvino   # about an hour
python scripts/proofs/huge_picture.py 0.25 1 4 16 50 100 --backend onnx openvino --tiles 512 off \
    --max-memory 16GB --plot huge.png                          # 20 minutes
python scripts/proofs/huge_picture.py 60 --max-memory 1.2GB --fast-net  # of 4 channels: minutes

Each photo is drawn strip by strip: a gradient, rings, grain, a sky of one color; a JPEG. The peak
is the kernel's (the largest resident set of the process), "told" what `fst stylize` says before it
begins, and the last column what the kernel read from the disk and wrote there. "Above" is the peak
over --max-memory; the exit code is 1 where that is more than 10%. What does not fit is named and
left out. Further flags, such as --stroke auto, are handed on to `fst stylize`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fst.errors import FstError
from fst.inference.tiling import parse_memory
from fst.nets.style_card import Card
from fst.pictures.strips import save_strips

MOST_ABOVE = 1.1  # times what may be taken


class Row(NamedTuple):
    """What one process took."""

    megapixels: float
    backend: str
    tiles: str
    seconds: float
    peak: int  # bytes
    told: str
    read: int  # bytes, from the disk
    written: int


def draw(path: Path, height: int, width: int) -> None:
    """A photo of our own, never all of it in memory."""

    def rows(start: int, stop: int) -> np.ndarray:
        rng = np.random.default_rng(start)
        down = np.arange(start, stop, dtype=np.float32)[:, None]
        across = np.arange(width, dtype=np.float32)[None]
        made = np.empty((stop - start, width, 3), np.uint8)
        grain = rng.normal(0, 10, (stop - start, width)).astype(np.float32)
        rings = 100 * np.sin(np.hypot(down - height / 3, across - width / 2) / 60)
        for channel, values in enumerate(
            (128 + 90 * np.sin(across / 150 + down / 310), 255 * across / width, 128 + rings)
        ):
            made[..., channel] = (values + grain).clip(0, 255)
        made[: max(0, height // 3 - start), : width // 3] = 235
        return made

    save_strips(path, height, width, rows, None, quality=90, icc_profile=None)


def fast_net(folder: Path) -> Path:
    """An untrained net of 4 channels and one block, for what does not depend on the net."""
    from fst.nets.style_file import save_style
    from fst.nets.transformer_net import TransformerNet

    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1, upsampling="bilinear")
    path = folder / "fast.safetensors"
    save_style(path, net, Card(name="fast", net={}), half=True)
    return path


def measured(command: list[str], megapixels: float, backend: str, tiles: str) -> Row:
    """A process and what it took; ``FstError`` with its last line where it failed."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, text=True)
        moved = {"read_bytes": 0, "write_bytes": 0}
        while True:
            number, status, usage = os.wait4(process.pid, os.WNOHANG)
            if number:
                break
            try:
                lines = Path(f"/proc/{process.pid}/io").read_text().splitlines()
                moved |= {k: int(v) for k, v in (ln.split(": ") for ln in lines) if k in moved}
            except OSError:  # it has just ended
                pass
            time.sleep(0.1)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if process.returncode:
        raise FstError((text.strip().splitlines() or [f"exit code {process.returncode}"])[-1])
    told = re.search(r"^tiles of (.*)$", text, re.MULTILINE)
    return Row(
        megapixels,
        backend,
        tiles,
        time.monotonic() - start,
        usage.ru_maxrss * 1024,
        told[1] if told else "in one go",
        moved["read_bytes"],
        moved["write_bytes"],
    )


def plot(rows: list[Row], path: str, name: str) -> None:
    """Time and peak memory over megapixels, both logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(6, 7))
    for backend, tiles in dict.fromkeys((row.backend, row.tiles) for row in rows):
        own = [row for row in rows if (row.backend, row.tiles) == (backend, tiles)]
        sizes = [row.megapixels for row in own]
        above.loglog(sizes, [row.seconds for row in own], "o-", label=f"{backend}, --tiles {tiles}")
        below.loglog(sizes, [row.peak / 1e9 for row in own], "o-")
    above.set(ylabel="seconds", title=name)
    below.set(ylabel="peak memory, GB", xlabel="megapixels")
    above.legend()
    for axes in (above, below):
        axes.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("megapixels", nargs="+", type=float)
    parser.add_argument("--style", default="great_wave")
    parser.add_argument("--fast-net", action="store_true", help="in place of a style")
    parser.add_argument("--backend", nargs="+", default=["auto"])
    parser.add_argument("--tiles", nargs="+", default=["auto"])
    parser.add_argument("--max-memory", metavar="SIZE")
    parser.add_argument("--scratch", metavar="FOLDER")
    parser.add_argument("--shape", type=float, default=1.5, help="width over height")
    parser.add_argument("--folder", default=".", help="for the photo and its picture")
    parser.add_argument("--plot", metavar="FILE")
    parser.add_argument("--keep", action="store_true", help="keep the photo and its picture")
    options, words = parser.parse_known_args()  # the others are of fst stylize
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    style = str(fast_net(folder)) if options.fast_net else options.style
    limit = None if options.max_memory is None else parse_memory(options.max_memory)
    rows: list[Row] = []
    print("| megapixels | backend | tiles | seconds | peak, GB | above | told | read, written |")
    print("|---|---|---|---|---|---|---|---|")
    try:
        for megapixels in options.megapixels:
            height = round((megapixels * 1e6 / options.shape) ** 0.5)
            width = round(megapixels * 1e6 / height)
            photo, picture = folder / f"{width}x{height}.jpg", folder / "picture.jpg"
            draw(photo, height, width)
            for backend, tiles in itertools.product(options.backend, options.tiles):
                command = [sys.executable, "-m", "fst", "stylize", str(photo), "--style", style]
                command += ["-o", str(picture), "--force", "--backend", backend]
                command += ["--tiles", tiles, "--max-pixels", "4000MP"]
                for flag in ("max_memory", "scratch"):
                    if getattr(options, flag) is not None:
                        command += [f"--{flag.replace('_', '-')}", getattr(options, flag)]
                try:
                    row = measured(command + words, megapixels, backend, tiles)
                except FstError as error:
                    print(f"| {megapixels:g} | {backend} | {tiles} | {error} | | | | |", flush=True)
                    continue
                rows.append(row)
                above = "" if limit is None else f"{row.peak / limit - 1:+.0%}"
                cells = [
                    f"{megapixels:g}",
                    backend,
                    tiles,
                    f"{row.seconds:.1f}",
                    f"{row.peak / 1e9:.2f}",
                ]
                cells += [above, row.told, f"{row.read / 1e9:.1f}, {row.written / 1e9:.1f} GB"]
                print("|", " | ".join(cells), "|", flush=True)
            if not options.keep:
                photo.unlink()
                picture.unlink(missing_ok=True)
        if options.plot:
            plot(rows, options.plot, Path(style).stem)
    finally:
        if not options.keep:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
    return int(limit is not None and any(row.peak > MOST_ABOVE * limit for row in rows))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FstError as error:
        sys.exit(str(error))
