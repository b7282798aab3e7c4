"""`fst stylize`, driven as a user would, in this process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from fst import Stylizer
from fst.cli import main

from .conftest import picture


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stylize(*arguments: object) -> int:
    return main(["stylize", *map(str, arguments)])


def test_the_default_output_is_beside_you(photos: Path, tiny_style: Path) -> None:
    assert stylize(photos / "photo_01.jpg", "--style", tiny_style) == 0
    out = Image.open("photo_01_tiny.jpg")
    assert out.size == Image.open(photos / "photo_01.jpg").size


def test_it_does_what_the_python_stylizer_does(photos: Path, tiny_style: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.open(photos / "photo_01.jpg").save("turned.jpg", exif=exif)
    assert stylize("turned.jpg", "--style", tiny_style, "-o", "o.png") == 0
    expected = Stylizer(tiny_style)(Image.open("turned.jpg"))
    assert expected.size == (70, 91)
    assert np.array_equal(np.asarray(Image.open("o.png")), np.asarray(expected))


def test_a_folder_keeps_its_structure(photos: Path, tiny_style: Path) -> None:
    assert stylize(photos, "--style", tiny_style, "-o", "out", "--size", 20) == 0
    made = sorted(path.relative_to("out") for path in Path("out").rglob("*.jpg"))
    assert len(made) == 12
    assert Path("nested/photo_00_tiny.jpg") in made
    assert min(Image.open("out/photo_01_tiny.jpg").size) == 20


def test_a_second_run_does_not_stylize_the_first_ones_results(tiny_style: Path) -> None:
    picture(20, 20, seed=1).save("a.jpg")
    assert stylize(".", "--style", tiny_style, "-o", "out") == 0
    assert stylize(".", "--style", tiny_style, "-o", "out", "--force") == 0
    assert len(list(Path("out").rglob("*.jpg"))) == 1


def test_a_glob_and_two_photos_of_one_name(tiny_style: Path) -> None:
    picture(20, 20, seed=1).save("a.jpg")
    picture(20, 20, seed=2).save("a.png")
    assert stylize("*", "--style", tiny_style, "-o", "out") == 0
    made = sorted(path.name for path in Path("out").iterdir())
    assert made == ["a.jpg_tiny.jpg", "a.png_tiny.jpg"]


def test_a_folder_without_photos_is_named_and_the_rest_are_stylized(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(20, 20, seed=1).save("a.jpg")
    Path("empty").mkdir()
    assert stylize("*", "--style", tiny_style, "-o", "out") == 1
    assert "folder empty holds no photos" in capsys.readouterr().err
    Path("empty").rmdir()
    assert stylize("*", "--style", tiny_style, "-o", "out", "--force") == 0  # `out` is not a photo
    assert stylize("out", "--style", tiny_style, "-o", "out") == 2


def test_a_file_name_that_is_not_text_is_accepted(tiny_style: Path) -> None:
    name = os.fsdecode(b"\xe4.jpg")
    picture(20, 20, seed=1).save(name)
    picture(20, 20, seed=2).save("z.jpg")
    command = [sys.executable, "-m", "fst", "stylize", ".", "--style", str(tiny_style)]
    subprocess.run([*command, "-o", "out"], check=True, capture_output=True)
    assert len(list(Path("out").iterdir())) == 2


def test_an_output_format_we_do_not_write_is_refused(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(20, 20, seed=1).save("a.jpg")
    assert stylize("a.jpg", "--style", tiny_style, "-o", "b.gif") == 2
    assert "'.gif' is not a format we write" in capsys.readouterr().err


def test_nothing_is_overwritten_without_force(
    photos: Path, tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("o.jpg").write_text("mine")
    command = (photos / "photo_01.jpg", "--style", tiny_style, "-o", "o.jpg")
    assert stylize(*command) == 1
    assert "o.jpg exists already; use --force" in capsys.readouterr().err
    assert Path("o.jpg").read_text() == "mine"
    assert stylize(*command, "--force") == 0
    assert Image.open("o.jpg").size == (91, 70)


def test_the_photo_itself_is_never_replaced(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(20, 20, seed=1).save("a.jpg")
    before = Path("a.jpg").read_bytes()
    assert stylize("a.jpg", "--style", tiny_style, "-o", "a.jpg", "--force") == 1
    assert "is the photo itself" in capsys.readouterr().err
    assert Path("a.jpg").read_bytes() == before


def test_a_bad_photo_is_named_and_the_rest_are_stylized(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(20, 20, seed=1).save("good.jpg")
    picture(9, 20, seed=1).save("small.png")
    Path("bad.jpg").write_text("no picture")
    assert stylize("bad.jpg", "gone.jpg", "small.png", "good.jpg", "--style", tiny_style) == 1
    out, err = capsys.readouterr()
    assert "bad.jpg is not a picture" in err
    assert "gone.jpg does not exist" in err
    assert "small.png: the photo has 9x20 px; at least 16" in err
    assert "Traceback" not in err
    assert "[4/4] good.jpg -> good_tiny.jpg" in out
    assert "1 photos stylized, 3 failed" in out


def test_orientation_alpha_and_profile(tiny_style: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture(40, 24, seed=3)
    image.save("turned.jpg", exif=exif, icc_profile=profile)
    assert stylize("turned.jpg", "--style", tiny_style) == 0
    out = Image.open("turned_tiny.jpg")
    assert out.size == (24, 40)
    assert out.getexif().get(0x0112, 1) == 1
    assert out.info["icc_profile"] == profile

    image.putalpha(Image.linear_gradient("L").resize((40, 24)))
    image.save("alpha.png")
    assert stylize("alpha.png", "--style", tiny_style) == 0
    made = Image.open("alpha_tiny.png")  # png, as JPEG has no alpha
    assert made.getchannel("A").tobytes() == image.getchannel("A").tobytes()


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        (["--style", "nope"], "style 'nope' is unknown; known styles"),
        (["--quality", "0"], "--quality 0 is not in 1 .. 100"),
        (["--size", "3"], "--size 3 is smaller than 16 px"),
        (["--device", "tpu"], "device 'tpu' is unknown"),
        (["--device", "cuda"], "device 'cuda' is not available"),
        (["--device", "cpu:x"], "device 'cpu:x' is unknown"),
        (["-o", "a.jpg"], "but 2 photos are given"),
    ],
)
def test_bad_requests_get_a_sentence_and_exit_2(
    tiny_style: Path,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    match: str,
) -> None:
    picture(20, 20, seed=1).save("x.jpg")
    picture(20, 20, seed=1).save("y.jpg")
    assert stylize("x.jpg", "y.jpg", "--style", tiny_style, *extra) == 2
    assert match in capsys.readouterr().err


def test_a_photo_too_large_for_the_memory_is_refused_before_it_starts(
    tiny_style: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(400, 300, seed=1).save("x.jpg")
    monkeypatch.setattr("fst.system.memory.available_memory", lambda: 10e6)
    assert stylize("x.jpg", "--style", tiny_style, "--tiles", "off") == 1
    assert "x.jpg: the photo of 400x300 px needs about" in capsys.readouterr().err
    assert stylize("x.jpg", "--style", tiny_style, "--size", "100000") == 1  # before it is resized
    assert "x.jpg: the photo of 133333x100000 px" in capsys.readouterr().err


def test_memory_that_the_photos_before_have_left_counts_as_free(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [10e6]
    monkeypatch.setattr("fst.system.memory.available_memory", lambda: 1e12 - sum(kept) * 1e5)
    monkeypatch.setattr("fst.inference.stylizer.give_back_freed_memory", kept.clear)
    Stylizer(tiny_style)(picture(40, 30, seed=1))
    assert not kept


def test_list_and_info_show_styles(tiny_style: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path("runs/tiny")
    run.mkdir(parents=True)
    (run / "tiny.safetensors").write_bytes(tiny_style.read_bytes())
    (Path("runs") / "broken").mkdir()
    Path("runs/broken/broken.safetensors").write_text("x")
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "tiny" in out
    assert "Swirl" in out
    assert "broken" in out
    assert main(["info", "tiny"]) == 0
    assert "width 4" in capsys.readouterr().out
