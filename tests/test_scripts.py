"""The scripts a user runs, on tiny data."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from fst.cli import main
from fst.errors import FstError
from fst.nets.style_file import load_style

from .conftest import Train

ROOT = Path(__file__).parent.parent
TINY = ["net.width=4", "data.size=32", "style.size=64", "trainer.accelerator=cpu"]
TINY += ["trainer.max_steps=2", "trainer.val_check_interval=2", "previews.size=32"]


def run(folder: Path, *command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **variables}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def script_main(name: str) -> Callable[[list[str]], int]:
    """``main`` of a Python script: in this process, which spares it the imports."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_quickstart_trains_with_the_shipped_network_and_shows_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["quickstart.py"])
    monkeypatch.delenv("FST_RUN_FOLDER", raising=False)
    quickstart = script_main("quickstart")
    assert quickstart(TINY) == 0
    printed = capsys.readouterr().out
    assert "loss network   lite (shipped)" in printed
    assert f"picture        {tmp_path / 'quickstart.jpg'}" in printed
    assert "tensorboard --logdir runs" in printed
    with Image.open(tmp_path / "quickstart.jpg") as sheet:
        assert sheet.width > 2.9 * sheet.height  # photo, painting, result
    with Image.open("photo.jpg") as photo:
        assert photo.size == (512, 512)
    Path("photo.jpg").write_bytes(b"the user's own")
    trained_on = (tmp_path / "runs" / "quickstart_train.txt").read_text()
    assert "chelsea" in trained_on
    assert "astronaut" not in trained_on
    assert quickstart(TINY) == 0
    assert "is trained already" in capsys.readouterr().out
    assert Path("photo.jpg").read_bytes() == b"the user's own"


NOTED = """#!/bin/sh
# fst, which only notes what it is asked for and makes the file that a training would leave
for word; do
  printf '%s\\n' "$word" >> "$NOTES"
  case $word in run_dir=*) run=${word#*=} ;; style=*) style=${word#*=} ;; esac
done
if [ "$1" = train ]; then mkdir -p "$run" && echo "$style" > "$run/$style.safetensors"; fi
"""


def test_train_all_styles_trains_those_asked_for(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every style by a stand-in for fst; then one with the same words by fst."""
    script = ROOT / "scripts" / "train_all_styles.sh"
    for folder in ("paintings", "bin"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bin" / "fst").write_text(NOTED)
    (tmp_path / "bin" / "fst").chmod(0o755)
    done = run(
        tmp_path, "sh", script, photos, "paintings", *TINY, "data.workers=0",
        STYLES="woodcut dots", OUT="made", NOTES="notes",
        PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = {path.stem: path.read_text().strip() for path in (tmp_path / "made").iterdir()}
    assert made == {"dots": "dots", "woodcut": "woodcut"}

    words = (tmp_path / "notes").read_text().splitlines()
    second, last = words.index("train", 1), words.index("list")
    assert last == len(words) - 1
    first = words[:second]
    assert words[second:last] == [word.replace("woodcut", "dots") for word in first]
    shutil.rmtree(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fst"])
    monkeypatch.delenv("FST_RUN_FOLDER", raising=False)
    assert main(first) == 0
    _, card = load_style(tmp_path / "runs" / "gallery" / "woodcut" / "woodcut.safetensors")
    assert card.loss_network["description"] == "lite (shipped)"
    assert card.training["steps"] == 2

    missing = run(tmp_path, "sh", script, photos, "nowhere")
    assert missing.returncode == 2
    assert "no folder nowhere" in missing.stderr
    assert "PHOTOS PAINTINGS" in run(tmp_path, "sh", script).stderr


def test_an_unfinished_run_gives_a_style_file(train: Train, tmp_path: Path) -> None:
    assert train("half=false", "style.title=Swirl", "data.description=Tiny") == 0
    style_of_run = script_main("style_of_run")
    assert style_of_run(["runs/swirl", "-o", "so_far.safetensors"]) == 0
    whole, card = load_style(tmp_path / "runs" / "swirl" / "swirl.safetensors")
    so_far, told = load_style(tmp_path / "so_far.safetensors")
    pairs = zip(whole.state_dict().values(), so_far.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert told.painting == card.painting
    assert told.training["steps"] == card.training["steps"] == 6
    assert told.training["weights"] == card.training["weights"]
    with pytest.raises(FstError, match="holds no run of fst train with a checkpoint"):
        style_of_run([str(tmp_path), "-o", "x.safetensors"])
