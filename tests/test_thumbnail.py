"""Small pictures on cards: made of a free photo, bounded, shown on a sheet."""

import base64
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fst import FstError
from fst.cli import main
from fst.inference.graph_file import metadata_of
from fst.nets.style_card import read_card
from fst.nets.style_file import read_checked, rewrite_card
from fst.pictures.thumbnail import MOST_BYTES, SIDE, thumbnail_image, thumbnail_text

from .conftest import picture
from .test_scripts import script_main


def test_a_thumbnail_is_small_and_comes_back() -> None:
    image = picture(200, 120, seed=4)
    image.info["exif"] = b"where it was taken"
    text = thumbnail_text(image)
    shown = thumbnail_image(text)
    assert shown is not None
    assert shown.size == (SIDE, SIDE)
    assert b"where" not in base64.b64decode(text)
    middle = image.crop((40, 0, 160, 120)).resize(shown.size)
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(middle)).mean() < 6
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    assert len(base64.b64decode(thumbnail_text(Image.fromarray(noise)))) <= MOST_BYTES


@pytest.mark.parametrize("text", ["", "no base64!", base64.b64encode(b"no JPEG").decode()])
def test_text_that_is_no_picture_is_none(text: str) -> None:
    assert thumbnail_image(text) is None


def test_the_script_changes_only_the_card_and_the_sheet_shows_it(
    several: Path,
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fst.commands.list.shipped_styles", dict)
    Path("runs/tiny").mkdir(parents=True)
    shutil.copy(tiny_style, "runs/tiny/tiny.safetensors")
    assert main(["list", "--sheet"]) == 2
    assert "no style here has a picture on its card" in capsys.readouterr().err
    Path("runs/several").mkdir()
    shutil.copy(several, "runs/several/several.safetensors")
    before = read_checked("runs/several/several.safetensors:blue")[1]
    assert script_main("thumbnails")(["runs/several/several.safetensors"]) == 0
    card, after = read_checked("runs/several/several.safetensors:blue")
    assert after == before
    assert thumbnail_image(card.thumbnail) is not None
    capsys.readouterr()
    assert main(["list", "--sheet"]) == 0
    assert "without a picture on their cards: tiny" in capsys.readouterr().out
    with Image.open("styles.jpg") as sheet:
        assert sheet.size == (2 * 150, 2 * (SIDE + 28))
    assert main(["list", "--sheet"]) == 2  # nothing is overwritten

    for words in ([], ["--json"]):
        assert main(["info", "runs/several/several.safetensors:blue", *words]) == 0
        assert card.thumbnail[:40] not in capsys.readouterr().out
    assert card.thumbnail not in metadata_of([card], ())["card"]


def test_a_card_with_a_picture_that_is_too_large_is_refused(
    tiny_style: Path, tmp_path: Path
) -> None:
    path = tmp_path / "large.safetensors"
    shutil.copy(tiny_style, path)
    card = read_card(path)
    card.thumbnail = "A" * 8004
    rewrite_card(path, card)
    with pytest.raises(FstError, match=r"fields of the wrong kind \(thumbnail\)"):
        read_card(path)
