"""Checkpoints are whole or not there, and a damaged one is known by its checksum."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fst.errors import FstError
from fst.training.checkpoint_files import (
    Checkpoint,
    Checkpoints,
    fault,
    read_checkpoint,
    write_checkpoint,
)


def checkpoint(step: int = 3) -> dict[str, object]:
    return {"global_step": step, "state_dict": {"weight": torch.arange(2000.0)}}


def test_what_is_written_is_read_and_torch_reads_it_too(tmp_path: Path) -> None:
    path = tmp_path / "new" / "step_00000003.ckpt"
    write_checkpoint(path, checkpoint())
    for found in (read_checkpoint(path), torch.load(path, weights_only=True)):
        assert torch.equal(found["state_dict"]["weight"], torch.arange(2000.0))
    assert Checkpoint.read(path).step == 3
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "step_00000003.ckpt"
    write_checkpoint(path, checkpoint())
    whole = path.read_bytes()
    rng = random.Random(0)
    for _ in range(200):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        assert fault(path) is not None
    path.write_bytes(whole)
    assert fault(path) is None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: data[:-1], "is cut short"),
        (lambda data: data[: len(data) // 2], "is cut short"),
        (lambda data: bytes(len(data)), "is cut short or not a checkpoint"),
        (lambda data: bytes(len(data) // 2) + data[len(data) // 2 :], "checksum does not match"),
    ],
)
def test_the_one_before_a_damaged_one_is_taken(tmp_path: Path, damage: object, reason: str) -> None:
    files = Checkpoints(tmp_path)
    for step in (250, 1000):
        write_checkpoint(files.path(step), checkpoint(step))
    newest = files.path(1000)
    newest.write_bytes(damage(newest.read_bytes()))  # type: ignore[operator]
    found, faults = files.newest_whole()
    assert found is not None
    assert (found.path, found.step) == (files.path(250), 250)
    assert list(faults) == [newest]
    assert reason in faults[newest]
    with pytest.raises(FstError, match=reason):
        read_checkpoint(newest)


def test_the_newest_are_kept_and_the_best(tmp_path: Path) -> None:
    files = Checkpoints(tmp_path)
    write_checkpoint(files.best, checkpoint(1))
    for step in (9, 10, 100):
        write_checkpoint(files.path(step), checkpoint(step))
        files.prune(2)
    assert [path.name for path in files.found()] == [
        *("step_00000100.ckpt", "step_00000010.ckpt", "best.ckpt")
    ]
    for path in files.found()[:2]:
        path.write_bytes(b"")
    newest = files.newest_whole()[0]
    assert newest is not None
    assert newest.path == files.best


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_never_written(tmp_path: Path, value: float) -> None:
    state = {"global_step": 3, "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}]}
    state["optimizer_states"][0]["state"][0]["exp_avg"][1] = value  # type: ignore[index]
    with pytest.raises(
        FstError, match=r"optimizer_states\.0\.state\.0\.exp_avg holds NaN or infinity"
    ):
        write_checkpoint(tmp_path / "step_00000003.ckpt", state)
    assert not list(tmp_path.iterdir())


def test_too_little_room_is_known_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Checkpoints(tmp_path)
    files.require_room(1000, keep=2)
    usage = shutil.disk_usage(tmp_path)._replace(free=5_500_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(FstError, match=r"has 5.5 MB free and the checkpoints need 6.1 MB"):
        files.require_room(1_000_000, keep=2)
    write_checkpoint(files.path(1), {"global_step": 1, "w": torch.zeros(250_000)})
    files.require_room(1_000_000, keep=2)  # that one is replaced in time


def without_privileges() -> list[str]:
    """What to put before a command so that permissions count for root too."""
    if os.geteuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write anywhere, and there is no setpriv to give that up")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


def test_a_folder_that_may_not_be_written_is_named_and_keeps_what_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_checkpoint(folder / "checkpoints" / "step_00000001.ckpt", checkpoint(1))
    before = (folder / "checkpoints" / "step_00000001.ckpt").read_bytes()
    for path in (folder / "checkpoints", folder):
        path.chmod(0o555)
    code = f"""
import torch
from pathlib import Path
from fst.training.checkpoint_files import write_checkpoint
from fst.errors import FstError
from fst.experiments.run_folder import RunFolder
run = RunFolder(Path({str(folder)!r}))
def lock():
    with run.locked(): pass
for act in (lock, lambda: write_checkpoint(run.checkpoints.path(2), {{"w": torch.ones(3)}})):
    try:
        act()
    except FstError as error:
        print(error)
"""
    done = subprocess.run(
        [*without_privileges(), sys.executable, "-c", code], capture_output=True, text=True
    )
    for path in (folder, folder / "checkpoints"):
        path.chmod(0o755)
    first, second = done.stdout.splitlines()
    assert f"{folder} cannot be written: Permission denied" in first
    assert "step_00000002.ckpt cannot be written: Permission denied" in second
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["step_00000001.ckpt"]
    assert (folder / "checkpoints" / "step_00000001.ckpt").read_bytes() == before
