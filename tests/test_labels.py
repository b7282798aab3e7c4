"""What people read about styles and commands: `fst info`, `fst list`, the end of every help."""

import json
import os
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from fst.cli import COMMANDS, main
from fst.commands.completion import completed
from fst.system.console import Parser

from .conftest import Train

QUICK = ("trainer.max_steps=1", "previews.photos=0")


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("fst sty", ["stylize"]),
        ("fst train sty", ["style.strength=", "style="]),
        ("fst train style=wood", ["style=woodcut"]),
        ("fst train logger=", ["logger=csv", "logger=none", "logger=wandb"]),
        ("fst stylize a.jpg --style great", ["great_wave"]),
        ("fst stylize --back", ["--backend"]),
        ("fst stylize --backend on", ["onnx"]),
        ("fst completion ", ["bash", "fish", "zsh"]),
    ],
)
def test_words_are_completed(line: str, some: list[str]) -> None:
    assert {*some} <= {*completed(line)}
    assert Parser.COLLECTED is None


def test_every_command_is_completed() -> None:
    assert {*completed("fst ")} == COMMANDS.keys()


def test_where_files_are_meant_the_shell_completes() -> None:
    assert completed("fst stylize holi") == []
    assert completed("fst train data.root=pho") == []
    assert completed("fst train style=wood", parts=True) == ["woodcut"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_completes_is_read_by_its_shell(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "completion"
    script.write_text(told(capsys, "completion", shell))
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    subprocess.run([shell, "-n", str(script)], check=True, timeout=30)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main([*words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_ends_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, command, "--help")
    examples = text.partition("\nExamples:\n")[2].rstrip().splitlines()
    assert examples, import_module(f"fst.commands.{command}").__doc__
    assert examples[0].startswith("  fst ")
    assert all(line.startswith("  ") for line in examples)
    assert any(line.startswith(f"  fst {command}") for line in examples)


def test_a_label_is_for_people_and_json_is_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "info", "great_wave")
    assert text.startswith("style          great_wave: Under the Wave off Kanagawa, Katsushika")
    card = json.loads(told(capsys, "info", "great_wave", "--json"))
    assert card["name"] == "great_wave"
    assert f"held out       total {card['losses']['total']:.3g}, content" in text
    assert "artifacts      none: no lattice" in text
    assert "{" not in text
    # where it lies, and what a file is called, is not ours to name
    told_of = re.sub(r"(?m)^file .*\n( .*\n)*|\S+\.safetensors", "", text)
    assert "_" not in told_of.replace("great_wave", "")


def test_the_list_has_every_run_once_and_the_newest_first(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*QUICK) == 0
    assert train("-m", "seed=1,2", *QUICK) == 0
    assert train(*QUICK, f"run_dir={tmp_path / 'else where'}") == 0
    Path("runs/link").symlink_to("swirl")
    Path("runs/begun").mkdir()
    Path("runs/begun/config.yaml").write_text("style: {name: begun}\n")
    for age, config in enumerate(
        [*sorted(Path("runs").glob("multirun/*/*/config.yaml")), Path("runs/swirl/config.yaml")]
    ):
        os.utime(config, (10**9 - age, 10**9 - age))
    lines = [line for line in told(capsys, "list").splitlines() if "shipped" not in line]
    names = [line.split("  ")[0] for line in lines]
    assert len(names) == len(set(names)) == 5
    assert names[-1] == "swirl"
    assert sum("multirun" in name for name in names) == 2
    assert {"runs/begun", str(tmp_path / "else where" / "swirl.safetensors")} <= {*names}
    assert "not done" in "".join(lines)
    assert len(told(capsys, "list", "runs/multirun").splitlines()) == 2
