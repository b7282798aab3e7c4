"""Prove training on SLURM against a real one, started here for the purpose, on one machine.

apt-get install slurmctld slurmd slurm-client munge     # Debian's; as root, no systemd needed
python scripts/proofs/slurm_proof.py                           # about ten minutes
python scripts/proofs/slurm_proof.py sweep                     # one of sweep, sbatch, processes

``sweep``: three styles from one command through submitit; one job is told half-way that its time
is up (SIGUSR2), goes into the queue again and resumes from there. ``sbatch``: the same with
``scripts/train.sbatch`` and SIGUSR1. ``processes``: one style in two processes under srun, and
under torchrun. All must leave the very weights of runs without SLURM. Exit code 1 if one does not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save
from tiny_run import TINY_RUN, list_photos

from fst.experiments.run_folder import RunFolder
from fst.nets.style_file import tensors_sha256
from fst.system.machine import machine
from fst.training.checkpoint_files import read_checkpoint

HERE = Path(__file__).resolve().parent
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "scontrol")
PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png", "astronaut.png")
STYLES = ("woodcut", "dots", "stained_glass")
STEPS = 400
WORDS = [
    *TINY_RUN,
    *(
        "data.workers=1",
        "data.batch_size=2",
        f"trainer.max_steps={STEPS}",
        "checkpoint_every=50",
    ),
    *("trainer.val_check_interval=100", "previews.photos=0"),
]
TWO = ("data.batch_size=1", "trainer.devices=2", "trainer.strategy=ddp")
CLUSTER = [
    *("hydra/launcher=submitit_slurm", "hydra.launcher.partition=main"),
    *("hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1"),
    *("hydra.launcher.mem_gb=3", "hydra.launcher.timeout_min=30"),
]
PATIENCE_S = 900
CONFIG = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={top}/run/munge.sock,cred_expire=5
StateSaveLocation={top}/state
SlurmdSpoolDir={top}/spool
SlurmctldPidFile={top}/run/slurmctld.pid
SlurmdPidFile={top}/run/slurmd.pid
SlurmctldLogFile={top}/log/slurmctld.log
SlurmdLogFile={top}/log/slurmd.log
SlurmctldPort={port}
SlurmdPort={node_port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=60
SchedulerParameters=batch_sched_delay=1,sched_interval=5
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def missing() -> str | None:
    """Why there can be no SLURM here; None if there can."""
    gone = [name for name in NEEDED if shutil.which(name) is None]
    if gone:
        return f"{', '.join(gone)} not found; apt-get install slurmctld slurmd slurm-client munge"
    if os.geteuid():
        return "a private SLURM must be started as root"
    return None


@contextmanager
def cluster(top: Path) -> Iterator[dict[str, str]]:
    """A SLURM of one node in ``top``; the environment its commands want. Ended at the end."""
    for name in ("run", "log", "state", "spool"):
        (top / name).mkdir(parents=True)
    (top / "run").chmod(0o755)
    key = top / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    config = top / "slurm.conf"
    config.write_text(
        CONFIG.format(
            top=top,
            host=socket.gethostname().split(".")[0],
            port=free_port(),
            node_port=free_port(),
            cores=os.cpu_count(),
            memory=int(pages * page / 2**20 * 0.8),
        )
    )
    environment = {**os.environ, "SLURM_CONF": str(config)}
    # the threads of a run decide its rounding, so all runs have one
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent.parent)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    munged = ["munged", "--force", "--foreground", f"--key-file={key}"]
    munged += [f"--socket={top}/run/munge.sock", f"--pid-file={top}/run/munged.pid"]
    munged += [f"--seed-file={top}/run/munge.seed", f"--log-file={top}/log/munged.log"]
    daemons = []
    try:
        for command in (munged, ["slurmctld", "-D"], ["slurmd", "-D"]):
            log = (top / "log" / f"{command[0]}.out").open("w")
            daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            time.sleep(2)
        wait(lambda: "idle" in output(["sinfo", "-h"], environment), "the cluster to be idle", 90)
        yield environment
    finally:
        subprocess.run(["scancel", "--state=PENDING"], env=environment, capture_output=True)
        subprocess.run(["scancel", "--state=RUNNING"], env=environment, capture_output=True)
        time.sleep(1)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def output(command: list[str], environment: dict[str, str]) -> str:
    """What a command prints."""
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout


def wait(done: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.5)


def weights(run: Path) -> str:
    """A hash of the final weights of a run."""
    state = read_checkpoint(RunFolder(run).checkpoints.path(STEPS))["state_dict"]
    return tensors_sha256(save(state))


def alone(folder: Path, style: str, environment: dict[str, str], *words: str) -> str:
    """The weights of a run without SLURM."""
    run = f"run_dir=alone/{style}{len(words)}"
    command = [sys.executable, "-m", "fst", "train", *WORDS, f"style={style}", run, *words]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return weights(folder / run.removeprefix("run_dir="))


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
        same = weights(run) == alone(folder, style, environment)
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
    same = weights(style.parent) == alone(folder, "woodcut", environment)
    print(f"weights {'those of a run without SLURM' if same else 'DIFFER'}")
    return same and "is queued again" in log and "resuming from step" in log


def processes(folder: Path, environment: dict[str, str]) -> bool:
    """One style in two processes, under srun and under torchrun."""
    held = True
    wanted = alone(folder, "woodcut", environment, *TWO)
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


def signal_job(job: str, name: str, environment: dict[str, str]) -> None:
    """What SLURM sends to a job whose time is up."""
    print(f"$ scancel --signal={name} {job}", flush=True)
    subprocess.run(["scancel", f"--signal={name}", job], env=environment, check=True)


def show(log: str) -> None:
    """The lines of a log that matter, indented."""
    for line in log.splitlines():
        if line.strip() and "WARNING" not in line:
            print(f"    {line[:140]}", flush=True)


PROOFS = {"sweep": sweep, "sbatch": sbatch, "processes": processes}


def main() -> int:
    parser = argparse.ArgumentParser(description="Prove training on SLURM against a real one.")
    parser.add_argument("which", nargs="*", help="sweep, sbatch, processes; all by default")
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
