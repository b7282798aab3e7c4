"""Two processes against one with the doubled batch: the same losses, weights and gradients?

python scripts/proofs/compare_processes.py           # all of it: a few minutes
python scripts/proofs/compare_processes.py --quick   # float64 with trainer.devices=2, 4 steps

In float64 the losses and weights after 20 steps are compared, in float32 the first step's loss and
gradients (the first moments of Adam, which are a tenth of them); then which photos each process
saw; then one of two processes is killed. Exit code 1 if a limit is passed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import TINY_RUN, exit_code, forked, list_photos

import fst.commands.train  # noqa: F401  # what is forked has it then
from fst.experiments.run_folder import RunFolder
from fst.system.machine import machine
from fst.training.checkpoint_files import read_checkpoint

PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png", "astronaut.png", "cell.png")
WORDS = [
    *TINY_RUN,
    "style=woodcut",
    *("data.workers=0", "checkpoint_every=5", "trainer.val_check_interval=5", "previews.photos=0"),
    *("trainer.log_every_n_steps=1", "optimizer.schedule=constant"),
]
TWO = ["trainer.devices=2", "trainer.strategy=ddp"]
LIMITS = {"64-true": 1e-6, "32-true": 1e-5}
ENDS_WITHIN_S = 60  # after the other process was killed; Lightning looks every 5 s


def command(launcher: str, *words: str) -> list[str]:
    """``fst train`` in one process, in two of Lightning, or in two of torchrun."""
    train = ["fst", "train", *WORDS, f"run_dir={launcher}", *words]
    if launcher == "one":
        return [sys.executable, "-m", *train, "data.batch_size=4"]
    if launcher == "devices":
        return [sys.executable, "-m", *train, "data.batch_size=2", *TWO]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*torchrun, "--nproc-per-node", "2", "-m", *train, "data.batch_size=2", *TWO]


def environment() -> dict[str, str]:
    """One thread a process, which do not burn the cores while they wait for each other."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FST_")}
    return {**kept, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def train(folder: Path, launcher: str, *words: str, fork: bool = False) -> None:
    """Run to the end, or say what it printed. ``fork`` spares it the imports (not of torchrun)."""
    if fork:
        after_fst = command(launcher, *words)[3:]
        if exit_code(forked(folder, after_fst)):
            raise SystemExit(f"{launcher} failed:\n{(folder / 'log.txt').read_text()}")
        return
    done = subprocess.run(
        command(launcher, *words), cwd=folder, env=environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{launcher} failed:\n{done.stdout}\n{done.stderr}")


def losses(run: Path) -> torch.Tensor:
    """The total losses of training and validation, step by step."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    values = [event.value for tag in ("train/total", "val/total") for event in events.Scalars(tag)]
    return torch.tensor(values, dtype=torch.float64)


def difference(one: torch.Tensor, two: torch.Tensor) -> float:
    """The largest difference over the largest value."""
    return float((one - two).abs().max() / one.abs().max().clamp_min(1e-300))


def compare(folder: Path, launcher: str, precision: str, steps: int, *, fork: bool = False) -> bool:
    """Print how far two processes are from one, in the worst tensor."""
    name = f"{precision} {steps}"
    place = folder / name.replace(" ", "_")
    words = [f"trainer.precision={precision}", f"trainer.max_steps={steps}"]
    if not (place / "one").exists():
        place.mkdir()
        list_photos(place, PHOTOS)
        train(place, "one", *words, fork=fork)
    train(place, launcher, *words, fork=fork)
    one, two = (
        read_checkpoint(RunFolder(place / run).checkpoints.path(steps)) for run in ("one", launcher)
    )
    worst = {"losses": difference(losses(place / "one"), losses(place / launcher))}
    states = [checkpoint["state_dict"] for checkpoint in (one, two)]
    moments = [checkpoint["optimizer_states"][0]["state"] for checkpoint in (one, two)]
    if steps == 1:
        pairs = [(moments[0][key]["exp_avg"], moments[1][key]["exp_avg"]) for key in moments[0]]
        # biases before a normalization have no gradient but rounding: all are over the largest
        largest = max(float(a.abs().max()) for a, _ in pairs)
        worst["gradients"] = max(float((a - b).abs().max()) for a, b in pairs) / largest
    else:
        # not over each tensor's size: biases before a normalization hold rounding alone
        keys = states[0].keys()
        worst["weights"] = max(float((states[0][k] - states[1][k]).abs().max()) for k in keys)
    # curves are stored in float32
    limits = {key: max(LIMITS[precision], 1e-7 if key == "losses" else 0) for key in worst}
    held = all(worst[key] <= limits[key] for key in worst)
    shown = ", ".join(f"{key} {value:.1e}" for key, value in worst.items())
    limit = f"at most {LIMITS[precision]:.0e}"
    print(f"{launcher:<9}{name + ' steps':<18}{shown} ({limit}): {verdict(held)}", flush=True)
    return held


def photos_once(steps: int = 6) -> bool:
    """Whether two processes together see every photo once in an epoch."""
    from fst.training.datamodule import StepSampler

    batches = [list(StepSampler(first=0, count=steps, batch=2, rank=r, world=2)) for r in (0, 1)]
    samples = Counter(k for rank in batches for batch in rank for k in batch)
    held = samples == Counter(range(4 * steps))
    print(f"samples of {steps} steps, each by one process and once: {verdict(held)}", flush=True)
    return held


def kill_one(folder: Path, launcher: str) -> bool:
    """Kill the second process: the first must end with a message, and the run must resume."""
    place = folder / f"killed_{launcher}"
    place.mkdir()
    list_photos(place, PHOTOS)
    words = ["trainer.max_steps=4000", "trainer.precision=64-true"]
    log = place / "log.txt"
    with log.open("w") as out:
        job = subprocess.Popen(
            command(launcher, *words), cwd=place, env=environment(), stdout=out, stderr=out
        )
        checkpoints = RunFolder(place / launcher).checkpoints
        while not checkpoints.found():
            if job.poll() is not None:
                raise SystemExit(f"{launcher} ended early:\n{log.read_text()}")
            time.sleep(0.2)
        os.kill(second_process(job.pid), signal.SIGKILL)
        start = time.monotonic()
        try:
            code = job.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            job.kill()
            code = 0
        took = time.monotonic() - start
    said = "another process of this run has ended" in log.read_text()
    newest = checkpoints.newest()
    assert newest is not None
    step = int(newest.stem.removeprefix("step_"))
    again = subprocess.Popen(
        command(launcher, *words), cwd=place, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert again.stdout is not None
    line = next((text for text in again.stdout if "resuming from step" in text), "")
    resumed = f"resuming from step {step})" in line
    again.terminate()
    again.communicate()
    held = bool(code) and said and resumed
    print(
        f"{launcher:<9}one of two killed: the other ended after {took:.0f} s with code {code}"
        f"{', saying so' if said else ', silently'}; "
        f"{'resumed at step ' + str(step) if resumed else 'not resumed'}: {verdict(held)}",
        flush=True,
    )
    return held


def second_process(first: int) -> int:
    """A training process that is not ``first`` but started by it."""
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return int(children[-1])


def verdict(held: bool) -> str:
    """A word for it."""
    return "held" if held else "DID NOT HOLD"


def main() -> int:
    parser = argparse.ArgumentParser(description="Two processes against one.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.quick:
            held = [compare(folder, "devices", "64-true", 4, fork=True)]
        else:
            held = [
                compare(folder, launcher, precision, steps)
                for launcher in ("devices", "torchrun")
                for precision, steps in (("64-true", 20), ("32-true", 1))
            ]
            held.append(photos_once())
            held += [kill_one(folder, launcher) for launcher in ("devices", "torchrun")]
    print(f"{sum(held)} of {len(held)} held ({machine()})")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
