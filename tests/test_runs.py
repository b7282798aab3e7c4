"""A line a run: what it is doing, or has ended as."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from fst.cli import main
from fst.evaluation.run_states import run_states

from .conftest import Train, picture


def run_folder(place: Path, name: str = "sea", **status: object) -> Path:
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(f"style: {{name: {name}}}\ntrainer: {{max_steps: 50}}\n")
    (place / ".lock").touch()
    if status:
        told = {"step": 20, "max_steps": 50, "updated": time.time(), **status}
        (place / "status.json").write_text(json.dumps(told))
    return place


def states(folder: Path) -> dict[str, tuple[str, str]]:
    return {run.folder.name: (run.state, run.ended) for run in run_states(folder)}


def test_every_state_is_told_from_what_lies_there(tmp_path: Path) -> None:
    sweep = tmp_path / "runs" / "multirun" / "today"
    running = run_folder(sweep / "0", state="running", seconds_a_step=2.0)
    run_folder(sweep / "1", state="running")  # nobody holds its lock
    done = run_folder(sweep / "2", state="finished")
    (done / "sea.safetensors").touch()
    worse = run_folder(sweep / "3", state="finished")
    (worse / "sea.failed.safetensors").touch()
    run_folder(tmp_path / "runs" / "4", state="stopped", ended="signal 15")
    waiting = run_folder(tmp_path / "runs" / "5")
    run_folder(tmp_path / "runs" / "6", state="failed", ended="the loss is not finite")
    broken = run_folder(tmp_path / "runs" / "7", state="running")
    (broken / "status.json").write_text("{")
    with FileLock(running / ".lock"), FileLock(waiting / ".lock"):
        found = states(tmp_path / "runs")
        (left,) = [run.left_s for run in run_states(sweep) if run.folder == running]
    assert {name: state for name, (state, _) in found.items()} == {
        "0": "running",
        "1": "killed",
        "2": "finished",
        "3": "failed",
        "4": "stopped",
        "5": "waiting",
        "6": "failed",
        "7": "failed",
    }
    assert found["6"][1] == "the loss is not finite"
    assert found["4"][1] == "signal 15"
    assert "no better than the photos" in found["3"][1]
    assert left == pytest.approx(60, abs=5)


def test_a_run_tells_of_itself_while_it_runs_and_at_its_end(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr("fst.training.run_status.EVERY_S", 0.0)
    seen: list[str] = []
    monkeypatch.setattr(
        "fst.training.run_status.RunStatus.on_train_batch_start",
        lambda *args: seen.extend(run.state for run in run_states(tmp_path)),
        raising=False,
    )
    train("trainer.max_steps=3", f"run_dir={tmp_path / 'a'}")
    assert set(seen) == {"running"}
    (run,) = run_states(tmp_path)
    assert (run.state, run.step, run.max_steps, run.ended) == ("finished", 3, 3, "")
    assert [name for name, _ in run.losses] == ["content", "style", "total"]
    assert run.held_out
    assert run.artifacts
    capsys.readouterr()
    assert main(["runs", str(tmp_path), "--sheet", str(tmp_path / "s.jpg")]) == 0
    printed = capsys.readouterr().out
    assert "finished" in printed
    assert "3/3" in printed
    assert "1 finished" in printed
    assert (tmp_path / "s.jpg").exists()
    assert main(["runs", str(tmp_path), "--sheet", str(tmp_path / "s.jpg")]) == 2


def test_a_stopped_run_says_what_stopped_it(train: Train, tmp_path: Path, monkeypatch) -> None:
    def stop(*args: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    assert threading.current_thread() is threading.main_thread()
    monkeypatch.setattr(
        "fst.training.run_status.RunStatus.on_train_batch_start", stop, raising=False
    )
    assert train("trainer.max_steps=3", f"run_dir={tmp_path / 'a'}") == 143
    assert states(tmp_path) == {"a": ("stopped", "signal 15; the same command resumes")}


def test_folders_without_runs_are_refused(tmp_path: Path, capsys) -> None:
    picture(32, 32, 0).save(tmp_path / "a.png")
    assert main(["runs", str(tmp_path)]) == 2
    assert "there is no run in" in capsys.readouterr().err
    assert main(["runs", str(tmp_path / "b")]) == 2
    assert "is not a folder" in capsys.readouterr().err
