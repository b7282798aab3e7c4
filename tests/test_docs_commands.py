"""A quick form of scripts/proofs/docs_commands.py, and that it sees what it looks for."""

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "scripts" / "proofs"))
import docs_commands
import docs_judging
import docs_world
from docs_commands import Block, blocks, check, commands, in_a_line, pages

# blocks with these are only parsed here: they take seconds, and other tests run the like of them
SLOW = ("fst evaluate", "fst sheet", "styles=[", "experiment=", "recipe=", "photos_320")
SLOW += ("fst runs", "net.strengths", "runs/painting", "aoti", "--inputs", "--score", "same, word")
SLOW += ("--format web", "trainer.max_steps=40", "export painting")
BLOCKS = [block for page in pages() for block in blocks(page)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "world"
    docs_world.make(folder)
    return folder


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    return docs_world.copy(world, tmp_path / "of_block")


@pytest.fixture(autouse=True)
def no_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which load every style; ``tests/test_stylize.py`` has them."""
    monkeypatch.setitem(docs_judging.ONLY_PARSED, "--sheet", "takes seconds")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_commands_of_the_docs_are_understood(block: Block, folder: Path) -> None:
    told = check(block, folder, run=not any(sign in block.text for sign in SLOW))
    assert all(one.how != "WRONG" for one in told), in_a_line(block, told)


WRONG = {
    "fst stylize photo.jpg --style great_wave --strenght 1": "unrecognized arguments: --strenght",
    "fst stylize photo.jpg --style grate_wave": "style 'grate_wave' is unknown",
    "fst stylise photo.jpg --style udnie": "unknown command 'stylise'",
    "fst train painting.jpg photos/ trainer.max_step=2": "trainer.max_step is not a setting",
    "fst train style=starry_nite data.root=photos/": "style=starry_nite is unknown",
    "fst train painting.jpg photos/ data.size=small": "data.size=small must be a whole number",
    "fst train painting.jpg photos/ warm_start=basis": "style 'basis' is unknown",
    "fst train -m hydra/launcher=submitit_slurm style=udnie,udine data.root=coco/": "style=udine",
    "fst train -m hydra/launcher=submitit_slurm hydra.launcher.partitoin=x": "partitoin",
    "sbatch scripts/train.sbatch data.roof=photos/": "data.roof is not a setting",
    "for one in 1 2; do fst list --shet; done": "unrecognized arguments: --shet",
    "fst list; if": "syntax error",
    "python scripts/proofs/kept_colours.py": "there is no scripts/proofs/kept_colours.py",
    "python scripts/style_of_run.py RUN -o F --check-point C": "arguments: --check-point",
    "pip install -e '.[slrum]'": "there is no extra slrum",
    "pip install 'av>=3'": "none of the requirements",
    "make quickest": "quickest",
    "docker run fst stylize photo.jpg --stlye udnie": "--style",
    "docker build --target thin .": "no stage thin",
    "scripts/fetch_cocoa.sh FOLDER": "No such file",
    "fts list": "fts is no program",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_command_is_found(text: str, folder: Path) -> None:
    told = check(Block("page.md", 1, "", text), folder, run="grate" in text)
    assert "WRONG" in [one.how for one in told]
    assert WRONG[text] in in_a_line(Block("page.md", 1, "", text), told)


def test_other_kinds_of_blocks(world: Path) -> None:
    page = "a\n\n```python\nx = 1 +\n```\n```yaml\na: {b: 1}\n```\n```\nfst list\n```\n"
    page += "```text\nfst lisst\n```\n```perl\n1;\n```\n"
    found = list(blocks("page.md", page))
    assert [(block.line, block.language) for block in found] == [
        (4, "python"), (7, "yaml"), (10, ""), (16, "perl"),
    ]  # fmt: skip
    how = [check(block, world, run=False)[0].how for block in found]
    assert how == ["WRONG", "parsed", "parsed", "WRONG"]


def test_a_block_of_shell_means_what_it_means_to_bash(world: Path) -> None:
    text = 'again() { fst train "$1" run_dir="$2" "${@:3}"; }\nfor s in a "b c"; do\n'
    text += "again $s x/\"$s\" 'k=[1,2]'  # a remark\ndone\nfst stylize trip/*.png | cat"
    found = commands(text, world)
    assert found[0] == ["fst", "train", "a", "run_dir=x/a", "k=[1,2]"]
    assert found[1] == ["fst", "train", "b", "run_dir=c", "x/b c", "k=[1,2]"]
    assert found[2] == ["fst", "stylize", *(f"trip/{number}.png" for number in range(4))]
    assert commands("$ fst list ... --sheet\na line\n", world) == [["fst", "list", "--sheet"]]


def test_the_script_prints_a_line_for_each_block(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs_commands.main(["--parse", "docs/video.md"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "all of it holds"
    assert len(lines) == 1 + len([b for b in BLOCKS if b.page == "docs/video.md"])
    assert all(re.match(r"docs/video\.md:\d+ +\d+ (ran|parsed)", line) for line in lines[:-1])
