"""No code from files: whatever a config, an old run or a word names is not built, at any depth."""

import os
import pickle
import sys
from pathlib import Path

import pytest

from fst.cli import main
from fst.errors import FstError
from fst.experiments.code_in_configs import require_no_code
from tests.conftest import Train

TARGET = "{_target_: numpy.load, file: p.npy, allow_pickle: true}"
GLOBAL = "# @package _global_\ndefaults: [own, _self_]\n"
# file of a config folder, its text, the words that choose it
FILES: dict[str, tuple[str, str, list[str]]] = {
    "a logger": ("logger/x.yaml", TARGET, ["logger=x"]),
    "an argument of a logger": (
        "logger/x.yaml",
        f"_target_: pytorch_lightning.loggers.CSVLogger\nsave_dir: {TARGET}\nname: a",
        ["logger=x"],
    ),
    "a logger's part": (
        "logger/x.yaml",
        "_target_: pytorch_lightning.loggers.CSVLogger\nsave_dir: .\n_partial_: true",
        ["logger=x"],
    ),
    "a node made of text": (
        "loss_network/x.yaml",
        "{name: file, weights: null, file: x, mean: '${oc.create:\"" + TARGET + "\"}'}",
        ["loss_network=x"],
    ),
    "another's logger": (
        "logger/x.yaml",
        "_target_: pytorch_lightning.loggers.CometLogger\nsave_dir: .",
        ["logger=x"],
    ),
    "a callback": (
        "style/x.yaml",
        f"{GLOBAL}hydra: {{callbacks: {{x: {TARGET}}}}}",
        ["style=x"],
    ),
    "a node of a style": ("style/x.yaml", f"weights: {{content: {TARGET}}}", ["style=x"]),
    "a handler of logging": (
        "style/x.yaml",
        f"{GLOBAL}hydra: {{job_logging: {{handlers: {{console: "
        "{(): numpy.load, file: p.npy, allow_pickle: true}}}}",
        ["style=x"],
    ),
    "a class of logging": (
        "style/x.yaml",
        f"{GLOBAL}hydra: {{job_logging: {{handlers: {{file: "
        "{class: logging.FileHandler, filename: pwned}}, root: {handlers: [file]}}}",
        ["style=x"],
    ),
    "Hydra's own logging": (
        "style/x.yaml",
        f"{GLOBAL}hydra: {{hydra_logging: {{version: 1, root: {{level: INFO, handlers: [h]}}, "
        "handlers: {h: {class: logging.FileHandler, filename: pwned}}}}",
        ["style=x"],
    ),
    "a formatter of logging": (
        "style/x.yaml",
        f"{GLOBAL}hydra: {{job_logging: {{formatters: {{simple: "
        "{(): numpy.load, file: p.npy, allow_pickle: true}}}}",
        ["style=x"],
    ),
    "a stream of logging": (
        "style/x.yaml",
        f"{GLOBAL}hydra: {{job_logging: {{handlers: {{console: "
        "{class: logging.StreamHandler, stream: 'ext://planted.it'}}}}",
        ["style=x"],
    ),
    "a callback in one job of a sweep": (
        "style/x.yaml",
        f"{GLOBAL}hydra: {{job_logging: {{handlers: {{console: "
        "{(): numpy.load, file: p.npy, allow_pickle: true}}}}",
        ["-m", "style=own,x"],
    ),
    "a launcher": ("hydra/launcher/x.yaml", TARGET, ["-m", "hydra/launcher=x", "seed=0,1"]),
    "an argument of a launcher": (
        "hydra/launcher/x.yaml",
        f"_target_: hydra._internal.core_plugins.basic_launcher.BasicLauncher\nx: {TARGET}",
        ["-m", "hydra/launcher=x", "seed=0,1"],
    ),
    "a launcher's commands": (
        "hydra/launcher/x.yaml",
        "_target_: hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher\n"
        "setup: [touch pwned]",
        ["-m", "hydra/launcher=x", "seed=0,1"],
    ),
    "a sweeper": (
        "hydra/sweeper/x.yaml",
        f"_target_: hydra._internal.core_plugins.basic_sweeper.BasicSweeper\nparams: {TARGET}",
        ["-m", "hydra/sweeper=x", "seed=0,1"],
    ),
    "variables of the job": (
        "style/x.yaml",
        f"{GLOBAL}hydra: {{job: {{env_set: {{PATH: planted}}}}}}",
        ["style=x"],
    ),
    "a place to import configs from": (
        "x.yaml",
        "defaults: [train, _self_]\nhydra: {searchpath: ['pkg://planted']}",
        ["-cn", "x"],
    ),
    "a secret on the card": (
        "style/x.yaml",
        "title: '${oc.env:HOME}'",
        ["style=x"],
    ),
    "a secret in a path": ("style/x.yaml", "root: '${oc.env:API_TOKEN}'", ["style=x"]),
    "an old run's config": (
        "x.yaml",
        f"logger: {TARGET}\nstyle: {{name: a}}\nseed: 0",
        ["-cn", "x"],
    ),
}
WORDS = {
    "a callback": [f"+hydra.callbacks.x={TARGET.replace(' ', '')}"],
    "a callback by its keys": ["+hydra.callbacks.x._target_=numpy.load"],
    "a logger": ["logger._target_=numpy.load", "+logger.file=p.npy", "+logger.allow_pickle=true"],
    "an argument of a logger": [f"logger.save_dir={TARGET.replace(' ', '')}"],
    "a class of logging": ["hydra.job_logging.handlers.console.class=numpy.load"],
    "a launcher": ["-m", "hydra.launcher._target_=numpy.load", "seed=0,1"],
    "a sweeper": ["-m", "hydra.sweeper._target_=numpy.load", "seed=0,1"],
    "a place to import configs from": ["hydra.searchpath=['pkg://planted']"],
    "made of text": ["logger=csv", "logger.name='${oc.decode:x}'"],
    "a pickle": ["--experimental-rerun", "p.npy"],
    "a pickle, in short": ["--experimental", "p.npy"],
    "a pickle, in one word": ["--experimental-rerun=p.npy"],
}


class Planted:
    """A pickle of it leaves a file behind."""

    def __reduce__(self) -> object:
        return os.mkdir, ("pwned",)


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cfg").mkdir()
    (tmp_path / "p.npy").write_bytes(pickle.dumps(Planted()))
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "__init__.py").write_text("import os; os.mkdir('pwned'); it = None\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("API_TOKEN", "12345")
    monkeypatch.delitem(sys.modules, "planted", raising=False)


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert not Path("pwned").exists()
    assert not list(Path("runs").rglob("config.yaml"))
    assert "12345" not in error
    return error


@pytest.mark.parametrize("case", FILES)
def test_nothing_that_a_config_folder_names_is_built(
    train: Train, planted: None, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file, text, words = FILES[case]
    path = Path("cfg") / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert train("--config-dir", "cfg", *words, "trainer.max_steps=1") == 2
    refused(capsys)


@pytest.mark.parametrize("case", WORDS)
def test_nothing_that_a_word_names_is_built(
    train: Train, planted: None, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*WORDS[case], "trainer.max_steps=1") == 2
    refused(capsys)


@pytest.mark.parametrize("command", ["optimize", "evaluate", "distill"])
def test_no_command_builds_a_callback(
    train: Train, planted: None, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = f"+hydra.callbacks.x={TARGET.replace(' ', '')}"
    assert main([command, callback]) == 2
    assert "hydra.callbacks" in refused(capsys)


def test_what_is_allowed_is_built(train: Train, planted: None) -> None:
    Path("cfg/logger").mkdir(parents=True)
    text = "_target_: pytorch_lightning.loggers.csv_logs.CSVLogger\nsave_dir: ${run_dir}\nname: x"
    Path("cfg/logger/mine.yaml").write_text(text)
    Path("cfg/style").mkdir()
    Path("cfg/style/mine.yaml").write_text("root: ${oc.env:HOME}/paintings\nname: swirl")
    words = ("--config-dir", "cfg", "logger=mine", "style=mine", "trainer.max_steps=1")
    assert train(*words, "hydra/job_logging=disabled", "hydra.verbose=true") == 0
    assert list(Path("runs/swirl/x").glob("*/metrics.csv"))


def test_text_in_the_place_of_a_node_is_seen_through() -> None:
    for text in ("${oc.create:a}", "${${x}:y}", "a ${oc.dict.values:y}", "\\\\${oc.decode:x}"):
        with pytest.raises(FstError, match="of what configs may compute"):
            require_no_code({"data": {"root": text}}, [])
    for text in ("\\${oc.create:a}", "${a.b}", "${now:%Y}", "{oc.create:x}", "$HOME"):
        require_no_code({"data": {"root": text}}, [])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: [1", "cfg/style/x.yaml is damaged: it is not YAML that can be read (line 1)"),
        (
            "a: &a [1, 2]\n"
            + "".join(
                f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
                for old, new in zip("abcdefg", "bcdefgh", strict=True)
            ),
            "it unfolds into more than any settings are",
        ),
        ("[1, 2]", "cfg/style/x.yaml is damaged: it is not a mapping"),
        ("title: " + "[" * 3000, "cfg/style/x.yaml is damaged"),
    ],
)
def test_a_damaged_config_is_one_sentence(
    train: Train, planted: None, text: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("cfg/style").mkdir()
    Path("cfg/style/x.yaml").write_text(text)
    assert train("--config-dir", "cfg", "style=x") == 2
    assert sentence in refused(capsys)
