"""Sheets of pictures; `fst sheet`: the runs of a sweep side by side."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from fst.cli import main
from fst.pictures.sheet import contact_sheet, labeled
from fst.system.untrusted import read_yaml
from tests.conftest import Train


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_contact_sheet_keeps_rows_and_columns_in_line() -> None:
    colors = [["red", "blue"], ["lime", "black"]]
    sizes = [[(10, 5), (20, 8)], [(12, 6), (20, 6)]]
    rows = [[Image.new("RGB", sizes[r][c], colors[r][c]) for c in range(2)] for r in range(2)]
    sheet = contact_sheet(rows)
    assert sheet.size == (12 + 20, 8 + 6)
    assert sheet.getpixel((12, 0)) == (0, 0, 255)
    assert sheet.getpixel((0, 8)) == (0, 255, 0)
    assert sheet.getpixel((11, 0)) == (255, 255, 255)


def test_a_labeled_picture_is_whole_below_its_words() -> None:
    picture = Image.new("RGB", (80, 50), "red")
    sheet = labeled(picture, "photo")
    assert sheet.width == 80
    label = sheet.height - 50
    assert sheet.crop((0, label, 80, sheet.height)).tobytes() == picture.tobytes()
    assert sheet.crop((0, 0, 80, label)).convert("L").getextrema() == (0, 255)


def test_a_sweep_of_two_settings_is_one_grid_and_a_ranked_table(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ["-m", "loss=relative", "loss.style_weight=1,4", "style.size=64,96"]
    assert train(*sweep, "previews.photos=0", "trainer.max_steps=3") == 0
    (folder,) = Path("runs/multirun").iterdir()
    assert main(["sheet", str(folder), "--count", "1", "--size", "64", "-o", "out/sheet"]) == 0
    shown = capsys.readouterr().out
    assert "runs           4, which differ in style.size, loss.style_weight" in shown
    rows = rows_of(Path("out/sheet.csv"))
    settings = {(row["loss.style_weight"], row["style.size"]) for row in rows}
    assert settings == {("1", "64"), ("1", "96"), ("4", "64"), ("4", "96")}
    ranks = [float(row["rank"]) for row in rows]
    assert ranks == sorted(ranks)
    with Image.open("out/sheet.jpg") as sheet:  # two pictures and a label each way
        assert min(sheet.size) > 2 * 64


def test_runs_of_different_length_compare(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["loss=relative", "loss.tv_weight=0", "trainer.val_check_interval=null"]
    words += ["net.width=6", "previews.photos=0"]
    for steps in (1, 60):
        assert train(*words, f"trainer.max_steps={steps}", f"run_dir=runs/after_{steps}") == 0
    assert main(["sheet", "runs/after_1", "runs/after_60", "--size", "64", "--count", "2"]) == 0
    rows = rows_of(Path("sheet.csv"))
    by_run = {Path(row["run"]).name: row for row in rows}
    assert float(by_run["after_60"]["style"]) < float(by_run["after_1"]["style"])
    assert "trainer.max_steps" in rows[0]
    with Image.open("sheet.jpg") as sheet:  # the photos, then a row a run
        assert sheet.size[1] >= 3 * 64

    secret = Path("secret.txt")  # a stranger's run may name any text file: its lines stay unseen
    secret.write_text("correct horse battery staple\n")
    config = Path("runs/after_1/config.yaml")
    settings = read_yaml(config)
    settings["data"] |= {"root": str(secret), "val_root": str(secret)}
    config.write_text(json.dumps(settings))
    assert main(["sheet", "runs/after_1", "runs/after_60"]) == 2
    said = capsys.readouterr().err
    assert "give --photos FOLDER" in said
    assert "horse" not in said


def test_without_a_finished_run_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["sheet", "empty"]) == 2
    assert "there is no finished run in empty; `fst train -m ...`" in capsys.readouterr().err
    assert main(["sheet", "nowhere"]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err
