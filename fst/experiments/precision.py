"""``trainer.precision=auto`` -> the precision of a run: settled once, at its start, and kept."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fst.errors import FstError
from fst.experiments.config import Config
from fst.experiments.run_folder import RunFolder
from fst.system.machine import has_bfloat16, processor_flags, stays_on_cpu
from fst.system.paths import user_path
from fst.system.untrusted import read_yaml

AUTO = "auto"
BFLOAT16, SINGLE = "bf16-mixed", "32-true"


class Precision(NamedTuple):
    """What Lightning is told in place of ``auto``, and a sentence on it, which may be empty.

    ``name`` is a number where a user gave one: 32 is a precision too.
    """

    name: str | int
    note: str = ""

    def put_into(self, config: Config) -> Config:
        """The settings with this precision in them."""
        return config.but("trainer.precision", self.name)


def settled_precision(config: Config, run: RunFolder, *, resume: str) -> Precision:
    """The precision of a run whose settings, as composed, are ``config``.

    One that is named stays what it is, right or wrong. ``auto`` is the one that the run began
    with, where it resumes, whatever processor it is on now: a run in two precisions is neither.
    In a new run it is ``bf16-mixed`` on a CPU that has bfloat16, and ``32-true`` on any other and
    on a GPU, where ``experiment=gpu`` asks for more.
    """
    asked = config.trainer.precision
    if asked != AUTO:
        return Precision(asked)
    own = here(str(config.trainer.accelerator))
    begun = _begun_in(run, resume)
    if begun not in (None, own):
        return Precision(
            str(begun), f"{begun}, as this run began; a new one would have {own} on this machine"
        )
    return Precision(own, f"{own}: this processor has bfloat16" if own == BFLOAT16 else "")


def here(accelerator: str) -> str:
    """What ``auto`` is in a new run on this machine, with this ``trainer.accelerator``."""
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and stays_on_cpu("auto"))
    return BFLOAT16 if on_cpu and has_bfloat16(processor_flags()) else SINGLE


def _begun_in(run: RunFolder, resume: str) -> str | None:
    """Which of the two that ``auto`` can be a run has had so far; None if there is none to resume.

    Another one was named when the run began: naming it no more is a change, and is told as such.
    """
    if resume.lower() == "false":
        return None
    if resume.lower() != "auto":
        run = RunFolder(Path(user_path(resume)).resolve().parent.parent)
    if not run.config_file.exists() or not run.checkpoints.found():
        return None
    try:
        trainer = read_yaml(run.config_file).get("trainer")
    except FstError:
        return None  # said when the run is resumed
    begun = trainer.get("precision") if isinstance(trainer, dict) else None
    return begun if begun in (BFLOAT16, SINGLE) else None
