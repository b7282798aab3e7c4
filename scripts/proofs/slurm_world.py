"""A private SLURM of one node on this machine, and what is asked of it, for ``slurm_proof.py``."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "scontrol")
PATIENCE_S = 900
NOISE = re.compile(
    r"^step |WARNING|submitit |UserWarning|validated against|deprecated in Hydra|hydra.cc|"
    "submitit_main|accounting storage|Job completed|successful completion"
)
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
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=30
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 MaxTime=INFINITE State=UP OverSubscribe=NO
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP
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
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
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


def output(command: list[str], environment: dict[str, str], folder: Path | None = None) -> str:
    """What a command prints."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.stdout


def state(job: str, environment: dict[str, str]) -> str:
    """What has become of a job, such as ``RUNNING``; empty where it is not known any more."""
    lines = output(["scontrol", "show", "job", job], environment).split()
    return next((word.partition("=")[2] for word in lines if word.startswith("JobState=")), "")


def told(command: list[str], environment: dict[str, str], folder: Path | None = None) -> str:
    """What a command prints, with it, on the terminal too."""
    print("$ " + " ".join(command), flush=True)
    said = output(command, environment, folder)
    show(said)
    return said


def wait(done: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.5)


def signal_job(job: str, name: str, environment: dict[str, str]) -> None:
    """What SLURM sends to a job whose time is up."""
    print(f"$ scancel --signal={name} {job}", flush=True)
    subprocess.run(["scancel", f"--signal={name}", job], env=environment, check=True)


def show(log: str) -> None:
    """The lines of a log that matter, indented: no steps, and nothing of what submitit notes."""
    for line in log.splitlines():
        if line.strip() and not NOISE.search(line):
            print(f"    {line[:140]}", flush=True)
