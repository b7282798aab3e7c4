"""Stop training at seeded moments, resume with the same command, compare with the run left alone.

python scripts/proofs/kill_runs.py kill            # kill -9 at 20 moments
python scripts/proofs/kill_runs.py signal          # SIGTERM and SIGINT at 20 moments
python scripts/proofs/kill_runs.py kill signal --only 3   # the first three of both

--seed N picks other steps.

Each trial is one line: where it was stopped, the loader's workers before and after, and what held.
The runs are tiny (a painting of ours, photographs of scikit-image's), and real otherwise: every
one is a process of its own, forked from this one to spare it the imports. Exit code 1 if any trial
failed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import TINY_RUN, exit_code, forked, list_photos

import fst.commands.train
import fst.system.files
import fst.training.checkpoint_files
from fst.experiments.run_folder import RunFolder
from fst.nets.style_card import read_card
from fst.nets.style_file import tensors_sha256
from fst.system.machine import machine
from fst.training.checkpoint_files import read_checkpoint
from fst.training.lightning_module import FastStyleTransfer
from fst.training.previews import Previews

# curves of time; and of the epoch, which Lightning logs with every call
UNEQUAL = ("work/images_per_s", "work/data_wait_share", "epoch")
STEPS, SAVE_EVERY, VALIDATE_EVERY = 12, 3, 4
PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png", "astronaut.png")
WORDS = [
    *TINY_RUN,
    "style=woodcut",
    *("data.batch_size=2", f"trainer.max_steps={STEPS}", f"checkpoint_every={SAVE_EVERY}"),
    *(f"trainer.val_check_interval={VALIDATE_EVERY}", "trainer.log_every_n_steps=1"),
    *("previews.photos=1", "previews.size=32"),
    f"previews.every={VALIDATE_EVERY}",
]
EPOCH_EDGES = [step for step in range(1, STEPS) if (2 * step) % len(PHOTOS) < 2]
WITHIN_S = 10.0  # a signal is answered


class Trial(NamedTuple):
    """Where to stop (a point of ``stop_at``), by which signal, and the workers before and after.

    ``share:X`` is that share of the time which the run left alone took.
    """

    point: str
    number: int
    workers: tuple[int, int]


def kills(rng: random.Random) -> list[Trial]:
    """The 20 moments of kill -9."""
    points = [
        *(f"save-half:{SAVE_EVERY}", f"save-half:{2 * SAVE_EVERY}", f"save-half:{3 * SAVE_EVERY}"),
        *(f"save-before-rename:{SAVE_EVERY}", f"save-before-rename:{3 * SAVE_EVERY}"),
        *(f"save-after-rename:{SAVE_EVERY}", f"save-after-rename:{2 * SAVE_EVERY}"),
        *(f"step:{step}" for step in rng.sample(EPOCH_EDGES, 3)),
        *("step:0", f"step:{SAVE_EVERY - 1}", "set-up"),
        *(f"validation:{VALIDATE_EVERY}", f"preview:{VALIDATE_EVERY}", "end"),
        *(f"after-step:{rng.randrange(1, STEPS)}" for _ in range(2)),
        *(f"share:{rng.uniform(0.1, 0.8):.2f}" for _ in range(2)),
    ]
    workers = [(0, 0), (2, 2), (4, 4), (0, 2), (2, 4), (4, 0), (2, 0)]
    return [Trial(p, signal.SIGKILL, workers[n % len(workers)]) for n, p in enumerate(points)]


def signals(rng: random.Random) -> list[Trial]:
    """The 20 moments of SIGTERM and SIGINT."""
    steps = [f"step:{step}" for step in sorted(rng.sample(range(1, STEPS - 1), 3))]
    points = ["set-up", "step:0", f"validation:{VALIDATE_EVERY}", f"preview:{VALIDATE_EVERY}"]
    points += [
        f"save-before-rename:{2 * SAVE_EVERY}",
        "end",
        f"after-step:{VALIDATE_EVERY}",
        *steps,
    ]
    both = (signal.SIGTERM, signal.SIGINT)
    workers = [(0, 0), (2, 2), (4, 0)]
    trials = [(point, number) for point in points for number in both]
    return [Trial(p, s, workers[n % len(workers)]) for n, (p, s) in enumerate(trials)]


def stop_at(point: str, number: int, moment: Path) -> None:
    """Have this process sent ``number`` when it comes to ``point``; ``moment`` gets the time."""
    name, _, argument = point.partition(":")
    told: list[bool] = []

    def stop() -> None:
        if not told:
            told.append(True)
            moment.write_text(str(time.time()))
            os.kill(os.getpid(), number)

    def before(owner: Any, attribute: str, when: Callable[..., bool], after: bool = False) -> None:
        original = getattr(owner, attribute)

        def patched(*arguments: Any, **options: Any) -> Any:
            hit = when(*arguments)
            if hit and not after:
                stop()
            result = original(*arguments, **options)
            if hit and after:
                stop()
            return result

        setattr(owner, attribute, patched)

    def at_step(module: Any, *_: Any) -> bool:
        return module.trainer.global_step == int(argument)

    def of_step(_: Any, path: Any, *__: Any) -> bool:
        return Path(path).name == f"step_{int(argument):08d}.ckpt"

    if name == "set-up":
        before(fst.commands.train, "build_painting", lambda *_: True)
    elif name == "step":
        before(FastStyleTransfer, "training_step", at_step)
    elif name == "after-step":
        before(FastStyleTransfer, "optimizer_step", lambda m, *_: at_step(m), after=True)
    elif name == "validation":
        before(FastStyleTransfer, "validation_step", at_step)
    elif name == "preview":
        when = lambda _, trainer, __: trainer.global_step == int(argument)  # noqa: E731
        before(Previews, "show", when)
    elif name == "save-before-rename":
        before(fst.system.files.os, "replace", of_step)
    elif name == "save-after-rename":
        before(fst.system.files.os, "replace", of_step, after=True)
    elif name == "save-half":
        write = fst.training.checkpoint_files.write_whole

        def half(path: Path, data: bytes) -> None:
            if of_step(None, path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_name(f".{path.name}.{os.getpid()}.part").write_bytes(
                    data[: len(data) // 2]
                )
                stop()
            write(path, data)

        fst.training.checkpoint_files.write_whole = half  # type: ignore[assignment]
    elif name == "end":
        before(fst.commands.train, "save_styles", lambda *_: True)
    elif name == "seconds":
        signal.signal(signal.SIGALRM, lambda *_: stop())
        signal.setitimer(signal.ITIMER_REAL, float(argument))
    else:
        raise ValueError(point)


def record(file: Path) -> None:
    """Write a line for every batch that is trained on: its step and its photos."""
    step = FastStyleTransfer.training_step

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        with file.open("a") as handle:
            names = ",".join(Path(path).name for path in batch.paths)
            handle.write(f"{self.trainer.global_step} {names}\n")
        return step(self, batch, batch_idx)

    FastStyleTransfer.training_step = training_step  # type: ignore[method-assign]


def run(folder: Path, workers: int, trial: Trial | None = None) -> int:
    """``fst train`` in a forked process in ``folder``; its exit code, negative for a signal."""

    def at_first() -> None:
        record(folder / "batches.txt")
        if trial is not None:
            stop_at(trial.point, trial.number, folder / "moment")

    return exit_code(forked(folder, ["train", *WORDS, f"data.workers={workers}"], at_first))


class Outcome(NamedTuple):
    """What a finished run left: weights, style file, curves, and its photos by step."""

    weights: str
    style: str
    curves: dict[str, list[tuple[int, float]]]
    photos: dict[int, str]


def outcome(folder: Path) -> Outcome:
    """Read a finished run."""
    run = RunFolder(folder / "runs" / "woodcut")
    weights = tensors_sha256(save(read_checkpoint(run.checkpoints.path(STEPS))["state_dict"]))
    events = EventAccumulator(str(run.path), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    curves = {
        tag: [(e.step, e.value) for e in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag not in UNEQUAL
    }
    for tag in events.Tags()["images"]:
        curves[f"image {tag}"] = [(e.step, 0.0) for e in events.Images(tag)]
    lines = (folder / "batches.txt").read_text().splitlines()
    photos = {int(step): names for step, _, names in (line.partition(" ") for line in lines)}
    return Outcome(weights, read_card(run.style_file("woodcut")).sha256, curves, photos)


def faults(found: Outcome, wanted: Outcome) -> list[str]:
    """What of a run that was stopped differs from the run left alone."""
    wrong = []
    if found.weights != wanted.weights:
        wrong.append("weights differ")
    if found.style != wanted.style:
        wrong.append("style files differ")
    if found.photos != wanted.photos:
        wrong.append("photos differ")
    for tag in wanted.curves.keys() | found.curves.keys():
        one, two = wanted.curves.get(tag, []), found.curves.get(tag, [])
        steps = [step for step, _ in two]
        if len(steps) != len(set(steps)):
            wrong.append(f"{tag} has steps twice")
        elif one != two:
            wrong.append(f"{tag} differs")
    return wrong


def attempt(trial: Trial, folder: Path, wanted: Outcome) -> list[str]:
    """Stop one run, resume it, and compare; what did not hold."""
    list_photos(folder, PHOTOS)
    code = run(folder, trial.workers[0], trial)
    wrong = []
    moment = folder / "moment"
    if not moment.exists():
        return [f"it never came to {trial.point} (exit code {code})"]
    took = time.time() - float(moment.read_text())
    if trial.number == signal.SIGKILL:
        if code != -signal.SIGKILL:
            wrong.append(f"exit code {code}")
    else:
        if code != 128 + trial.number:
            wrong.append(f"exit code {code}")
        if took > WITHIN_S:
            wrong.append(f"it took {took:.1f} s to end")
        lines = (folder / "batches.txt").read_text().splitlines() if trial.point != "set-up" else []
        saved = RunFolder(folder / "runs" / "woodcut").checkpoints.newest()
        done = int(saved.stem.removeprefix("step_")) if saved else 0
        if done < len(lines) - 1:
            wrong.append(f"{len(lines) - done} steps lost")
    again = run(folder, trial.workers[1])
    if again:
        return [*wrong, f"resuming failed with {again}"]
    return wrong + faults(outcome(folder), wanted)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("kill", "signal"), nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="N", help="the first N trials of each")
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        top = options.folder or Path(temporary)
        list_photos(top / "alone", PHOTOS)
        started = time.monotonic()
        if run(top / "alone", 0):
            print((top / "alone" / "log.txt").read_text(), file=sys.stderr)
            return 1
        whole = time.monotonic() - started
        wanted = outcome(top / "alone")
        all_held = True
        for what in options.what:
            rng = random.Random(options.seed)
            trials = (kills if what == "kill" else signals)(rng)
            rng.shuffle(trials)
            trials = trials[: options.only]
            held = sum(
                tried(trial, top / f"{what}_{number:02d}", whole, wanted)
                for number, trial in enumerate(trials)
            )
            all_held &= held == len(trials)
            counted = f"{held} of {len(trials)} held"
            print(f"{what}: {counted} (seed {options.seed}, {machine()})", flush=True)
    return 0 if all_held else 1


def tried(trial: Trial, folder: Path, whole: float, wanted: Outcome) -> bool:
    """One ``attempt`` and its line; ``whole`` are the seconds of the run left alone."""
    kind, _, share = trial.point.partition(":")
    if kind == "share":
        trial = trial._replace(point=f"seconds:{float(share) * whole:.2f}")
    wrong = attempt(trial, folder, wanted)
    name = signal.Signals(trial.number).name
    workers = f"workers {trial.workers[0]} then {trial.workers[1]}"
    print(f"{name:<8} {trial.point:<22} {workers:<18} {'; '.join(wrong) or 'held'}", flush=True)
    if wrong:
        print((folder / "log.txt").read_text()[-2000:], file=sys.stderr)
    return not wrong


if __name__ == "__main__":
    sys.exit(main())
