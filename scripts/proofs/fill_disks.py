"""Train onto disks that are small, fill up, turn read-only, or hold a full $TMPDIR.

python scripts/proofs/fill_disks.py  # as root: it mounts small disks in memory (tmpfs); two minutes

Each must end with a sentence that names the file and the cause, leave the checkpoints before as
they were and nothing half-written, and resume once there is room. Exit code 1 if one does not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiny_run import TINY_RUN, list_photos

from fst.experiments.run_folder import RunFolder
from fst.system.machine import machine
from fst.training.checkpoint_files import fault

WORDS = [
    *TINY_RUN,
    "style=woodcut",
    *("data.batch_size=2", "trainer.val_check_interval=1000", "checkpoint_every=10"),
    *("previews.photos=0", "data.workers=2"),
]


def missing() -> str | None:
    """Why no disk can be mounted here; None if one can."""
    if os.geteuid():
        return "only root may mount disks"
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", place], capture_output=True, text=True
        )
        if done.returncode:
            return done.stderr.strip()
        subprocess.run(["umount", place], check=True)
    return None


@contextmanager
def disk(place: Path, size: str) -> Iterator[Path]:
    """A disk of ``size``, mounted."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def start(folder: Path, run: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """``fst train``, under way."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FST_")}
    command = [sys.executable, "-m", "fst", "train", *WORDS, f"run_dir={run}", *words]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**kept, **variables},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def end(job: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and the line that says why, or all it printed."""
    out = job.communicate()[0]
    return job.returncode, next((ln for ln in out.splitlines() if ln.startswith("fst train:")), out)


def told(name: str, held: bool, sentence: str) -> bool:
    """Print how it went."""
    print(f"{name:<12} {'held' if held else 'DID NOT HOLD'}: {sentence}", flush=True)
    return held


def too_small(folder: Path, place: Path) -> bool:
    with disk(place / "small", "1m") as mounted:
        code, sentence = end(start(folder, mounted / "run", "trainer.max_steps=5"))
        checkpoints = RunFolder(mounted / "run").checkpoints.found()
        return told(
            "too small", code == 2 and "MB free and" in sentence and not checkpoints, sentence
        )


def fills_up(folder: Path, place: Path) -> bool:
    with disk(place / "filling", "8m") as mounted:
        run = RunFolder(mounted / "run")
        job = start(folder, run.path, "trainer.max_steps=600")
        while not run.checkpoints.found() and job.poll() is None:
            time.sleep(0.05)
        filler = mounted / "filler"
        with filler.open("wb") as handle:
            try:
                while handle.write(bytes(65536)):
                    handle.flush()
            except OSError:
                pass
        code, sentence = end(job)
        whole = [fault(path) is None for path in run.checkpoints.found()]
        left = list(run.path.rglob("*.part"))
        filler.unlink()
        again, line = end(start(folder, run.path, "trainer.max_steps=600"))
        held = code == 2 and "No space left on device" in sentence and all(whole) and bool(whole)
        return told("fills up", held and not left and again == 0, sentence if again == 0 else line)


def turns_read_only(folder: Path, place: Path) -> bool:
    with disk(place / "protected", "8m") as mounted:
        run = RunFolder(mounted / "run")
        first, line = end(start(folder, run.path, "trainer.max_steps=10", "half=false"))
        if first:
            return told("read-only", False, line)
        run.style_file("woodcut").unlink()
        before = {path: path.read_bytes() for path in run.checkpoints.found()}
        subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
        code, sentence = end(start(folder, run.path, "trainer.max_steps=10", "half=false"))
        same = before == {path: path.read_bytes() for path in run.checkpoints.found()}
        held = code == 2 and "Read-only file system" in sentence and same
        return told("read-only", held, sentence)


def full_tmpdir(folder: Path, place: Path) -> bool:
    with disk(place / "tmp", "64k") as mounted:
        (mounted / "filler").write_bytes(bytes(65536))
        code, sentence = end(
            start(folder, place / "run", "trainer.max_steps=20", TMPDIR=str(mounted))
        )
        done = RunFolder(place / "run").checkpoints.path(20).exists()
        return told("full $TMPDIR", code == 0 and done, "trained" if code == 0 else sentence[-500:])


def main() -> int:
    reason = missing()
    if reason:
        print(f"fill_disks: {reason}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        list_photos(folder, ["coffee.png"])
        held = [f(folder, folder) for f in (too_small, fills_up, turns_read_only, full_tmpdir)]
    print(f"{sum(held)} of {len(held)} held ({machine()})")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
