"""What a long job says: one process speaks, and libraries' advice against our choices is hushed."""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import unicodedata
import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

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


def say(line: str) -> None:
    """Print a line, on the first process only."""
    if first_process():
        print(shown(line), flush=True)


def shown(text: object) -> str:
    """Text for a terminal: what would steer it is escaped; line ends, letters and spaces stay.

    File names and cards are other people's, and an escape sequence in them could clear the
    screen, rename the window or reorder the words of a line.
    """
    return "".join(c if c == "\n" or _is_visible(c) else _escaped(c) for c in str(text))


def shown_in_line(text: object) -> str:
    """``shown`` of what must stay within one line."""
    return shown(text).replace("\n", r"\n")


class Parser(argparse.ArgumentParser):
    """Python's own, whose errors show a user's words without what would steer the terminal."""

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
