"""Every command of the docs, run with tiny sizes or, where that cannot be, parsed.

python scripts/proofs/docs_commands.py [--parse] [PAGE ...]

The blocks of README.md, docs/*.md and checkpoints/README.md, or of the pages named. A block of
shell goes to bash, where every program is a stand-in that only notes its words, so loops,
functions and quotes mean what they mean to a user. Then each command runs in this process, in a
folder that has all the files the docs name (``docs_world.py``), with small sizes in place of its
own. Commands that need a GPU, a network, a cluster or a person, and those that take minutes, have
their words read by their own parser, or composed by Hydra, and go no further. A Python block
runs, unless it is marked for ``export_code.py``, and YAML is loaded; what is no code at all has
``text`` behind its fence. One line a block; exits with 1 if a command is wrong.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import yaml

sys.path.append(str(Path(__file__).parent))
import docs_world
from docs_judging import Wrong, judge

ROOT = docs_world.ROOT
FENCE = re.compile(r"^(```+)([\w-]*)[^\n`]*\n(.*?)^\1[ ]*$", re.M | re.S)
MARKED = re.compile(r"<!-- run: \S+ -->\n\Z")  # export_code.py runs these
OTHERS = ("cmake", "cpp", "csharp", "javascript", "swift")
SHELL = ("", "sh", "bash", "shell", "console")
NOTING = """
PATH=/nowhere
note() { printf '%s\\0' "$#" "$@" >> "$NOTES"; }
command_not_found_handle() { note "$@"; }
cat() { command -p cat "$@"; }
id() { echo 0; }
source() { note source "$@"; }
"""


@dataclass
class Block:
    """A fenced block; ``line`` is that of its first line of text."""

    page: str
    line: int
    language: str
    text: str
    marked: bool = False

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass
class Told:
    """What became of one command: ``how`` is ran, parsed or WRONG."""

    how: str
    words: str
    why: str = ""


def pages() -> list[str]:
    """The pages whose commands are promises, from the top of the repository."""
    docs = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))
    return ["README.md", *docs, "checkpoints/README.md"]


def blocks(page: str, text: str | None = None) -> Iterator[Block]:
    """The blocks of a page, but for those of plain text."""
    text = (ROOT / page).read_text() if text is None else text
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start(3)) + 1
        if found[2] != "text":
            marked = MARKED.search(text, 0, found.start()) is not None
            yield Block(page, line, found[2], found[3], marked)


def commands(text: str, folder: Path) -> list[list[str]]:
    """A block of shell -> the words of each command, as bash would start it in ``folder``.

    Of a transcript, with ``$ `` before what was typed, those lines alone; a word that is three
    dots stands for more that is left out. Raises ``Wrong`` for what bash complains of.
    """
    typed = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    if typed:
        text = "\n".join(re.sub(r" \.\.\.(?= |$)", "", line) for line in typed)
    notes = folder / "notes"
    notes.unlink(missing_ok=True)
    environment = {"NOTES": str(notes), "HOME": str(folder), "SLURM_CPUS_PER_TASK": "1"}
    environment |= {"SLURM_ARRAY_TASK_ID": "1", "USER": "user"}
    done = subprocess.run(
        ["bash", "--norc", "-c", NOTING + text],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if done.stderr:
        raise Wrong(f"bash: {done.stderr.strip().splitlines()[0]}")
    left = notes.read_text().split("\0")[:-1] if notes.exists() else []
    found = []
    while left:
        count = int(left.pop(0))
        found.append(left[:count])
        left = left[count:]
    return found


@contextmanager
def inside(folder: Path) -> Iterator[io.StringIO]:
    """Work in a folder with nothing printed; afterwards all is as before. Yields what was said."""
    before, argv, variables = Path.cwd(), sys.argv, dict(os.environ)
    said = io.StringIO()  # never closed: Hydra's logging holds on to it
    os.chdir(folder)
    for variable in ("FST_STYLES", "FST_RUN_FOLDER"):
        os.environ.pop(variable, None)
    try:
        with redirect_stdout(said), redirect_stderr(said):
            yield said
    finally:
        os.chdir(before)
        sys.argv = argv
        os.environ.clear()
        os.environ.update(variables)


def last_line(text: str) -> str:
    """Where a command says what is wrong."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"


def check(block: Block, folder: Path, *, run: bool) -> list[Told]:
    """Run or parse what a block says, in a folder of its own."""
    if block.language == "python":
        return [_python(block, folder, run=run and not block.marked)]
    if block.language in OTHERS:
        return [Told("parsed", block.language, f"{block.language}: export_code.py is for that")]
    if block.language in ("yaml", "yml"):
        yaml.safe_load(block.text)
        return [Told("parsed", "yaml")]
    if block.language not in SHELL:
        why = "a block is sh, python, yaml or another language that is known; or text"
        return [Told("WRONG", f"```{block.language}", why)]
    told = []
    try:
        found = commands(block.text, folder)
    except Wrong as error:
        return [Told("WRONG", block.text.splitlines()[0], str(error))]
    for words in found:
        os.environ.pop("FST_RUN_FOLDER", None)
        with inside(folder) as said:
            try:
                how, why = judge(words, run=run)
            except Wrong as error:
                detail = str(error) or last_line(said.getvalue())
                how, why = "WRONG", detail
        told.append(Told(how, " ".join(words), why))
    return told


def _python(block: Block, folder: Path, *, run: bool) -> Told:
    first = block.text.splitlines()[0]
    try:
        code = compile(block.text, block.place, "exec")
        if run:
            with inside(folder):
                exec(code, {"__name__": "__main__"})
    except Exception as error:  # whatever a reader would see
        return Told("WRONG", first, f"{type(error).__name__}: {error}")
    return Told("ran" if run else "parsed", first)


def in_a_line(block: Block, told: Sequence[Told]) -> str:
    """``README.md:44  3 ran``, and what was wrong below it."""
    counts = [f"{sum(t.how == how for t in told)} {how}" for how in ("ran", "parsed", "WRONG")]
    counts = [count for count in counts if not count.startswith("0 ")]
    reasons = sorted({t.why for t in told if t.how == "parsed" and t.why})
    why = f"  ({'; '.join(reasons)})" if reasons else ""
    lines = [f"{block.place:<28}{', '.join(counts) or 'no commands'}{why}"]
    lines += [f"    {t.words}\n    -> {t.why}" for t in told if t.how == "WRONG"]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="default: all that promise")
    parser.add_argument("--parse", action="store_true", help="run nothing")
    asked = parser.parse_args(argv)
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        world = Path(place) / "world"
        docs_world.make(world)
        for page in asked.pages or pages():
            for block in blocks(page):
                own = docs_world.copy(world, Path(place) / re.sub(r"\W", "_", block.place))
                told = check(block, own, run=not asked.parse)
                print(in_a_line(block, told), flush=True)
                wrong += sum(one.how == "WRONG" for one in told)
    print(f"{wrong} wrong" if wrong else "all of it holds")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
