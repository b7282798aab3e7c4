"""A longer run from a finished one, by ``trainer.max_steps`` alone.

With a constant rate it ends exactly as if it had been that long. A rate that falls to 0 has ended:
it begins a new cycle, over the steps that are added, with the finished weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONSTANT = "constant"
Stages = list[dict[str, int]]  # from which step a run went on, and to which


def may_go_on(old: Any, new: Any, last: int) -> bool:
    """Whether a run of settings ``old`` that differ in one thing goes on with ``new``.

    ``last`` is the step of its last checkpoint. A rate that depends on the number of steps is gone
    through to its end first.
    """
    was, steps = (_steps(settings) for settings in (old, new))
    if was is None or steps is None or steps <= was or "optimizer" not in new:
        return False
    return new["optimizer"]["schedule"] == CONSTANT or last >= was


def stages(config: Any, old: Any, about: Mapping[str, Any], step: int) -> Stages:
    """How a run has gone on so far, this time included, which begins with ``step``.

    ``old`` are the settings that the run had before.
    """
    found = about.get("went_on")
    known: Stages = [dict(one) for one in found] if isinstance(found, list) else []
    was, steps = _steps(old), _steps(config)
    if was is not None and steps is not None and steps > was:
        known.append({"from": step, "to": steps})
    return known


def cycle_begins(config: Any, went_on: Stages) -> int:
    """The step at which the present cycle of the rate begins; a constant one has none."""
    falls = config["optimizer"]["schedule"] != CONSTANT
    return went_on[-1]["from"] if went_on and falls else 0


def in_words(schedule: str, stage: Mapping[str, int]) -> str:
    """One stage, for the terminal and the card."""
    told = f"from step {stage['from']} to {stage['to']}"
    if schedule == CONSTANT:
        return f"{told}, as if it had been that long from the start"
    return f"{told}: a new {schedule} from the finished weights, as the rate had ended near 0"


def _steps(settings: Any) -> int | None:
    trainer = settings.get("trainer")
    steps = trainer.get("max_steps") if isinstance(trainer, Mapping) else None
    return steps if isinstance(steps, int) else None
