"""What a terminal shows while a style is trained, and what a log gets."""

import io
import json
import re
from pathlib import Path

import pytest

from fst.system import console
from fst.system.console import painted, say
from fst.system.progress import ProgressLine
from fst.training.progress import StepsLine

from .conftest import Train

WORDS = ("trainer.val_check_interval=100", "previews.photos=0")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stderr counts as a terminal."""
    for room in ("fst.experiments.parts", "fst.system.progress"):
        monkeypatch.setattr(f"{room}.moves_here", lambda: True)
    monkeypatch.setattr("fst.system.progress.EVERY", 0.0)


def shown(text: str) -> list[str]:
    return re.split(r"\r\x1b\[K|\n", text)


def test_the_line_of_a_resumed_run_counts_steps_and_the_time_left(
    train: Train, terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*WORDS, "checkpoint_every=2", "trainer.max_steps=8")
    assert train(*words, "trainer.limit_train_batches=4") == 0
    capsys.readouterr()
    assert train(*words) == 0
    err = capsys.readouterr().err
    lines = [line for line in shown(err) if "step " in line]
    assert re.search(r"\] +step 4/8$", lines[0])
    sixth = next(line for line in lines if "step 6/8" in line)
    assert re.search(r"content \S+  style \S+  tv \S+  \S+ images/s  \d+ s left", sixth)
    assert "epoch" not in "".join(lines).lower()
    assert not console.MOVING


def test_the_speed_after_a_resume_is_that_of_its_own_steps() -> None:
    now = 0.0
    line = StepsLine(100, "steps", begun=40, stream=io.StringIO(), clock=lambda: now)
    now = 10.0
    line.reach(50)
    assert "50 s left" in line.line(200)
    line.close(erased=True)


def test_solving_for_the_weights_moves_a_line(
    train: Train, terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*WORDS, "loss=calibrated", "trainer.max_steps=1") == 0
    assert re.search(r"\d+/120  \S+ iterations/s", capsys.readouterr().err)


def test_what_is_said_stands_above_the_line_that_moves(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    line = ProgressLine(3, "photos", stream=stream)
    before = stream.getvalue()
    say("style file     x")
    assert stream.getvalue().removeprefix(before).startswith("\r\x1b[K\r\x1b[K")
    line.close(erased=True)
    assert capsys.readouterr().out == "style file     x\n"


def test_colors_are_for_terminals_and_for_who_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert painted("x", console.RED, Terminal()) == "\x1b[31mx\x1b[0m"
    assert painted("x", console.RED, io.StringIO()) == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert painted("x", console.RED, Terminal()) == "x"


def test_a_scheduler_gets_a_json_object_a_line(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*WORDS, "--log", "json", "trainer.max_steps=3") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    steps = [one for one in told if one["event"] == "step"]
    assert [one["step"] for one in steps] == [1, 2, 3]
    assert {"content", "style", "tv", "total"} <= steps[0]["losses"].keys()
    assert all({"time", "text"} <= one.keys() for one in told)
    (file,) = [one for one in told if one["event"] == "style_file"]
    assert Path(file["path"]).is_file()
    assert train("data.root=gone", "--log=json") == 2
    captured = capsys.readouterr()
    (error,) = [json.loads(line) for line in captured.out.splitlines()]
    assert (error["event"], error["exit_code"]) == ("error", 2)
    assert "gone does not exist" in error["text"]
    assert train("--log", "loud") == 2
    assert "--log loud is unknown; use one of text, json" in capsys.readouterr().err
