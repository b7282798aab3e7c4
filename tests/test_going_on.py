"""A longer run from a finished one, by ``trainer.max_steps`` alone."""

from pathlib import Path

import pytest
import torch
import yaml

from fst.nets.style_card import read_card
from fst.nets.style_file import load_style

from .conftest import Train

QUICK = ("half=false", "previews.photos=0", "checkpoint_every=100", "trainer.val_check_interval=2")
STYLE = Path("runs/swirl/swirl.safetensors")


def weights(path: Path) -> list[torch.Tensor]:
    return list(load_style(path)[0].state_dict().values())


@pytest.mark.parametrize("interval", [2, 100])
def test_with_a_constant_rate_it_ends_as_if_it_had_been_that_long(
    train: Train, interval: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*QUICK[:3], f"trainer.val_check_interval={interval}", "optimizer.schedule=constant")
    assert train(*words, "trainer.max_steps=6", "run_dir=runs/whole") == 0
    for steps in (3, 6):
        assert train(*words, f"trainer.max_steps={steps}") == 0
    pairs = zip(weights(Path("runs/whole/swirl.safetensors")), weights(STYLE), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
    assert "going on       from step 3 to 6, as if it had been" in capsys.readouterr().out
    assert read_card(STYLE).training["steps"] == 6


@pytest.mark.parametrize("schedule", ["one_cycle", "linear"])
def test_a_rate_that_has_ended_begins_a_new_cycle(
    train: Train, schedule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*QUICK, f"optimizer.schedule={schedule}")
    assert train(*words, "trainer.max_steps=4") == 0
    before = weights(STYLE)
    limit = "trainer.limit_train_batches=7"  # in the middle of the new cycle
    assert train(*words, "trainer.max_steps=10", limit) == 0
    assert train(*words, "trainer.max_steps=10") == 0
    out = capsys.readouterr().out
    assert out.count(f"going on       from step 4 to 10: a new {schedule} from the finished") == 1
    assert not torch.equal(before[0], weights(STYLE)[0])
    card = read_card(STYLE)
    assert card.training["steps"] == 10
    assert card.training["went_on"][0].startswith(f"from step 4 to 10: a new {schedule}")
    kept = yaml.safe_load(Path("runs/swirl/config.yaml").read_text())
    assert kept["trainer"]["max_steps"] == 10
    last = torch.load("runs/swirl/checkpoints/step_00000010.ckpt", weights_only=True)
    (state,) = last["lr_schedulers"]
    assert (state["last_epoch"], state.get("total_steps", 6)) == (6, 6)
    assert train(*words, "trainer.max_steps=10") == 0
    out = capsys.readouterr().out
    assert "is trained already" in out
    assert "held out       content" in out
    assert "going on" not in out


def test_a_cycle_that_is_under_way_is_finished_first(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*QUICK, "optimizer.schedule=one_cycle")
    assert train(*words, "trainer.max_steps=6", "trainer.limit_train_batches=2") == 0
    assert train(*words, "trainer.max_steps=8") == 2
    assert "trainer.max_steps 6 -> 8" in capsys.readouterr().err
    assert train(*words, "trainer.max_steps=8", "data.size=40") == 2
