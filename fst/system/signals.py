"""SIGINT, SIGTERM and a cluster's warning: leave at once, or finish the step and leave.

While a run is set up or ends there is nothing to save, and a signal ends it at once. While it
trains, a signal is noted and whoever trains looks for it (``STOP.received``). A handler belongs
to the whole process, so there is one ``STOP``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

AGAIN_S = 1.0  # seconds after which a second signal means "at once"; sooner it is the same one
WORKER_GRACE_S = 8  # for which a loader's worker outlives a signal to the whole group
# by these SLURM says that a job's time is up: SIGUSR1 by `sbatch --signal`, SIGUSR2 by submitit
WARNINGS = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))


class StopSignals:
    """Notes the first signal while training, and leaves at the second or outside of it."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.left = False  # at once, with nothing said yet
        self.exit_code: int | None = None
        self._noting = False
        self._fitting = False  # where Lightning has an answer of its own to KeyboardInterrupt
        self._since = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handle signals inside: SIGTERM leaves with 143, SIGINT is a ``KeyboardInterrupt``.

        A warning of the cluster is noted, for the training to come. In a thread other than the
        main one nothing is done: Python has no handlers there.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.received, self.left, self._noting = None, False, False
        before = {number: signal.getsignal(number) for number in self._numbers()}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def noting(self, *, later: bool = False) -> Iterator[None]:
        """Only note a signal inside; one that nobody has answered ends the process at the end.

        ``later``: from the first call of ``note_from_now`` on, and until then one leaves at once.
        """
        self._fitting, self._noting = True, not later
        try:
            yield
        finally:
            self._fitting = self._noting = False
        if self.received is not None:
            raise SystemExit(128 + self.received)

    def note_from_now(self) -> None:
        """There is something to save: signals are noted."""
        self._noting = True

    def leave_at_exit(self) -> None:
        """For ``atexit``, before all others, so as to run last: leave without taking nets apart.

        To give back what a compiler holds takes Python seconds, in which a run that has said that
        it is stopped would still be there. Does nothing but where ``exit_code`` is set.
        """
        if self.exit_code is not None:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError, AttributeError):  # closed, or nobody reads
                    stream.flush()
            os._exit(self.exit_code)

    def install(self) -> None:
        """Put our handlers in place; again, where a library has put its own."""
        if threading.current_thread() is threading.main_thread():
            for number in self._numbers():
                signal.signal(number, self._handle)

    def _numbers(self) -> tuple[int, ...]:
        warnings = WARNINGS if "SLURM_JOB_ID" in os.environ else ()
        return (signal.SIGINT, signal.SIGTERM, *warnings)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number in WARNINGS:
            self.received = self.received or number
        elif self._noting and (self.received in (None, *WARNINGS) or now - self._since < AGAIN_S):
            if self.received is None:
                self.received = number
            self._since = now
        elif number == signal.SIGINT and not self._noting and not self._fitting:
            raise KeyboardInterrupt
        else:
            self.left = True
            raise SystemExit(128 + number)


STOP = StopSignals()


def outlive_signals(*_: Any) -> None:
    """For a loader's worker: signals are the main process's business.

    A terminal and a cluster send them to every process; a worker that died of one would take the
    step under way with it. SIGTERM, by which a loader stops a worker that does not answer, takes
    effect later; a second one at once, unless it comes so soon that it is the same one: SLURM sends
    a job whose time is up two within a second.
    """
    since: float | None = None

    def leave_later(number: int, frame: FrameType | None) -> None:
        nonlocal since
        if since is None:
            since = time.monotonic()
            signal.alarm(WORKER_GRACE_S)
        elif time.monotonic() - since >= AGAIN_S:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, leave_later)
        for number in WARNINGS:
            signal.signal(number, signal.SIG_IGN)


def requeue() -> str | None:
    """Ask SLURM to run this job again; the job's number, or None where that failed."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{key}_ID") for key in ("JOB", "TASK"))
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return job
