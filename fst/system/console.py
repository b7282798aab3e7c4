"""What a long job says: one process speaks, and libraries' advice against our choices is hushed."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import re
import sys
import time
import unicodedata
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn, Protocol, TextIO

HUSHED = (
    ".*does not have many workers.*",  # two are plenty for one net on a CPU
    ".*your dataloader is not resumable.*",  # it is: the sampler starts at the step
    ".*smaller than the logging interval.*",
    ".*Checkpoint directory .* exists.*",
    ".*LeafSpec.*",
    ".*tensorboardX.*",
    ".*`srun` command is available.*",  # whether to use it is the user's business
)


def first_process() -> bool:
    """Whether this is the only process of a job, or the first of several."""
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return all(int(os.environ.get(variable, "0")) == 0 for variable in ranks)


LABEL = re.compile(r"(?P<label>[a-z][a-z ]{0,12}[a-z]) {2,}(?=\S)")  # of 15 columns, see ``say``
LOG_VARIABLE = "FST_LOG"  # json: lines are for programs; tells other processes and jobs of it
BOLD, YELLOW, RED, PLAIN = "\x1b[1m", "\x1b[33m", "\x1b[31m", "\x1b[0m"


class MovingLine(Protocol):
    """The last line of a terminal, which changes in its place (``fst.system.progress``)."""

    def aside(self, say: Callable[[], None]) -> None:
        """Let ``say`` print above it."""


MOVING: list[MovingLine] = []  # the last one is what the terminal shows


def say(line: str, **facts: Any) -> None:
    """Print a line, on the first process only; a label in its first 15 columns is bold.

    With ``--log json`` it is an object with the time, the label as ``event``, the rest as ``text``,
    and ``facts``, which are for programs alone.
    """
    if not first_process():
        return
    text = shown(line)
    found = LABEL.match(text)
    label = found["label"] if found and found.end() == 15 else ""
    if as_json():
        told = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": label.replace(" ", "_")}
        told |= {"text": line[15:] if label else line.strip(), **facts}
        text = json.dumps(told, default=str)
    elif label:
        text = painted(label, YELLOW if label == "note" else BOLD) + text[len(label) :]

    def tell() -> None:
        print(text, flush=True)

    if MOVING:
        MOVING[-1].aside(tell)
    else:
        tell()


def as_json() -> bool:
    """Whether ``--log json`` was given: what is said is for programs."""
    return os.environ.get(LOG_VARIABLE) == "json"


def painted(text: str, color: str, stream: TextIO | None = None) -> str:
    """Text in a color, if ``stream`` (stdout) is a terminal and nobody has asked for no color."""
    stream = sys.stdout if stream is None else stream
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or as_json()
    return text if plain or not stream.isatty() else f"{color}{text}{PLAIN}"


def shown(text: object) -> str:
    """Text for a terminal: what would steer it is escaped; line ends, letters and spaces stay.

    File names and cards are other people's, and an escape sequence in them could clear the
    screen, rename the window or reorder the words of a line.
    """
    return "".join(c if c == "\n" or _is_visible(c) else _escaped(c) for c in str(text))


def shown_in_line(text: object) -> str:
    """``shown`` of what must stay within one line."""
    return shown(text).replace("\n", r"\n")


def examples_of(command: str) -> str:
    """The examples of ``fst COMMAND``: the lines of its docstring that begin with ``fst``."""
    module = sys.modules.get(f"fst.commands.{command}")
    _, _, rest = (getattr(module, "__doc__", None) or "").partition("\n")
    lines: list[str] = []
    for line in rest.splitlines():
        if line.startswith("fst ") or (lines and line.startswith("    ")):
            lines.append(f"  {line}")
    return "\n".join(["Examples:", *lines]) if lines else ""


class Parser(argparse.ArgumentParser):
    """Python's own, whose help ends with examples (``examples_of``).

    Its errors show a user's words without what would steer the terminal. While ``COLLECTED`` is a
    list, parsers are put there and parse nothing: ``fst completion`` asks what they take.
    """

    COLLECTED: ClassVar[list[Parser] | None] = None

    def format_help(self) -> str:
        """Python's, then the examples."""
        examples = examples_of(self.prog.split()[-1])
        return f"{super().format_help()}\n{examples}\n" if examples else super().format_help()

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Python's, unless parsers are collected."""
        if Parser.COLLECTED is not None:
            Parser.COLLECTED.append(self)
            raise SystemExit(0)
        return super().parse_known_args(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Usage and sentence to stderr; exit code 2."""
        super().error(shown_in_line(message))


def _is_visible(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


_NOTED: set[str] = set()


def note_once(sentence: str, kind: str = "older style file") -> None:
    """A line to stderr, only the first of its kind in this process."""
    if kind not in _NOTED and first_process():
        _NOTED.add(kind)
        print(f"fst: {shown_in_line(sentence)}", file=sys.stderr, flush=True)


def hush_libraries() -> None:
    """Keep Lightning's advice out of the output where we have decided otherwise on purpose."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for pattern in HUSHED:
        warnings.filterwarnings("ignore", message=pattern)


def duration(seconds: float) -> str:
    """Seconds -> '1 h 05 min', '12 min' or '40 s'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted keys, as they are shown: ``{"a": {"b": 1}} -> {"a.b": 1}``."""
    result: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result
