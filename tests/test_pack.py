"""`fst pack`: a folder for a model hub, without the painting, that overwrites nothing."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from PIL import Image

from fst import Stylizer
from fst.cli import main
from fst.nets.model_card import model_card, plain
from fst.nets.style_card import Card, read_card
from fst.nets.style_file import load_style
from fst.pictures.thumbnail import thumbnail_text

from .conftest import picture

MINE = ["--license", "mit", "--author", "A. Name"]


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mine") / "beach.jpg"
    exif = Image.Exif()
    exif[0x010E] = "our secret beach"
    picture(700, 600, seed=8).save(path, exif=exif)
    return path


def front_matter(readme: str) -> dict[str, object]:
    _, said, _ = readme.split("---\n", 2)
    return yaml.safe_load(said)


def test_a_folder_has_what_a_hub_wants(tiny_style: Path, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    words = ["pack", str(tiny_style), *MINE, "--photo", str(photo), "--onnx", "-o", str(folder)]
    assert main(words) == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"LICENSE", "README.md", "example.jpg", "tiny.onnx", "tiny.safetensors"}
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]
    assert (folder / "tiny.safetensors").read_bytes() == tiny_style.read_bytes()
    assert "A. Name" in (folder / "LICENSE").read_text()
    onnx.checker.check_model(onnx.load(folder / "tiny.onnx"))

    readme = (folder / "README.md").read_text()
    said = front_matter(readme)
    assert (said["license"], said["pipeline_tag"]) == ("mit", "image-to-image")
    assert said["library_name"] == "fst"
    assert {"style-transfer", "onnx"} <= {*said["tags"]}  # type: ignore[misc]
    assert "| painting | Swirl |" in readme
    assert "| the painting's license | CC0 |" in readme

    example = Image.open(folder / "example.jpg")
    assert min(example.size) == 512
    assert not example.getexif()
    assert b"secret" not in b"".join(path.read_bytes() for path in folder.iterdir())
    expected = Stylizer(tiny_style)(
        Image.open(photo).resize(example.size, Image.Resampling.LANCZOS)
    )
    assert np.abs(np.asarray(example).astype(int) - np.asarray(expected)).mean() < 3


def test_the_code_of_the_model_card_makes_the_picture(
    tiny_style: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hub"
    words = ["pack", str(tiny_style), *MINE, "--photo", str(photo), "--onnx", "-o", str(folder)]
    assert main(words) == 0
    Image.open(photo).resize((70, 61)).save(folder / "photo.jpg")
    monkeypatch.chdir(folder)
    expected = np.asarray(Stylizer(tiny_style)("photo.jpg")).astype(int)
    codes = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(codes) == 2
    for code in codes:
        exec(compile(code, "README.md", "exec"), {})
        made = np.asarray(Image.open("picture.jpg"))  # which JPEG has changed a little
        assert np.abs(made - expected).mean() < 3


def test_one_painting_of_several_stands_alone(several: Path, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "green"
    words = ["pack", f"{several}:green", *MINE, "--photo", str(photo), "-o", str(folder)]
    assert main(words) == 0
    alone, card = load_style(folder / "green.safetensors")
    among, _ = load_style(f"{several}:green")
    assert card.name == "green"
    for name, value in among.state_dict().items():
        assert (alone.state_dict()[name] == value).all()


def test_a_card_brings_its_thumbnail_and_no_example_is_a_word(
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    card = read_card(tiny_style)
    card.thumbnail = thumbnail_text(picture(120, 100, seed=2))
    monkeypatch.setattr("fst.inference.hub_folder.read_card", lambda path: card)
    monkeypatch.setattr("fst.system.paths.find_spec", lambda name: None)
    assert main(["pack", str(tiny_style), *MINE, "-o", str(tmp_path / "hub")]) == 0
    assert "no example picture" in capsys.readouterr().err
    names = {path.name for path in (tmp_path / "hub").iterdir()}
    assert names == {"LICENSE", "README.md", "thumbnail.jpg", "tiny.safetensors"}
    assert "example.jpg" not in (tmp_path / "hub" / "README.md").read_text()


def test_a_shipped_style_has_the_license_of_the_project(photo: Path, tmp_path: Path) -> None:
    assert main(["pack", "udnie", "--photo", str(photo), "-o", str(tmp_path / "hub")]) == 0
    own = (Path(__file__).parent.parent / "LICENSE").read_text()
    text = (tmp_path / "hub" / "LICENSE").read_text()
    assert text.split("\n", 3)[3] == own.split("\n", 3)[3]
    assert "The fst authors" in text
    assert (tmp_path / "hub" / "thumbnail.jpg").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "does not say under which license you give its weights; give --license mit"),
        (["--license", "mit"], "--license mit names who gives the weights; give --author NAME"),
        (["--license", "cc-by-4.0"], "--license cc-by-4.0 needs its text; give --license-file"),
        (["--license", "my: own"], "is not a license's short name, for instance mit"),
        (["--license", "x", "--license-file", "no.txt"], "--license-file no.txt cannot be read"),
        ([*MINE, "--photo", "nowhere.jpg"], "nowhere.jpg"),
    ],
)
def test_what_cannot_be_packed_is_one_sentence(
    words: list[str],
    sentence: str,
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pack", str(tiny_style), "-o", "hub", *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(
    tiny_style: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hub").mkdir()
    words = ["pack", str(tiny_style), *MINE, "--photo", str(photo), "-o", str(tmp_path / "hub")]
    assert main(words) == 0  # an empty folder is filled
    (tmp_path / "hub" / "README.md").write_text("my words")
    assert main(words) == 2
    assert "exists already and stays as it is" in capsys.readouterr().err
    assert (tmp_path / "hub" / "README.md").read_text() == "my words"


def test_a_strangers_words_are_text(tmp_path: Path) -> None:
    title = "<script>alert(1)</script> | [x](http://y)\n# heading"
    card = Card(name="n", net={}, painting={"title": title, "license": "![](http://z)"})
    readme = model_card(card, license_id="their-own", file="n.safetensors", onnx=None, pictures={})
    assert "<script>" not in readme.replace("\\<", "")
    assert "\n# heading" not in readme
    assert "\\[x\\](http://y)" in readme
    assert front_matter(readme)["license"] == "other"
    assert front_matter(readme)["license_name"] == "their-own"
    assert plain("a_b*c") == "a\\_b\\*c"
