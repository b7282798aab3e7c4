"""The scripts a user runs, on tiny data."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image

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


def test_quickstart_trains_with_the_shipped_network_and_shows_a_picture(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "quickstart.py"
    done = run(tmp_path, sys.executable, script, *TINY)
    assert done.returncode == 0, done.stderr
    assert "loss network   lite (shipped)" in done.stdout
    assert f"picture        {tmp_path / 'quickstart.jpg'}" in done.stdout
    assert "tensorboard --logdir runs" in done.stdout
    with Image.open(tmp_path / "quickstart.jpg") as sheet:
        assert sheet.width > 2.9 * sheet.height  # photo, painting, result
    trained_on = (tmp_path / "runs" / "quickstart_train.txt").read_text()
    assert "chelsea" in trained_on
    assert "astronaut" not in trained_on
    again = run(tmp_path, sys.executable, script, *TINY)
    assert again.returncode == 0
    assert "is trained already" in again.stdout


def test_train_all_styles_trains_those_asked_for(photos: Path, tmp_path: Path) -> None:
    script = ROOT / "scripts" / "train_all_styles.sh"
    (tmp_path / "paintings").mkdir()
    done = run(
        tmp_path, "sh", script, photos, "paintings", *TINY, "data.workers=0",
        STYLES="woodcut dots", OUT="made",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(path.stem for path in (tmp_path / "made").iterdir()) == ["dots", "woodcut"]
    _, card = load_style(tmp_path / "made" / "woodcut.safetensors")
    assert card.loss_network["description"] == "lite (shipped)"
    assert card.training["steps"] == 2

    missing = run(tmp_path, "sh", script, photos, "nowhere")
    assert missing.returncode == 2
    assert "no folder nowhere" in missing.stderr
    assert "PHOTOS PAINTINGS" in run(tmp_path, "sh", script).stderr


def test_an_unfinished_run_gives_a_style_file(train: Train, tmp_path: Path) -> None:
    assert train("half=false", "style.title=Swirl", "data.description=Tiny") == 0
    command = [sys.executable, ROOT / "scripts" / "style_of_run.py", "runs/swirl", "-o"]
    done = run(tmp_path, *command, "so_far.safetensors")
    assert done.returncode == 0, done.stderr
    whole, card = load_style(tmp_path / "runs" / "swirl" / "swirl.safetensors")
    so_far, told = load_style(tmp_path / "so_far.safetensors")
    pairs = zip(whole.state_dict().values(), so_far.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert told.painting == card.painting
    assert told.training["steps"] == card.training["steps"] == 6
    assert told.training["weights"] == card.training["weights"]
    none = run(tmp_path, *command[:2], tmp_path, "-o", "x.safetensors")
    assert none.returncode == 1
    assert "holds no run of fst train with a checkpoint" in none.stderr
