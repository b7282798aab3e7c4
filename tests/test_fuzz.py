"""A quick form of scripts/proofs/fuzz_files.py, and that its judge sees what it looks for."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

from fst.data.prepared_folder import INDEX, cached_photos
from fst.errors import FstError
from fst.experiments.run_folder import RunFolder
from fst.loss import loss_network_file
from fst.loss.loss_network_file import CHECKSUM, load_loss_network
from fst.system.machine import keep_freed_memory
from fst.system.paths import shipped_loss_networks
from fst.training.checkpoint_files import read_checkpoint, write_checkpoint

sys.path.append(str(Path(__file__).parent.parent / "scripts" / "proofs"))

import judging
from fuzz_files import CHECKPOINT, fuzz, made_sound, resumed
from judging import Trial, judged


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_sound(tmp_path_factory.mktemp("fuzz"))


def test_damaged_files_of_every_kind_are_a_sentence_or_the_very_same(sound: Path) -> None:
    kinds = {count.kind: count for count in fuzz([], 0.02, 5, sound, deep=False)}
    assert {kind: count.faults for kind, count in kinds.items()} == {kind: [] for kind in kinds}
    assert sum(count.tried for count in kinds.values()) > 60


def test_a_reader_that_fails_otherwise_is_not_held(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> tuple[object, dict[str, str]]:
        try:
            return real(path)
        except FstError:
            raise KeyError("features") from None

    real = loss_network_file._read_state
    monkeypatch.setattr(loss_network_file, "_read_state", read)
    (count,) = fuzz(["networks"], 0.02, 5, sound, deep=False)
    assert "traceback: KeyError: 'features'" in count.faults[0]
    assert count.held < count.tried


def ends(how: Callable[[], object]) -> Callable[[Path], object]:
    """A reader that does so once the file is there."""
    return lambda folder: how() if Path("planted").exists() else "sound"


def raises(error: BaseException) -> Callable[[], object]:
    def end() -> object:
        raise error

    return end


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "another result": (lambda: "other", "another result in silence"),
    "two lines": (raises(FstError("one\ntwo")), "not one sentence"),
    "advice": (raises(FstError("set weights_only=False")), "its sentence says weights_only"),
    "an exit": (raises(SystemExit(1)), "traceback: SystemExit"),
    "memory": (lambda: len(b"x" * 400_000_000), "MB of memory"),
    "too many addresses": (lambda: len(bytes(3_000_000_000)), "traceback: MemoryError"),
    "a hang": (lambda: time.sleep(100), "hangs"),
    "an end": (lambda: os._exit(7), "its process ended (7)"),
}


def test_each_way_not_to_hold_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MOST_SECONDS", 1.0)
    (tmp_path / "sound").mkdir()
    keep_freed_memory()  # as a training does: what is freed stays in the process
    assert len(b"x" * 500_000_000)
    trials = [
        Trial(what, lambda folder: Path("planted").touch(), ends(how))
        for what, (how, _) in FAULTS.items()
    ]
    trials += [Trial("well", lambda folder: None, ends(raises(KeyError())))]
    trials += [Trial("told", lambda folder: Path("planted").touch(), ends(raises(FstError("No."))))]
    count = judged("all", trials, tmp_path / "sound", tmp_path / "here")
    for fault, (what, (_, words)) in zip(count.faults, FAULTS.items(), strict=True):
        assert fault.startswith(f"{what}: ")
        assert words in fault
    assert (count.tried, count.same, count.sentences) == (len(FAULTS) + 2, 1, 1)


def test_a_checkpoint_that_would_begin_anew_in_silence_or_fail_later_is_refused(
    sound: Path,
) -> None:
    def no_schedule(folder: Path) -> None:
        write_checkpoint(CHECKPOINT, read_checkpoint(CHECKPOINT) | {"lr_schedulers": []})

    def no_number(folder: Path) -> None:
        whole = read_checkpoint(CHECKPOINT)
        whole["callbacks"]["Outcome"]["untouched"] = {}
        write_checkpoint(CHECKPOINT, whole)

    trials = [Trial(plant.__name__, plant, resumed) for plant in (no_schedule, no_number)]
    count = judged("checkpoints", trials, sound, sound.with_name("here"))
    assert (count.sentences, count.faults) == (2, [])


@pytest.mark.parametrize("weights", ["x", {"content": 1}, [], [1], {"content": 1, "style": {}}])
def test_a_planted_run_json_gives_no_weights(tmp_path: Path, weights: object) -> None:
    run = RunFolder(tmp_path)
    run.about_file.write_text(json.dumps({"weights": weights}))
    with pytest.raises(FstError, match=r"run\.json is damaged: its weights are not"):
        run.weights_and_start(1)


@pytest.mark.parametrize("name", ["vgg.pth", "vgg.safetensors"])
def test_one_bit_of_a_loss_networks_weights_is_noticed(
    sound: Path, tmp_path: Path, name: str
) -> None:
    data = bytearray((sound / name).read_bytes())
    tensors = load_loss_network(name="mine", file=sound / name, mean=[0] * 3, std=[1] * 3)
    weight = tensors.convolutions()[2][1].numpy().tobytes()
    data[data.index(weight) + 8] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FstError, match=rf"{name} cannot be read \(it (is damaged|does not match)"):
        load_loss_network(name="mine", file=tmp_path / name, mean=[0] * 3, std=[1] * 3)


def test_a_complete_index_that_was_changed_or_cut_leaves_no_photo_out_in_silence(
    sound: Path, tmp_path: Path
) -> None:
    lines = (sound / "cache" / INDEX).read_text().splitlines(keepends=True)
    index = tmp_path / INDEX
    for changed in (lines[:-1], [*lines[:-1], lines[-1][:-9]], [*lines[:2], "{\n", *lines[3:]]):
        index.write_text("".join(changed))
        with pytest.raises(FstError, match="does not match its checksum"):
            cached_photos(tmp_path)
    older = {key: value for key, value in json.loads(lines[0]).items() if key != "sha256"}
    index.write_text("".join([json.dumps(older) + "\n", *lines[1:]]))
    assert len(cached_photos(tmp_path)) == 4


def test_the_shipped_loss_networks_carry_their_checksum() -> None:
    for path in shipped_loss_networks().values():
        with safe_open(str(path), "pt") as handle:
            assert len(handle.metadata()[CHECKSUM]) == 64
