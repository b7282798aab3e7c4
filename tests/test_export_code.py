"""The code of docs/export.md: all of it is marked, and what runs here gives fst's picture."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fst import Stylizer
from fst.cli import main

from .conftest import picture

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "export.md").read_text()
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "proofs" / "export_code.py"))


def test_every_program_of_the_page_says_whether_it_was_run() -> None:
    lines = PAGE.splitlines()
    programs = [n for n, line in enumerate(lines) if re.match(r"```(?!sh$)\w", line)]
    assert len(programs) > 8
    for number in programs:
        assert re.match(r"<!-- (run: \S+|shown: not \w+) -->", lines[number - 1]), lines[number]
    names = SCRIPT["blocks"](PAGE).keys()
    assert {"with_onnxruntime.py", "web.mjs", "openvino.cpp", "opencv.cpp", "pt2.py"} <= names


@pytest.mark.parametrize(
    ("name", "words", "size"),
    [
        ("with_onnxruntime.py", ["--format", "onnx", "-o", "great_wave.onnx"], (45, 33)),
        ("opencv.py", ["--for", "opencv", "--size", "48x64", "-o", "fixed.onnx"], (64, 48)),
    ],
)
def test_the_code_of_the_page_makes_the_picture(
    name: str,
    words: list[str],
    size: tuple[int, int],
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fst.inference.graph_file.PARITY_SHAPES", [(1, 17, 31)])
    assert main(["export", str(tiny_style), *words]) == 0
    picture(*size, seed=5).save("photo.png")
    code = SCRIPT["blocks"](PAGE)[name].replace("(640, 480)", "(64, 48)")  # which is faster
    exec(compile(code, name, "exec"), {})
    made = np.asarray(Image.open("picture.png")).astype(int)
    expected = Stylizer(tiny_style)(Image.open("photo.png"))
    assert np.abs(made - np.asarray(expected)).max() <= 2
