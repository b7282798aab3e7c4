"""A contestant in a process of its own: the settings of its allocator and its memory are its alone.

The process makes the work, then does it each time a line asks for it and answers with a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO

import numpy as np

CODE = "from fst.benchmark.own_process import serve; serve()"


class OwnProcess:
    """A contestant: each call is one of the work in the process, and waits for it.

    ``maker`` is ``package.module:function``, which returns the work when it is called with
    ``arguments``, numbers and words. ``keep_memory`` is our setting of the allocator; without it
    the system's stays as it is. Constructing it does not wait; ``wait`` and each call do, and raise
    ``RuntimeError`` with the process's last words if it has ended. Close it, or use ``with``.
    """

    def __init__(self, maker: str, *, keep_memory: bool = False, **arguments: object) -> None:
        self.held_mb = 0.0  # what the process held before its first call
        self.loading_mb = 0.0  # the most it had held until then
        self.calls_mb = 0.0  # the most it has held since
        self._errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._child = subprocess.Popen(
            [sys.executable, "-c", CODE, maker, json.dumps(arguments), str(int(keep_memory))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._ready = False

    def __call__(self) -> None:
        self._ask("call")

    def wait(self) -> None:
        """Until the work is made and can be called."""
        if not self._ready:
            self._ready = True
            self._read()

    def result(self) -> np.ndarray:
        """What a call returns, an array."""
        with tempfile.TemporaryDirectory(prefix="fst_benchmark_") as folder:
            path = Path(folder, "result.npy")
            self._ask(f"save {path}")
            return np.load(path)

    @property
    def peak_mb(self) -> float:
        """The most memory that the process has held since its start; 0 where no /proc tells."""
        return max(self.loading_mb, self.calls_mb)

    def close(self) -> None:
        """End the process."""
        for pipe in (self._child.stdin, self._child.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self._child.wait()
        self._errors.close()

    def __enter__(self) -> OwnProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, line: str) -> None:
        self.wait()
        assert self._child.stdin is not None
        with suppress(OSError):  # it has ended: the answer, which is missing, says so
            print(line, file=self._child.stdin, flush=True)
        self._read()

    def _read(self) -> None:
        assert self._child.stdout is not None
        answer = self._child.stdout.readline()
        if not answer:
            code = self._child.wait()
            self._errors.seek(0)
            words = self._errors.read().strip().splitlines()[-1:] or ["it said nothing"]
            raise RuntimeError(f"the process ended with exit code {code}: {words[0]}")
        for name, value in json.loads(answer).items():
            setattr(self, name, value)


def serve() -> None:
    """What the process does: ``CODE`` calls it with ``OwnProcess``'s words."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    maker, arguments, keep = sys.argv[1:]
    if int(keep):
        from fst.system.machine import keep_freed_memory

        keep_freed_memory()
    module, _, name = maker.partition(":")
    work = getattr(import_module(module), name)(**json.loads(arguments))
    loading_mb, held_mb = status_mb("VmHWM"), status_mb("VmRSS")
    _begin_peak_anew()
    print(json.dumps({"loading_mb": loading_mb, "held_mb": held_mb}), file=answers, flush=True)
    for line in sys.stdin:
        result = work()
        if line.startswith("save "):
            np.save(line.strip().removeprefix("save "), result)
        del result  # else the next call has it in memory too
        print(json.dumps({"calls_mb": status_mb("VmHWM")}), file=answers, flush=True)


def status_mb(key: str, process: int | str = "self") -> float:
    """A line of a process's /proc/N/status, in MB: VmHWM is its peak, VmRSS what it holds now.

    0 where there is no such process or no /proc.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) * 1024 / 1e6 for x in lines if x.startswith(f"{key}:")), 0.0)


def _begin_peak_anew() -> None:
    with suppress(OSError):  # where it may not, the peak is that since the start
        Path("/proc/self/clear_refs").write_text("5")
