"""`fst COMMAND --help` where Hydra composes: settings with the comments beside them."""

from pathlib import Path

import pytest
import yaml

from fst.cli import HYDRA_COMMANDS, main
from fst.experiments.settings import compose
from fst.experiments.settings_help import comments_of
from fst.system.paths import configs_dir


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main([*words]) == 0
    return capsys.readouterr().out


def settings_in(text: str) -> dict[str, object]:
    """The settings of a help, read back as the YAML that they are."""
    block = text.split("Settings, KEY=VALUE or GROUP.KEY=VALUE:\n")[1].rsplit("\n\n", 2)[
        0
    ]  # the last two: examples
    return yaml.safe_load(block)


@pytest.mark.parametrize("command", sorted(HYDRA_COMMANDS))
def test_help_shows_every_setting_in_lines_of_100_columns(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = told(capsys, command, "--help")
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith(f"fst {command} ")
    assert f"`fst {command} --cfg job` prints the settings" in text
    words = ["experiment=laptop"] if command == "train" else []
    shown, composed = settings_in(text), compose(command, words).plain()
    assert shown.keys() == composed.keys()
    for key, value in composed.items():
        if key != "logger":  # has ${run_dir} in it
            assert shown[key] == value, key
    assert not list(tmp_path.iterdir())


def test_help_has_the_comments_of_the_files_and_of_the_choices(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = told(capsys, "train", "--help", "experiment=gpu", "style=woodcut")
    said = " ".join(text.replace("#", " ").split())
    for file in ("train", "style_defaults", "net/johnson", "data/photos", "trainer/default"):
        _, comments = comments_of((configs_dir() / f"{file}.yaml").read_text())
        for key, comment in comments.items():
            if key != "painted" and not key.startswith("hydra."):
                assert " ".join(comment.split()) in said, key
    assert "painted: woodcut  # needs no file: `fst paint woodcut` shows it" in text
    assert "  loss_network  file, lite, [vgg16], vgg19" in text
    assert "experiment=gpu: The whole recipe of experiment=paper, as fast as one GPU" in said
    assert "net=johnson" not in said  # its file has nothing to say of the choice
    assert settings_in(text)["compile"] is True
    assert "[woodcut]" in text
    assert "style_defaults" not in text


@pytest.mark.parametrize("words", [["--config-dir", "my own"], ["--config-dir=my own"]])
def test_help_knows_a_users_own_config_folder(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my own/style").mkdir(parents=True)
    Path("my own/style/mine.yaml").write_text("# of my kitchen\nname: mine\nsize: 99  # as hung\n")
    text = told(capsys, "train", *words, "style=mine", "--help")
    assert "style:  # style=mine: of my kitchen" in text
    assert "size: 99  # as hung" in text
    assert "[mine]" in text


def test_help_of_what_is_unknown_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help", "style=nope"]) == 2
    error = capsys.readouterr().err
    assert "style=nope is unknown; use one of composition_vii" in error
    assert "style_defaults" not in error


def test_comments_stand_behind_a_value_or_above_it() -> None:
    text = """\
# @package _global_
# head,
# two lines
a: 1  # one
# above
b:
  c: "x # no comment"  # of c
  d: it's  # of d
e: {f: 1}
"""
    assert comments_of(text) == (
        "head, two lines",
        {"a": "one", "b": "above", "b.c": "of c", "b.d": "of d"},
    )
