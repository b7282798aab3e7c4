"""Prove training on SLURM against a real one, started here for the purpose, on one machine.

apt-get install slurmctld slurmd slurm-client munge     # Debian's; as root, no systemd needed
python scripts/proofs/slurm_proof.py                           # about half an hour
python scripts/proofs/slurm_proof.py sweep                     # or others of the names below

``sweep``: three styles from one command through submitit; one job is told half-way that its time
is up (SIGUSR2), goes into the queue again and resumes from there. ``sbatch``: the same with
``scripts/train.sbatch`` and SIGUSR1. ``processes``: one style in two processes under srun, and
under torchrun. ``limit``: time limits that SLURM itself watches, of both, and one that expires
without a warning. ``drained``: a node that is drained, then one that is lost. ``preempted``: jobs
of both kinds that a job of a higher partition takes the node from. All must leave the very weights
of runs without SLURM. Exit code 1 if one does not. The last three take LONG_STEPS (6000) steps, a
variable of the environment, which must be more than a minute and a half of this machine.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save
from slurm_world import PATIENCE_S, cluster, missing, output, show, signal_job, state, told, wait
from tiny_run import TINY_RUN, list_photos

from fst.experiments.run_folder import RunFolder
from fst.nets.style_file import tensors_sha256
from fst.system.machine import machine
from fst.training.checkpoint_files import read_checkpoint

HERE = Path(__file__).resolve().parent
PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png", "astronaut.png")
STYLES = ("woodcut", "dots", "stained_glass")
STEPS = 400
LONG_STEPS = int(os.environ.get("LONG_STEPS", "6000"))  # two minutes and more of them


def words(steps: int) -> list[str]:
    """What `fst train` is told, beside the style and the folder."""
    every = [f"checkpoint_every={steps // 8}", f"trainer.val_check_interval={steps // 4}"]
    size = ["data.workers=1", "data.batch_size=2", "previews.photos=0"]
    return [*TINY_RUN, *size, *every, f"trainer.max_steps={steps}"]


WORDS, LONG = words(STEPS), words(LONG_STEPS)
TWO = ("data.batch_size=1", "trainer.devices=2", "trainer.strategy=ddp")
CLUSTER = [
    *("hydra/launcher=submitit_slurm", "hydra.launcher.partition=main"),
    *("hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1"),
    *("hydra.launcher.mem_gb=3", "hydra.launcher.timeout_min=30"),
]


def weights(run: Path, steps: int = STEPS) -> str:
    """A hash of the final weights of a run."""
    state = read_checkpoint(RunFolder(run).checkpoints.path(steps))["state_dict"]
    return tensors_sha256(save(state))


def alone(
    folder: Path,
    environment: dict[str, str],
    *more: str,
    style: str = "woodcut",
    steps: int = STEPS,
) -> str:
    """The weights of a run without SLURM, which is made once."""
    run = f"alone/{style}{steps}_{len(more)}"
    command = [sys.executable, "-m", "fst", "train", *words(steps), f"style={style}"]
    command += [f"run_dir={run}", *more]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return weights(folder / run, steps)


def same_as_alone(folder: Path, run: str, environment: dict[str, str]) -> bool:
    """Whether a long run has the weights of the one without SLURM; says so."""
    same = weights(folder / run, LONG_STEPS) == alone(folder, environment, steps=LONG_STEPS)
    print(f"weights {'those of a run without SLURM' if same else 'DIFFER'}", flush=True)
    return same


def half_way(run: Path) -> bool:
    """Whether a run has a checkpoint and is not near its end."""
    newest = RunFolder(run).checkpoints.newest()
    return newest is not None


def sweep(folder: Path, environment: dict[str, str]) -> bool:
    """Three styles through submitit, one of them told to stop."""
    command = [sys.executable, "-m", "fst", "train", "-m", *CLUSTER, *WORDS]
    command += [f"style={','.join(STYLES)}", "hydra.sweep.dir=runs/sweep"]
    print("$ fst " + " ".join(command[3:]), flush=True)
    started = subprocess.Popen(command, cwd=folder, env=environment)
    first = folder / "runs" / "sweep" / f"style={STYLES[0]}"
    wait(lambda: half_way(first), "a checkpoint of the first job")
    array = output(["squeue", "-h", "-t", "R", "-o", "%F"], environment).split()[0]
    signal_job(f"{array}_0", "USR2", environment)
    code = started.wait(PATIENCE_S)
    print(f"the launcher's exit code is {code}", flush=True)
    log = "".join(p.read_text() for p in (folder / "runs/sweep/.submitit").rglob("*_0_0_log.out"))
    show(log)
    held = code == 0 and "is queued again" in log and "resuming from step" in log
    for style in STYLES:
        run = folder / "runs" / "sweep" / f"style={style}"
        same = weights(run) == alone(folder, environment, style=style)
        there = (run / f"{style}.safetensors").exists()
        print(
            f"{run.relative_to(folder)}/{style}.safetensors: {'there' if there else 'MISSING'}, "
            f"weights {'those of a run without SLURM' if same else 'DIFFER'}"
        )
        held = held and same and there
    return held


def sbatch(folder: Path, environment: dict[str, str]) -> bool:
    """One style by the sbatch file, told to stop."""
    command = ["sbatch", "--parsable", "--gpus-per-node=0", "--cpus-per-task=1", "--mem=3G"]
    command += [str(HERE.parent / "train.sbatch"), *WORDS, "style=woodcut", "run_dir=runs/sbatch"]
    print("$ " + " ".join(command), flush=True)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    job = done.stdout.strip()
    print(done.stdout, done.stderr, flush=True)
    wait(lambda: half_way(folder / "runs" / "sbatch"), "a checkpoint of the job")
    signal_job(job, "USR1", environment)
    style = folder / "runs" / "sbatch" / "woodcut.safetensors"
    wait(style.exists, "the style file")
    log = (folder / f"fst_{job}.log").read_text()
    show(log)
    same = weights(style.parent) == alone(folder, environment)
    print(f"weights {'those of a run without SLURM' if same else 'DIFFER'}")
    return same and "is queued again" in log and "resuming from step" in log


def processes(folder: Path, environment: dict[str, str]) -> bool:
    """One style in two processes, under srun and under torchrun."""
    held = True
    wanted = alone(folder, environment, *TWO)
    train = ["fst", "train", *WORDS, "style=woodcut", *TWO]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for name, tasks, launcher in (("srun", 2, []), ("torchrun", 1, torchrun)):
        run = f"run_dir=runs/{name}"
        command = ["srun", f"--ntasks-per-node={tasks}", f"--ntasks={tasks}", "--mem=6G"]
        command += ["--cpus-per-task=1", sys.executable, *launcher, "-m", *train, run]
        print("$ " + " ".join(command), flush=True)
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        show(done.stdout)
        if done.returncode:
            print(done.stderr[-3000:])
        same = done.returncode == 0 and weights(folder / "runs" / name) == wanted
        print(
            f"{name}: exit code {done.returncode}, weights "
            f"{'those of two processes without SLURM' if same else 'DIFFER'}",
            flush=True,
        )
        held = held and same
    return held


def submitted(folder: Path, environment: dict[str, str], run: str, *options: str) -> str:
    """The number of a job of ``train.sbatch``, a long one."""
    command = ["sbatch", "--parsable", "--gpus-per-node=0", "--cpus-per-task=1", "--mem=3G"]
    command += [*options, str(HERE.parent / "train.sbatch")]
    return told([*command, *LONG, "style=woodcut", f"run_dir={run}"], environment, folder).strip()


def ended(folder: Path, run: str, job: str, environment: dict[str, str]) -> bool:
    """Wait for the style file of a job; whether it resumed and has the weights it must have."""
    wait((folder / run / "woodcut.safetensors").exists, f"the style file of job {job}")
    log = (folder / f"fst_{job}.log").read_text()
    show(log)
    return same_as_alone(folder, run, environment) and "resuming from step" in log


def launched(
    folder: Path, run: str, environment: dict[str, str], *more: str
) -> subprocess.Popen[bytes]:
    """A sweep of one long run through submitit."""
    command = [sys.executable, "-m", "fst", "train", "-m", *CLUSTER, *more, *LONG]
    command += ["style=woodcut", f"hydra.sweep.dir={run}"]
    print("$ fst " + " ".join(command[3:]), flush=True)
    return subprocess.Popen(command, cwd=folder, env=environment)


def swept(
    folder: Path, run: str, launcher: subprocess.Popen[bytes], environment: dict[str, str]
) -> str:
    """The logs of a sweep once it has ended; empty if it is not what it would be alone."""
    code = launcher.wait(PATIENCE_S)
    print(f"the launcher's exit code is {code}", flush=True)
    logs = sorted((folder / run / ".submitit").rglob("*_log.out"))
    log = "".join(path.read_text() for path in logs)
    show(log)
    same = same_as_alone(folder, f"{run}/0", environment)
    return log if same and code == 0 else ""


def limit(folder: Path, environment: dict[str, str]) -> bool:
    """Time limits that SLURM itself watches: of both kinds of job, and without a warning."""
    job = submitted(folder, environment, "runs/limit", "--time=2", "--signal=USR1@30")
    held = ended(folder, "runs/limit", job, environment)
    held = "is queued again" in (folder / f"fst_{job}.log").read_text() and held
    short = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=30")
    launcher = launched(folder, "runs/limited", environment, *short)
    held = "is queued again" in swept(folder, "runs/limited", launcher, environment) and held
    job = submitted(folder, environment, "runs/killed", "--time=1", "--signal=CONT@1")
    wait(lambda: state(job, environment) not in ("PENDING", "RUNNING", "COMPLETING"), "its end")
    print(f"job {job}: {state(job, environment)}", flush=True)
    held = state(job, environment) == "TIMEOUT" and held
    show((folder / f"fst_{job}.log").read_text())
    told([sys.executable, "-m", "fst", "runs", "runs/killed"], environment, folder)
    again = submitted(folder, environment, "runs/killed")
    return ended(folder, "runs/killed", again, environment) and held


def drained(folder: Path, environment: dict[str, str]) -> bool:
    """A node that is drained ends its job and takes no other; one that is lost loses its job."""

    def update(state: str) -> None:
        node = f"nodename={socket.gethostname().split('.')[0]}"
        told(["scontrol", "update", node, f"state={state}", "reason=proof"], environment)

    first = submitted(folder, environment, "runs/drained")
    wait(lambda: half_way(folder / "runs/drained"), "a checkpoint of the job")
    update("drain")
    second = submitted(folder, environment, "runs/waiting")
    wait((folder / "runs/drained/woodcut.safetensors").exists, "the job on the drained node")
    wait(lambda: state(first, environment) == "COMPLETED", "that job's end")
    told(["sinfo", "-h", "-o", "%n %T %E"], environment)
    held = f"{second} PENDING" in told(["squeue", "-h", "-o", "%i %T %r"], environment)
    update("resume")
    wait(lambda: half_way(folder / "runs/waiting"), "a checkpoint of the second job")
    update("down")
    wait(lambda: state(second, environment) == "PENDING", "the job to be queued again", 120)
    told([sys.executable, "-m", "fst", "runs"], environment, folder)
    update("resume")
    held = same_as_alone(folder, "runs/drained", environment) and held
    return ended(folder, "runs/waiting", second, environment) and held


def preempted(folder: Path, environment: dict[str, str]) -> bool:
    """A job of a higher partition takes the node from one of a sweep, and from an sbatch job."""
    launcher = launched(folder, "runs/swept", environment)
    wait(lambda: half_way(folder / "runs/swept/0"), "a checkpoint of the sweep")
    urgent(folder, environment)
    held = "resuming from step" in swept(folder, "runs/swept", launcher, environment)
    job = submitted(folder, environment, "runs/preempted")
    wait(lambda: half_way(folder / "runs/preempted"), "a checkpoint of the job")
    urgent(folder, environment)
    return ended(folder, "runs/preempted", job, environment) and held


def urgent(folder: Path, environment: dict[str, str]) -> None:
    """Give the whole node to another job for a moment."""
    command = ["sbatch", "--parsable", "--partition=urgent", "--exclusive", "--wrap=sleep 10"]
    job = told([*command, "--output=urgent.log"], environment, folder).strip()
    wait(lambda: state(job, environment) in ("RUNNING", "COMPLETED"), "the urgent job", 120)
    told(["squeue", "-h", "-o", "%i %P %T %r"], environment)
    wait(lambda: state(job, environment) == "COMPLETED", "the urgent job to end", 60)


PROOFS: dict[str, Callable[[Path, dict[str, str]], bool]] = {
    "sweep": sweep,
    "sbatch": sbatch,
    "processes": processes,
    "limit": limit,
    "drained": drained,
    "preempted": preempted,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Prove training on SLURM against a real one.")
    parser.add_argument("which", nargs="*", help=f"{', '.join(PROOFS)}; all by default")
    parser.add_argument("--folder", type=Path, help="keep runs and logs here")
    options = parser.parse_args()
    reason = missing()
    if reason:
        print(f"slurm_proof: {reason}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        top = (options.folder or Path(temporary)).resolve()
        folder = top / "work"
        list_photos(folder, PHOTOS)
        with cluster(top / "slurm") as environment:
            version = output(["scontrol", "--version"], environment).strip()
            results = {}
            for name in options.which or PROOFS:
                print(f"\n== {name} ({version}, {machine()})", flush=True)
                results[name] = PROOFS[name](folder, environment)
    for name, held in results.items():
        print(f"{name:<10} {'held' if held else 'DID NOT HOLD'}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
