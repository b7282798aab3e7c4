"""In which precision a run computes: settled once, by what the processor says, and then kept."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from fst.experiments import precision
from fst.experiments.config import Config
from fst.experiments.precision import settled_precision
from fst.experiments.run_folder import RunFolder
from fst.experiments.settings import compose
from fst.nets.style_card import read_card
from fst.nets.style_file import load_style
from fst.system.machine import has_bfloat16, processor_flags
from tests.conftest import Train

PLAIN = "fpu sse4_2 avx2 fma avx512f avx512_vnni"
AMX = f"{PLAIN} amx_tile amx_bf16 amx_int8"
RUN = Path("runs/swirl")

On = Callable[[str], None]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> On:
    """Makes this machine one with a processor of some flags and no GPU."""

    monkeypatch.setattr(precision, "stays_on_cpu", lambda device: True)
    return lambda flags: monkeypatch.setattr(precision, "processor_flags", lambda: flags)


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        (AMX, True),
        (f"{PLAIN} avx512_bf16", True),
        (PLAIN, False),
        ("amx_tile amx_int8 avx512_bf16x", False),
        ("", False),
    ],
)
def test_bfloat16_is_read_from_the_processors_flags(flags: str, has: bool) -> None:
    assert has_bfloat16(flags) is has


def test_the_flags_of_this_processor_are_words() -> None:
    assert re.fullmatch(r"[\w ]*", processor_flags())


def test_auto_is_what_an_experiment_for_a_cpu_asks_for_and_a_gpus_keeps_its_own() -> None:
    found = {
        name: compose("train", [f"experiment={name}"]).trainer.precision
        for name in ("laptop", "quickstart", "gallery", "base", "paper", "gpu", "gallery_gpu")
    }
    assert {name for name, asked in found.items() if asked == "auto"} == {
        *("laptop", "quickstart", "gallery", "base")
    }
    assert (found["paper"], found["gpu"], found["gallery_gpu"]) == (
        *("32-true", "bf16-mixed", "bf16-mixed"),
    )


def test_auto_on_a_gpu_is_float32_as_it_was(on: On, monkeypatch: pytest.MonkeyPatch) -> None:
    on(AMX)
    assert precision.here("cpu") == precision.here("auto") == "bf16-mixed"
    assert precision.here("gpu") == precision.here("mps") == "32-true"
    monkeypatch.setattr(precision, "stays_on_cpu", lambda device: False)
    assert precision.here("auto") == "32-true"


def test_a_run_in_bfloat16_resumes_on_another_processor_to_the_same_bits(
    train: Train, on: On, capsys: pytest.CaptureFixture[str]
) -> None:
    on(AMX)
    assert train("trainer.precision=auto", "run_dir=runs/whole") == 0
    said = capsys.readouterr().out
    assert said.count("precision      bf16-mixed: this processor has bfloat16") == 1
    assert train("trainer.precision=auto", "trainer.limit_train_batches=3") == 0
    on(PLAIN)
    capsys.readouterr()
    assert train("trainer.precision=auto") == 0
    said = capsys.readouterr().out
    sentence = "bf16-mixed, as this run began; a new one would have 32-true on this machine"
    assert said.count(f"precision      {sentence}") == 1
    assert "resuming from step 3" in said
    states = []
    for run in (Path("runs/whole"), RUN):
        kept = yaml.safe_load((run / "config.yaml").read_text())
        assert kept["trainer"]["precision"] == "bf16-mixed"
        net, card = load_style(run / "swirl.safetensors")
        assert card.training["precision"] == "bf16-mixed"
        assert all(map(math.isfinite, card.losses.values()))
        states.append(net.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def asked(name: object) -> Config:
    return Config({"trainer": {"precision": name, "accelerator": "auto"}})


def begun(path: Path, name: object) -> RunFolder:
    """A run folder with a checkpoint, whose settings say this precision."""
    run = RunFolder(path)
    run.checkpoints.folder.mkdir(parents=True)
    (run.checkpoints.folder / "step_00000003.ckpt").touch()
    run.config_file.write_text(yaml.safe_dump(asked(name).plain()))
    return run


def test_a_run_keeps_its_precision_on_any_processor(on: On, tmp_path: Path) -> None:
    single, mixed = (begun(tmp_path / name, name) for name in ("32-true", "bf16-mixed"))
    for flags, own, other in ((AMX, mixed, single), (PLAIN, single, mixed)):
        on(flags)
        new = settled_precision(asked("auto"), RunFolder(tmp_path / "new"), resume="auto")
        assert new.name == own.path.name
        assert settled_precision(asked("auto"), own, resume="auto") == new
        kept = settled_precision(asked("auto"), other, resume="auto")
        assert kept.name == other.path.name
        assert kept.note.startswith(
            f"{kept.name}, as this run began; a new one would have {new.name}"
        )
        checkpoint = other.checkpoints.folder / "step_00000003.ckpt"
        assert settled_precision(asked("auto"), own, resume=str(checkpoint)) == kept
        assert settled_precision(asked("auto"), other, resume="False") == new


def test_a_run_without_a_checkpoint_or_with_a_damaged_config_is_settled_anew(
    on: On, tmp_path: Path
) -> None:
    on(AMX)
    empty, damaged = begun(tmp_path / "a", "32-true"), begun(tmp_path / "b", "32-true")
    (empty.checkpoints.folder / "step_00000003.ckpt").unlink()
    damaged.config_file.write_text("trainer: [")
    for run in (empty, damaged):
        assert settled_precision(asked("auto"), run, resume="auto").name == "bf16-mixed"


def test_a_precision_that_is_named_stays_as_it_is_given_and_no_other_is_kept_in_silence(
    on: On, tmp_path: Path
) -> None:
    on(PLAIN)
    run = begun(tmp_path / "double", "64-true")
    for name in ("bf16-mixed", "3-bit", 32):
        assert settled_precision(asked(name), run, resume="auto") == (name, "")
    # so that the resumed run says: trainer.precision 64-true -> 32-true
    assert settled_precision(asked("auto"), run, resume="auto") == ("32-true", "")


def test_a_net_of_several_paintings_has_the_precision_on_every_card(
    train: Train,
    on: On,
    painting: Path,
) -> None:
    on(AMX)
    words = [f"styles=[woodcut,{painting}]", "style.name=two", "trainer.max_steps=1"]
    assert train(*words, "trainer.precision=auto", given_painting=False) == 0
    for name in ("woodcut", "swirl"):
        card = read_card(f"runs/two/two.safetensors:{name}")
        assert card.training["precision"] == "bf16-mixed"
