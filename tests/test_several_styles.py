"""Several styles in one command: a file each, or one sheet for each photo."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fst import Stylizer
from fst.cli import main
from fst.inference.chosen_styles import chosen_styles
from fst.nets.style_names import shipped_styles
from fst.pictures.sheet import sheet_of

from .conftest import picture


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one to work in, with two photos."""
    monkeypatch.chdir(tmp_path)
    picture(80, 60, seed=1).save("a.png")
    picture(60, 90, seed=2).save("b.png")
    return tmp_path


def made(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.*") if path.name not in ("a.png", "b.png"))


def test_several_styles_make_a_file_each(several: Path, tiny_style: Path, folder: Path) -> None:
    styles = ["--style", f"{several}:red", "--style", str(tiny_style), "--quality", "100"]
    assert main(["stylize", "a.png", "b.png", *styles, "-o", "out"]) == 0
    assert made(folder) == ["a_red.jpg", "a_tiny.jpg", "b_red.jpg", "b_tiny.jpg"]
    expected = Stylizer(f"{several}:red")(Image.open("a.png"))
    off = np.asarray(Image.open("out/a_red.jpg")).astype(int) - np.asarray(expected)
    assert np.abs(off).mean() < 3


def test_a_sheet_has_the_photo_and_every_style(
    several: Path,
    tiny_style: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("c.png").write_bytes(b"no picture")
    styles = ["--style", f"{several}:red", "--style", str(tiny_style), "--style", f"{several}:blue"]
    assert main(["stylize", "a.png", "b.png", "c.png", *styles, "--sheet"]) == 1  # c.png
    said = capsys.readouterr()
    assert said.err.count("c.png") == 1
    assert "a.png -> a_sheet.jpg" in said.out
    assert made(folder) == ["a_sheet.jpg", "b_sheet.jpg", "c.png"]
    with Image.open("a_sheet.jpg") as sheet:
        assert sheet.size == (2 * 80, 2 * (60 + 28))
        first = np.asarray(sheet.crop((0, 28, 80, 88))).astype(int)
        assert np.abs(first - np.asarray(picture(80, 60, seed=1))).mean() < 3
    assert main(["stylize", "a.png", *styles, "--sheet", "--size", "30", "-o", "small.png"]) == 0
    assert Image.open("small.png").size == (2 * 40, 2 * (30 + 28))
    assert main(["stylize", "a.png", *styles, "--sheet", "--skip-existing"]) == 0
    assert "1 photos skipped" in capsys.readouterr().out


def test_all_means_every_shipped_style() -> None:
    assert [style.label for style in chosen_styles(["all", "udnie"])] == [*shipped_styles()]


def test_a_sheet_is_filled_to_the_corner() -> None:
    sheet = sheet_of([Image.new("RGB", (10, 20), "red")] * 5)
    assert sheet.size == (30, 40)
    assert sheet.getpixel((29, 39)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--style", "udnie", "-o", "x.jpg"], "-o x.jpg is one file, but 2 styles are given"),
        (["--style", "udnie", "--blend", "udnie=1"], "--blend is between the paintings of one"),
        (["--style", "nope"], "style 'nope' is unknown"),
    ],
)
def test_what_several_styles_cannot_do_is_one_sentence(
    words: list[str], sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stylize", "a.png", "--style", "woodcut", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert made(folder) == []


def test_two_styles_of_one_name_are_refused(several: Path, folder: Path) -> None:
    Path("red.safetensors").write_bytes(Path(several).read_bytes())
    words = ["--style", f"{several}:red", "--style", "red.safetensors:red"]
    assert main(["stylize", "a.png", *words]) == 2
