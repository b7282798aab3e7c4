"""Trials of damaged and forged files, each judged: held is one sentence, or the very same result.

Trials run in a forked process, so that one that hangs, dies or takes too much memory is only itself
not held. A sentence is an ``FstError``, of ours and on one line.
"""

from __future__ import annotations

import io
import json
import os
import resource
import select
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fst.cli import main
from fst.errors import FstError
from fst.system.machine import give_back_freed_memory

MOST_SECONDS = 20.0
MOST_MEMORY = 300_000_000  # bytes, resident at the peak, more than before the trial
MOST_ADDRESSES = 2_000_000_000  # bytes, more than before the first of them
ADVICE = ("weights_only", "safe_globals", "Weights only", "Traceback")

Plant = Callable[[Path], object]
Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Trial:
    """A file damaged or forged by ``plant``, then read; ``works`` where a sentence is wrong, too.

    Both are called in a folder that is a copy of the sound one, with its path.
    """

    what: str
    plant: Plant
    read: Read
    works: bool = False


@dataclass
class Count:
    """Of one kind: how many ended how, and what was not held."""

    kind: str
    sentences: int = 0
    same: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        return self.held + len(self.faults)

    @property
    def held(self) -> int:
        return self.sentences + self.same

    def add(self, what: str, outcome: str) -> None:
        """Count the ``outcome`` of ``judge``."""
        if outcome == "same":
            self.same += 1
        elif outcome == "sentence":
            self.sentences += 1
        else:
            self.faults.append(f"{what}: {outcome}")


def judge(trial: Trial, folder: Path, wanted: Any) -> str:
    """``same``, ``sentence``, or what is wrong with how a trial ends."""
    trial.plant(folder)
    held = _start_peak()
    try:
        made = trial.read(folder)
    except FstError as error:
        outcome = "refused" if trial.works else _fault(str(error)) or "sentence"
    except BaseException as error:
        outcome = f"traceback: {type(error).__name__}: {str(error)[:200]}"
    else:
        outcome = "same" if made == wanted else "another result in silence"
    taken = _peak() - held
    return outcome if taken < MOST_MEMORY else f"{taken / 1e6:.0f} MB of memory ({outcome})"


def _fault(sentence: str) -> str | None:
    if not sentence.strip() or "\n" in sentence.strip():
        return f"not one sentence: {sentence[:300]!r}"
    advice = next((word for word in ADVICE if word in sentence), None)
    return f"its sentence says {advice}" if advice else None


def told(*words: str) -> str:
    """What ``fst WORDS`` prints in this process; ``FstError`` with what it says where it fails."""
    argv, sys.argv = sys.argv, ["fst", *words]
    os.environ.pop("FST_RUN_FOLDER", None)
    try:
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            code = main([*words])
    finally:
        sys.argv = argv
    if code:
        raise FstError(err.getvalue())
    return out.getvalue()


def judged(kind: str, trials: Sequence[Trial], sound: Path, folder: Path) -> Count:
    """Judge trials in ``folder``, which is made anew from ``sound`` before each of them."""
    count = Count(kind)
    while count.tried < len(trials):
        left = trials[count.tried :]
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            _judge_here(left, sound, folder, writing)
        os.close(writing)
        ended = ""
        with open(reading, "rb", buffering=0) as lines:
            wanted = 2 * MOST_SECONDS  # the first line is that the sound files were read
            while not ended:
                if not select.select([lines], [], [], wanted)[0]:
                    os.kill(child, signal.SIGKILL)
                    ended = f"hangs for more than {MOST_SECONDS:.0f} s"
                elif line := lines.readline():
                    wanted = MOST_SECONDS
                    if (outcome := json.loads(line)) is not None:
                        count.add(left[0].what, outcome)
                        left = left[1:]
                else:
                    ended = "its process ended"
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == UNREADABLE:
            raise RuntimeError(f"the sound files of {kind} are not read")
        if left:
            count.add(left[0].what, f"{ended} ({status})")
    return count


UNREADABLE = 3


def _judge_here(trials: Sequence[Trial], sound: Path, folder: Path, pipe: int) -> None:
    """In a forked process, which ends with it: a line of JSON for each trial."""
    code = UNREADABLE
    try:
        torch.set_num_threads(1)  # a pool of threads does not outlive a fork
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = mapped + MOST_ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
        results: dict[Read, Any] = {}
        for read in {trial.read: None for trial in trials}:
            _afresh(sound, folder)
            results[read] = read(folder)
        os.write(pipe, b"null\n")
        for trial in trials:
            _afresh(sound, folder)
            outcome = judge(trial, folder, results[trial.read])
            os.write(pipe, json.dumps(outcome).encode() + b"\n")
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.__stderr__, flush=True)
    os._exit(code)


def _afresh(sound: Path, folder: Path) -> None:
    os.chdir(sound.parent)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    os.chdir(folder)


def _start_peak() -> int:
    """Have the kernel count the peak of resident memory anew; bytes resident now.

    Freed memory that the process keeps is given back before: what takes it again would be no more.
    """
    give_back_freed_memory()
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))
