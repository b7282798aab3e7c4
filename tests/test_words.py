"""Words that are no settings, words that mean something else, and what ends before its end."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fst.cli import main
from fst.errors import FstError
from fst.experiments.flags import named, part
from fst.experiments.known_words import known_settings, nearest_key, require_known
from fst.experiments.overrides import prepare_overrides
from fst.nets.style_card import read_card
from fst.nets.style_names import find_style, style_label
from fst.system.paths import user_path
from fst.training.limits import seconds_of
from tests.conftest import Train

Said = Callable[..., str]

# fst WORDS -> what its one sentence says
NO_SETTINGS = {
    "+ckpt_path=/no/such/file": "ckpt_path is not a setting; did you mean resume=FILE?",
    "++ckpt_path=x": "ckpt_path is not a setting; did you mean resume=FILE?",
    "+resume_from=x": "did you mean resume=FILE?",
    "+anything=1": "anything is not a setting",
    "+trainer.ckpt_path=x": "trainer.ckpt_path is not a setting",
    "+trainer.callbacks=[]": "trainer.callbacks is not a setting",
    "+data.batchsize=3": "data.batchsize is not a setting; did you mean batch_size?",
    "batch_size=3": "did you mean data.batch_size?",
    "lr=3": "did you mean optimizer.learning_rate=NUMBER?",
    "expirement=laptop": "did you mean experiment?",
    "style.stength=0.3": "did you mean strength?",
    "hydra.run.dir=X": "hydra.run.dir is not a setting of fst: run_dir=FOLDER is where a run",
    "hydra.output_subdir=X": "hydra.output_subdir is not a setting of fst",
    "hydra.job.chdir=true": "hydra.job.chdir is not a setting of fst",
    "hydra.sweep.dir=X": "hydra.sweep.dir=X is for the runs of a sweep; -m makes one",
    "hydra/launcher=submitit_local": "is for the runs of a sweep; -m makes one",
    "~logger": "logger is missing: it cannot be left out",
    "~previews": "previews.photos=0 makes none",
    "~style.name": "~style.name: it cannot be left out",
    "~data.root": "~data.root: it cannot be left out",
    "previews=null": "previews must be a group of settings, not None",
    "optimizer=3": "optimizer must be a group of settings, not 3",
    "half=maybe": "half must be true or false, not maybe",
    "data.flip=3": "data.flip must be true or false",
    "--experimental-rerun=x": "--experimental-rerun is not taken",
    "--package": "--package needs a value",
    "--package style": "--package is about what --cfg shows",
    "--resolve": "--resolve is about what --cfg shows",
    "--cfg": "--cfg needs a value: --cfg job or hydra or all",
    "--cfg yob": "--cfg yob is unknown; use one of job, hydra, all",
    "--cfg job --package stile": "--package stile is not a group of settings (did you mean style?)",
    "-m --cfg job": "--multirun and --cfg are two things to do",
    "--multirn": "--multirn is not a flag (did you mean --multirun?)",
    "--multirun=3": "--multirun takes no value",
    "--config-dir": "--config-dir needs a value",
    "--config-dir gone": "--config-dir gone is not a folder",
    "--config-path pkg://os": "--config-path pkg://os is not a folder",
    "--config-name a/b": "--config-name a/b is not a name",
    "-sc query": "--shell-completion takes install=bash",
    "style=starry_nigth": "style=starry_nigth is unknown (did you mean starry_night?)",
    "style=painting.jpg": "for a picture of your own say style.image=painting.jpg",
    "style=a.safetensors": "begins with a style by warm_start=a.safetensors",
    "loss_network=vgg.pth": "is loss_network=file loss_network.file=vgg.pth",
    "style.image=FOLDER": "is a folder; give one picture in it",
    "style.image=https://x.org/a.jpg": "https://x.org/a.jpg is an address on the web",
    "https://x.org/a.jpg photos": "https://x.org/a.jpg is an address on the web",
    "data.root=s3://bucket/coco": "s3://bucket/coco is an address on the web",
    "warm_start=starry_nigth": "did you mean starry_night?",
    "a.jpg b.jpg photos": "'photos' among them, are no settings",
    "a.jpg style.image=b.jpg": "say the same twice",
    "a.safetensors photos": "is a trained style, not a painting",
    "-m hydra/launcher=joblib seed=0,1": "pip install hydra-joblib-launcher",
    "-m hydra/launcher=submitit_slurm seed=0,1": "srun is not on this machine",
}


@pytest.fixture
def said(train: Train, capsys: pytest.CaptureFixture[str]) -> Said:
    def call(*words: str, code: int = 2) -> str:
        capsys.readouterr()
        assert train(*words) == code
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return told.err if code else told.out

    return call


@pytest.mark.parametrize("line", NO_SETTINGS)
def test_a_word_that_is_no_setting_gets_one_sentence(
    said: Said, line: str, painting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fst.experiments.hydra_internals._is_installed", lambda m: "job" not in m)
    monkeypatch.setattr("shutil.which", lambda name: None)
    words = [word.replace("FOLDER", str(painting.parent)) for word in line.split()]
    assert NO_SETTINGS[line] in said(*words)
    assert not list(Path(".").rglob("config.yaml"))


def test_what_only_shows_something_shows_it(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logging.root.handlers", [])  # --info adds one, to this test's stdout
    monkeypatch.setattr("logging.root.level", logging.WARNING)
    assert "job_logging" in said("--cfg", "hydra", code=0)
    assert "# @package style.weights" in said("--cfg", "job", "--package", "style.weights", code=0)
    shown = yaml.safe_load(said("+experiment=laptop", "--cfg", "job", code=0))
    assert shown["warm_start"] == "auto"
    assert "fst 0." in said("--version", code=0)
    assert "hydra_logging" in said("--hydra-help", code=0)
    assert "Config search path" in said("--info", code=0)


def test_a_word_that_others_are_computed_from_is_used() -> None:
    require_known(
        "train",
        {**known_settings("train"), "side": 64, "more": "${side}"}
        | {
            "more": "x",
            "data": {**known_settings("train")["data"], "size": "${side}", "root": "${more}"},
        },
    )
    assert nearest_key("train", "trainer.max_step") == "max_steps"
    assert nearest_key("optimize", "photo") == "content=FILE"


def test_a_setting_is_known_with_and_without_its_plus() -> None:
    assert prepare_overrides(["+trainer.limit_train_batches=3", "+loss=gatys"]) == [
        "++trainer.limit_train_batches=3",
        "loss=gatys",
    ]


POSITIONS = [
    ("train", ["a.jpg", "photos"], ["style.image=a.jpg", "data.root=photos"]),
    ("train", ["photos", "a.jpg", "seed=1"], ["style.image=a.jpg", "data.root=photos", "seed=1"]),
    ("train", ["photos", "style=woodcut"], ["data.root=photos", "style=woodcut"]),
    ("train", ["woodcut", "list.txt"], ["style=woodcut", "data.root=list.txt"]),
    ("train", ["a=b.jpg", "photos"], ["style.image=a=b.jpg", "data.root=photos"]),
    ("optimize", ["b.jpg", "a.jpg"], ["content=b.jpg", "style.image=a.jpg"]),
    ("optimize", ["b.jpg", "woodcut"], ["content=b.jpg", "style=woodcut"]),
    ("evaluate", ["dots", "photos"], ["styles=['dots']", "data.root=photos"]),
    ("evaluate", ["dots", "a b.safetensors"], ["styles=['dots','a b.safetensors']"]),
    ("distill", ["photos"], ["data.root=photos"]),
]


@pytest.mark.parametrize(("command", "words", "meant"), POSITIONS)
def test_words_without_a_key_are_what_their_place_says(
    command: str,
    words: list[str],
    meant: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("a.jpg", "b.jpg", "a=b.jpg", "list.txt"):
        Path(name).touch()
    assert named(command, part(words).words) == meant


def test_a_painting_and_photos_are_enough_to_train(
    train: Train, painting: Path, photos: Path
) -> None:
    assert train(str(painting), str(photos), "trainer.max_steps=1", given=False) == 0
    assert Path("runs/swirl/swirl.safetensors").is_file()


def test_evaluate_takes_a_style_by_its_place(
    train: Train, tiny_style: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tiny_style)]) == 2
    assert "data.root is not given" in capsys.readouterr().err
    assert main(["evaluate", "starry_nigth", str(photos)]) == 2
    assert "did you mean starry_night?" in capsys.readouterr().err
    assert main(["train", "starry_nigth", str(photos)]) == 2
    assert "(did you mean starry_night?)" in capsys.readouterr().err


def test_a_file_of_another_kind_is_called_what_it_is(
    tiny_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = {
        "painting.jpg": "a picture: `fst train PICTURE PHOTOS`",
        "x.onnx": "a graph that `fst export` wrote",
        "x.ckpt": "a checkpoint of a training",
        "x.pth": "a file of PyTorch",
        "config.yaml": "a config",
    }
    for name, kind in kinds.items():
        Path(name).write_bytes(b"x" * 40)
        with pytest.raises(FstError, match=f"{name} is not a style file but {kind}"):
            find_style(name)
    Path("runs/swirl").mkdir(parents=True)
    with pytest.raises(FstError, match="runs/swirl is a folder without a finished style"):
        find_style("runs/swirl")
    shutil.copy(tiny_style, "runs/swirl/other.safetensors")
    path = find_style("runs/swirl")
    assert (path, style_label("runs/swirl", path)) == (
        Path("runs/swirl/other.safetensors"),
        "other",
    )
    with pytest.raises(FstError, match=r"is unknown; did you mean starry_night\? known styles: "):
        find_style("starry_nigth")
    with pytest.raises(FstError, match="address on the web"):
        find_style("https://x.org/wave.safetensors")


def test_a_path_is_no_address() -> None:
    for path in ("a/https/b.jpg", "C:/x.jpg", "data/x", "file.jpg", "s3/x"):
        assert user_path(path) == Path(path)


@pytest.mark.parametrize(
    ("words", "experiment"),
    [
        (["-m", "hydra/launcher=basic", "seed=0,1"], "laptop"),
        (["-m", "hydra/launcher=joblib", "seed=0,1"], "laptop"),
        (["-m", "hydra/launcher=submitit_local", "seed=0,1"], "laptop"),
        (["-m", "seed=0,1"], "laptop"),
        (["+experiment=gpu"], "gpu"),
        (["-m", "hydra/launcher=submitit_slurm", "seed=0,1"], "paper"),
    ],
)
def test_without_a_gpu_runs_on_this_machine_are_the_laptops(
    words: list[str], experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    monkeypatch.setattr(
        "fst.commands.train.run_hydra", lambda name, task, words: given.extend(words)
    )
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["train", *words]) == 0
    assert ("experiment=laptop" in given) == (experiment == "laptop")


def test_a_run_that_ends_in_time_says_so_and_resumes(said: Said) -> None:
    told = said("trainer.max_time=00:00:00:00", code=0)
    assert "ended early    at step 1 of 6: trainer.max_time=00:00:00:00 is over" in told
    assert "the same command resumes from there" in told
    assert read_card("runs/swirl/swirl.safetensors").training["steps"] == 1
    assert "at step 2 of 6" in said("trainer.max_time=00:00:00:00", code=0)
    told = said(code=0)
    assert "resuming from step 2" in told
    assert "ended early" not in told
    assert read_card("runs/swirl/swirl.safetensors").training["steps"] == 6


def test_a_run_of_fewer_batches_says_so_and_resumes(said: Said) -> None:
    told = said("trainer.limit_train_batches=3", code=0)
    assert "ended early    at step 3 of 6: trainer.limit_train_batches=3" in told
    assert "ended early" in said("trainer.limit_train_batches=3", code=0)
    told = said("+trainer.limit_train_batches=1.0", code=0)
    assert "resuming from step 3" in told
    assert "ended early" not in told
    assert read_card("runs/swirl/swirl.safetensors").training["steps"] == 6


def test_durations_are_days_hours_minutes_and_seconds() -> None:
    assert seconds_of("01:02:03:04") == 93784
    assert seconds_of({"minutes": 2}) == 120
    for wrong in ("10", "1:2:3:4", 5, {"weeks": "x"}, {"ages": 1}):
        with pytest.raises(FstError, match="days:hours:minutes:seconds"):
            seconds_of(wrong)


REFUSED = {
    "trainer.precision=bf16-true": "trainer.precision=bf16-true is not one that fst trains in",
    "trainer.precision=3-bit": "use one of 32-true, bf16-mixed, 16-mixed",
    "trainer.accelerator=gpu": "the trainer refuses these settings",
    "trainer.accelerator=tpux": "the trainer refuses these settings",
    "trainer.strategy=nope": "the trainer refuses these settings",
    "trainer.strategy=deepspeed": "the trainer refuses these settings",
    "trainer.devices=0": "the trainer refuses these settings",
    "trainer.gradient_clip_val=-1": "trainer.gradient_clip_val=-1 must be a number of 0 or more",
    "trainer.gradient_clip_val=x": "trainer.gradient_clip_val=x must be",
    "trainer.limit_val_batches=0.1": "trainer.limit_val_batches=0.1 of 1 batches is less than one",
    "trainer.limit_val_batches=x": "must be a share in 0.0 .. 1.0 or a whole number",
    "trainer.limit_train_batches=0": "must be a share in 0.0 .. 1.0 or a whole number",
    "trainer.limit_train_batches=0.01": "0.01 of 6 batches is less than one",
    "trainer.val_check_interval=0": "must be a whole number of 1 or more",
    "trainer.max_time=10": "must be like 00:01:30:00",
    "on_divergence=pray": "on_divergence=pray is unknown",
    "compile_mode=fast": "compile_mode=fast is unknown",
    "optimizer.schedule=cosine": "optimizer.schedule 'cosine' is unknown",
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_the_trainer_refuses_is_said_before_any_work(
    said: Said, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def solve(*args: object, **options: object) -> None:
        raise AssertionError("the weights are solved for")

    monkeypatch.setattr("fst.commands.train.build_losses", solve)
    assert REFUSED[word] in said(word)
    assert not Path("runs").exists()


def test_a_table_is_not_looked_at_with_tensorboard(said: Said) -> None:
    told = said("logger=csv", "trainer.max_steps=1", code=0)
    table = next(line for line in told.splitlines() if line.startswith("curves"))
    assert "tensorboard --logdir" not in told
    assert Path(table.split()[1].rstrip(":")).is_file()


def test_help_says_what_the_places_are(capsys: pytest.CaptureFixture[str]) -> None:
    for command, use in (
        ("train", "fst train PAINTING PHOTOS"),
        ("optimize", "fst optimize PHOTO PAINTING"),
        ("evaluate", "fst evaluate STYLE"),
        ("distill", "fst distill PHOTOS"),
    ):
        assert main([command, "--help"]) == 0
        assert capsys.readouterr().out.startswith(use)
