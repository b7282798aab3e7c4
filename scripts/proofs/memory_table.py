"""How much memory a pass takes, and how much was expected: a table, a process for each row.

python scripts/proofs/memory_table.py            # 9 sizes and nets for each backend
python scripts/proofs/memory_table.py --backend onnx
python scripts/proofs/memory_table.py --cgroup   # and one kill avoided, as root (cgroup v1 or v2)

The peak is the kernel's (VmHWM), less what the process held before its first pass.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fst.benchmark.pass_processes import expected_bytes, pass_process
from fst.inference.backends import BACKENDS, installed
from fst.inference.stylizer import BESIDE
from fst.nets.style_card import Card
from fst.nets.style_file import save_style
from fst.nets.transformer_net import TransformerNet
from fst.pictures.image import Picture, from_array, save_picture
from fst.pictures.opening import DECODING

NETS = ((4, 1), (16, 5), (32, 5))  # width, residual blocks
SIZES = ((767, 511), (1024, 768), (2048, 1536))
CGROUP_MEMORY = 900e6  # bytes: room for the program, not for the photo
PHOTO = (1500, 1000)  # pixels


def style(folder: Path, width: int, blocks: int) -> Path:
    """An untrained net with both kinds of what takes memory: padding and bilinear enlargement."""
    net = TransformerNet(
        width=width, residual_blocks=blocks, output_gain=0.1, upsampling="bilinear"
    )
    path = folder / f"w{width}.safetensors"
    save_style(path, net, Card(name=path.stem, net={}), half=True)
    return path


def peak(path: Path, backend: str, channels: int, width: int, height: int) -> tuple[float, float]:
    """Bytes expected of a pass and taken by it, in a process of its own."""
    expected = expected_bytes(backend, channels=channels, pixels=width * height)
    expected += BESIDE * DECODING * width * height
    with pass_process(
        backend, style=path, channels=channels, height=height, width=width
    ) as process:
        process()
        taken = process.calls_mb - process.held_mb  # of what was kept, a small pass takes none
    return expected, max(1e6 * taken, 1.0)


def table(folder: Path, backends: Sequence[str]) -> bool:
    print("| backend | width | photo | expected, MB | peak, MB | expected / peak |")
    print("|---|---|---|---|---|---|")
    held = True
    for backend in backends:
        for width, blocks in NETS:
            for size in SIZES:
                expected, taken = peak(style(folder, width, blocks), backend, width, *size)
                held &= expected >= taken
                row = (backend, width, "x".join(map(str, size)))
                row += (round(expected / 1e6), round(taken / 1e6), f"{expected / taken:.2f}")
                print("|", " | ".join(map(str, row)), "|", flush=True)
    return held


def in_cgroup(folder: Path) -> bool:
    """A photo too large for its cgroup: a kill where nobody asks, else the sentence."""
    version2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    top = Path("/sys/fs/cgroup") if version2 else Path("/sys/fs/cgroup/memory")
    group = top / f"fst_proof_{os.getpid()}"
    group.mkdir()
    try:
        limit = "memory.max" if version2 else "memory.limit_in_bytes"
        (group / limit).write_text(str(round(CGROUP_MEMORY)))
        photo = folder / "photo.png"
        pixels = np.random.default_rng(0).integers(0, 256, (1, 3, *PHOTO[::-1]), dtype=np.uint8)
        save_picture(photo, Picture(rgb=from_array(pixels)), quality=90)
        words = ["stylize", str(photo), "--style", str(style(folder, 32, 5)), "-o", str(folder)]
        words += ["--tiles", "off"]
        words += ["--backend", "torch"]
        trusting = "import fst.inference.stylizer as s, fst.system.memory as m; "
        trusting += "m.available_memory = lambda: 1e12; "
        trusting += "s.total_memory = lambda: 1e12; from fst.cli import main; import sys; "
        trusting += f"sys.exit(main({words}))"
        ends = []
        for code in (["-c", trusting], ["-m", "fst", *words]):
            enter = f'echo $$ > "{group}/cgroup.procs" && exec "$@"'
            done = subprocess.run(
                ["bash", "-c", enter, "bash", sys.executable, *code], capture_output=True, text=True
            )
            ends.append((done.returncode, done.stderr.strip().splitlines()[-1:]))
            print("unasked:" if code[0] == "-c" else "asked:", *ends[-1])
        return ends[0][0] in (-9, 137) and ends[1][0] == 1
    finally:
        group.rmdir()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cgroup", action="store_true")
    parser.add_argument("--backend", choices=[name for name in BACKENDS if name != "auto"])
    options = parser.parse_args(argv)
    backends = [name for name in BACKENDS if name != "auto" and installed(name)]
    backends = [options.backend] if options.backend else backends
    with tempfile.TemporaryDirectory() as name:
        held = in_cgroup(Path(name)) if options.cgroup else table(Path(name), backends)
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
