"""Runs the code of docs/export.md, as it stands there, and compares its pictures with fst's:

python scripts/proofs/export_code.py                    # all, but for what has no tool here
python scripts/proofs/export_code.py with_onnxruntime.py pt2.py
python scripts/proofs/export_code.py web.mjs --npm FOLDER        # with node_modules/onnxruntime-web
python scripts/proofs/export_code.py openvino.cpp --site FOLDER  # of packages, if not installed

A block is one of the page's that has ``<!-- run: NAME -->`` above it. Exit code 1 where a picture
is off by more than 2 of 255, where code fails, or where code that was named has no tool.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "export.md"
BLOCK = re.compile(r"<!-- run: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
MOST_OFF = 2  # levels of 255
STYLE = "great_wave"
SIZE = (301, 200)  # of the photo: no side is a multiple of 4
FIXED = (640, 480)  # of fixed.onnx
OPENCV = Path("/usr/include/opencv4")  # Debian's libopencv-dnn-dev, libopencv-imgcodecs-dev
# what blocks read
EXPORTS = {
    "great_wave.onnx": ["--format", "onnx"],
    "great_wave.pt2": ["--format", "pt2"],
    "great_wave.aoti.pt2": ["--format", "aoti"],
    "fixed.onnx": ["--for", "opencv", "--size", "480x640"],
}


def blocks(page: str) -> dict[str, str]:
    """The code of the page by its name."""
    return dict(BLOCK.findall(page))


def run(*words: str | Path, folder: Path, site: str | None = None) -> None:
    """Run a command in a folder; its words where it fails."""
    environment = dict(os.environ)
    if site:
        environment["PYTHONPATH"] = os.pathsep.join([environment.get("PYTHONPATH", ""), site])
        environment["LD_LIBRARY_PATH"] = f"{site}/openvino/libs"
    done = subprocess.run(
        [*map(str, words)], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {(done.stderr or done.stdout).strip()[-600:]}")


def missing(name: str, options: argparse.Namespace) -> str | None:
    """What a block cannot be run without, if it is not here."""
    python = {"opencv.py": "cv2", "pt2.py": "torch", "aoti.py": "torch"}
    python["with_onnxruntime.py"] = "onnxruntime"
    if name in python:
        return None if find_spec(python[name]) else python[name]
    if name == "web.mjs":
        there = (options.npm / "node_modules" / "onnxruntime-web").is_dir()
        return None if there and shutil.which("node") else "node and onnxruntime-web (--npm)"
    tools = [tool for tool in ("cmake", "g++") if not shutil.which(tool)]
    if tools:
        return " and ".join(tools)
    if name == "opencv.cpp":
        return None if (OPENCV / "opencv2" / "dnn.hpp").is_file() else "OpenCV's headers"
    site = Path(options.site) if options.site else None
    there = find_spec("openvino") or (site and (site / "openvino").is_dir())
    return None if there else "openvino (--site)"


def perform(name: str, folder: Path, options: argparse.Namespace) -> Path:
    """Run a block, all of which lie in the folder; the picture that it wrote."""
    for picture in folder.glob("picture.*"):
        picture.unlink()
    if name.endswith(".py"):
        run(sys.executable, name, folder=folder)
    elif name == "web.mjs":
        if not (folder / "node_modules").exists():
            (folder / "node_modules").symlink_to((options.npm / "node_modules").resolve())
        run("node", name, folder=folder)
    elif name == "opencv.cpp":
        libraries = ["-lopencv_dnn", "-lopencv_imgcodecs", "-lopencv_imgproc", "-lopencv_core"]
        run("g++", "-O1", name, "-o", "with_opencv", f"-I{OPENCV}", *libraries, folder=folder)
        run("./with_opencv", folder=folder)
    else:
        where = "from openvino.package_utils import get_cmake_path; print(get_cmake_path())"
        site = options.site
        environment = dict(os.environ, **({"PYTHONPATH": site} if site else {}))
        command = [sys.executable, "-c", where]
        found = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()
        run("cmake", "-S", ".", "-B", "build", f"-DOpenVINO_DIR={found}", folder=folder)
        run("cmake", "--build", "build", folder=folder)
        run("build/stylize", folder=folder, site=site)
    (picture,) = folder.glob("picture.*")
    return picture


def prepare(folder: Path, names: Sequence[str], code: dict[str, str]) -> None:
    """The photo, what fst makes of it, the exported files that are asked for, and the code."""
    from fst.pictures.paint import paint

    rng = np.random.default_rng(0)
    pixels = np.asarray(paint("woodcut", size=320, seed=0).resize(SIZE)).astype(int)
    noisy = (pixels + rng.integers(-9, 10, pixels.shape)).clip(0, 255).astype(np.uint8)
    photo = Image.fromarray(noisy)
    photo.save(folder / "photo.png")
    photo.save(folder / "photo.ppm")
    for name, text in code.items():
        (folder / name).write_text(text)
    asked = "".join(code[name] for name in names)
    for file, words in EXPORTS.items():
        if f'"{file}"' in asked:
            fst("export", STYLE, *words, "-o", str(folder / file))
    fst("stylize", str(folder / "photo.png"), "--style", STYLE, "-o", str(folder / "expected.png"))
    if '"fixed.onnx"' in asked:
        import cv2

        small = cv2.resize(
            cv2.imread(str(folder / "photo.png")), FIXED, interpolation=cv2.INTER_AREA
        )
        cv2.imwrite(str(folder / "fixed.png"), small)
        words = ["stylize", str(folder / "fixed.png"), "--style", STYLE]
        fst(*words, "-o", str(folder / "expected_fixed.png"))


def fst(*words: str) -> None:
    """Run a command of fst's; it must work."""
    from fst.cli import main

    if main([*words]):
        raise RuntimeError(f"fst {' '.join(words)} failed")


def off(picture: Path, expected: Path) -> int:
    """The largest difference of two pictures, in levels."""
    made, wanted = (np.asarray(Image.open(path).convert("RGB")) for path in (picture, expected))
    if made.shape != wanted.shape:
        raise RuntimeError(f"{picture.name} is {made.shape} and not {wanted.shape}")
    return int(np.abs(made.astype(int) - wanted).max())


def main(words: Sequence[str] | None = None) -> int:
    """Run the blocks that are named, or all; a line for each."""
    code = blocks(PAGE.read_text())
    programs = [name for name in code if name != "CMakeLists.txt"]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(programs))
    parser.add_argument("--npm", type=Path, default=Path(), help="a folder with node_modules")
    parser.add_argument("--site", help="a folder of Python packages with openvino")
    options = parser.parse_args(words)
    named = options.names or programs
    wrong = False
    lacking = {name: missing(name, options) for name in named}
    able = [name for name in named if lacking[name] is None]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder, able, code)
        for name in named:
            if lacking[name] is not None:
                print(f"{name}: not run, as there is no {lacking[name]} here", flush=True)
                wrong |= bool(options.names)
                continue
            fixed = '"fixed.onnx"' in code[name]
            try:
                picture = perform(name, folder, options)
                most = off(picture, folder / ("expected_fixed.png" if fixed else "expected.png"))
            except RuntimeError as error:
                print(f"{name}: {error}", flush=True)
                wrong = True
                continue
            print(f"{name}: off by {most} of 255 at most", flush=True)
            wrong |= most > MOST_OFF
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
