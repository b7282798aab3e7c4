"""A run that ends worse than the untouched photos makes no style; odd inputs are noted."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from fst.cli import main
from fst.nets.style_file import load_style
from fst.nets.style_names import trained_styles
from fst.training.lightning_module import FastStyleTransfer
from fst.training.outcome import Outcome
from tests.conftest import Train, picture

FAILED = Path("runs/swirl/swirl.failed.safetensors")
GOOD = Path("runs/swirl/swirl.safetensors")


@pytest.mark.parametrize("schedule", ["one_cycle", "linear", "constant"])
def test_a_rate_far_too_high_is_caught_under_every_schedule(
    train: Train, schedule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"optimizer.schedule={schedule}", "trainer.max_steps=60", "loss.style_weight=3"]
    assert train("optimizer.learning_rate=2", "previews.every=100", *words) == 2
    assert re.search(r"the weights grew to .* times their size", capsys.readouterr().err)
    assert not list(Path("runs/swirl").glob("*.safetensors"))


def spoil(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step turns all pictures black, as weights do that ran away slowly."""

    def on_train_end(self: FastStyleTransfer) -> None:
        with torch.no_grad():
            self.net.conv2.conv.bias.fill_(-1000)

    monkeypatch.setattr(FastStyleTransfer, "on_train_end", on_train_end)


@pytest.mark.parametrize("several", [False, True])
def test_a_run_that_ends_worse_than_the_photos_makes_no_style(
    train: Train, monkeypatch: pytest.MonkeyPatch, several: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    words = []
    if several:
        picture(96, 96, seed=5).save("waves.png")
        picture(96, 80, seed=6).save("dunes.png")
        words = ["styles=[waves.png,dunes.png]", "style.name=swirl"]

    def run(*more: str) -> int:
        return train(*words, *more, given_painting=not several)

    with monkeypatch.context() as spoiled:
        spoil(spoiled)
        assert run() == 1
    error = capsys.readouterr().err
    assert (
        f"{FAILED} is no style to use: after 6 steps the net is worse than the untouched" in error
    )
    assert "resume=false, with a lower learning rate: optimizer.learning_rate=0.0002" in error
    assert "Traceback" not in error
    assert not GOOD.exists()
    assert trained_styles() == {}
    load_style(Path(f"{FAILED}:waves") if several else FAILED)  # to be looked at
    assert main(["list"]) == 0
    assert "failed" not in capsys.readouterr().out
    assert main(["info", "swirl"]) == 2
    assert run() == 0  # the last checkpoint, written before, is good: the same command ends well
    assert GOOD.exists()
    assert not FAILED.exists()


def test_few_steps_from_nothing_are_told_of_and_make_a_style(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("warm_start=null") == 0
    assert "note           6 steps are few: the net is still worse than" in capsys.readouterr().out
    assert GOOD.exists()


def test_many_steps_from_nothing_must_be_better_than_the_photos(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fst.training.outcome.LONG", 6)
    assert train("warm_start=null") == 1
    assert FAILED.exists()


def test_what_is_worse_at_the_end_than_at_the_start_failed_however_short(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals = iter([5.0, 6.0, 6.1])  # at the start, untouched, at the end
    monkeypatch.setattr(Outcome, "total", lambda *args, **options: next(totals))
    assert train() == 1


def test_what_is_seldom_meant_is_noted(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (80, 80), "teal").save("teal.png")
    (tmp_path / "one").mkdir()
    picture(90, 70, seed=1).save("one/a.jpg")
    assert train("style.image=teal.png", "data.root=one", "trainer.max_steps=1") == 0
    out = capsys.readouterr().out
    assert "note           the painting teal is of one color" in out
    assert "note           there is one photo to train on" in out
    assert re.search(r"note           \S*one/a\.jpg is trained on and held out as well", out)
    (tmp_path / "other").mkdir()
    for number in range(3):
        picture(90, 70, seed=number).save(f"other/{number}.jpg")
    assert train("data.root=other", "data.val_root=one", "trainer.max_steps=1") == 0
    out = capsys.readouterr().out
    assert "note           3 photos are few" in out
    assert "is trained on and held out as well" in out  # the same bytes under another name
    assert "one color" not in out
    words = ["experiment=quickstart", "resume=false", "style.strength=0.5"]
    assert train("data.root=other", "trainer.max_steps=1", *words) == 0
    assert "photos are few" not in capsys.readouterr().out
