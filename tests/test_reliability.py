"""Quick forms of docs/reliability.md: runs killed, told to stop, damaged or crowded out."""

import importlib.util
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from PIL import Image

from fst.cli import main
from fst.data.dataset import PhotoBatch
from fst.errors import FstError
from fst.experiments.run_folder import RunFolder
from fst.nets.style_card import read_card
from fst.system.signals import STOP
from fst.training.checkpoint_files import read_checkpoint
from fst.training.lightning_module import FastStyleTransfer
from tests.conftest import Train, vgg_state

ROOT = Path(__file__).parent.parent
PROOFS = ROOT / "scripts" / "proofs"
RUN = RunFolder(Path("runs/swirl"))


def script(name: str, *words: str, timeout_s: int = 1200) -> str:
    """Run one of the project's scripts; what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FST_")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [sys.executable, str(PROOFS / name), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_that_is_stopped_and_resumed_ends_as_if_it_were_not() -> None:
    told = script("kill_runs.py", "kill", "signal", "--only", "3")
    assert "kill: 3 of 3 held" in told
    assert "signal: 3 of 3 held" in told


@pytest.mark.slow
@pytest.mark.parametrize("what", ["kill", "signal"])
def test_a_run_that_is_stopped_at_any_of_20_moments_resumes(what: str) -> None:
    assert "20 of 20 held" in script("kill_runs.py", what)


def test_two_processes_learn_what_one_does() -> None:
    assert "1 of 1 held" in script("compare_processes.py", "--quick")


@pytest.mark.slow
def test_two_processes_are_one_however_started_and_end_together() -> None:
    assert "7 of 7 held" in script("compare_processes.py")


def load_script(name: str) -> ModuleType:
    sys.path.append(str(PROOFS))  # for what scripts share
    spec = importlib.util.spec_from_file_location(name, PROOFS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_slurm_runs_sweeps_and_brings_back_what_it_stopped() -> None:
    reason = load_script("slurm_proof").missing()
    if reason:
        pytest.skip(reason)
    out = script("slurm_proof.py", timeout_s=3600)
    assert "DID NOT HOLD" not in out


@pytest.mark.slow
def test_full_and_read_only_disks_end_a_run_with_a_sentence() -> None:
    reason = load_script("fill_disks").missing()
    if reason:
        pytest.skip(reason)
    assert "DID NOT HOLD" not in script("fill_disks.py")


def flip(data: bytes) -> bytes:
    return data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]


DAMAGES = {
    "cut": lambda data: data[:-1000],
    "zeroed": lambda data: bytes(len(data)),
    "flipped": flip,
}
DAMAGES["empty"] = lambda data: b""


def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    whole = read_card("runs/swirl/swirl.safetensors").sha256
    shutil.copytree("runs/swirl", "kept")
    for name, damage in DAMAGES.items():
        shutil.rmtree("runs/swirl")
        shutil.copytree("kept", "runs/swirl")
        Path("runs/swirl/swirl.safetensors").unlink()
        newest = RUN.checkpoints.path(6)
        newest.write_bytes(damage(newest.read_bytes()))
        capsys.readouterr()
        assert train(f"resume={newest}") == 2
        assert str(newest) in capsys.readouterr().err
        assert train() == 0, name
        out = capsys.readouterr().out
        assert f"{newest} is" in out
        assert f"resuming from {RUN.checkpoints.path(3)}" in out
        assert read_card("runs/swirl/swirl.safetensors").sha256 == whole
    for path in [p for p in RUN.checkpoints.found() if p.suffix == ".ckpt"]:
        path.write_bytes(b"")
    Path("runs/swirl/swirl.safetensors").unlink()
    assert train() == 2
    assert "no checkpoint is left to resume from; resume=false" in capsys.readouterr().err


def test_a_run_can_resume_from_the_best_checkpoint(train: Train) -> None:
    assert train() == 0
    whole = read_card("runs/swirl/swirl.safetensors").sha256
    best = RUN.checkpoints.best
    assert read_checkpoint(best)["global_step"] in (3, 6)
    shutil.copy(best, "best.ckpt")
    shutil.rmtree("runs/swirl")
    assert train("resume=best.ckpt") == 0
    assert read_card("runs/swirl/swirl.safetensors").sha256 == whole
    assert train("resume=no.ckpt") == 2


def test_going_back_to_an_earlier_checkpoint_sets_the_later_ones_aside(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    whole = read_card("runs/swirl/swirl.safetensors").sha256
    with RUN.locked():  # of a run under way nothing is taken
        assert train(f"resume={RUN.checkpoints.path(3)}") == 2
    assert RUN.checkpoints.path(6).exists()
    assert train(f"resume={RUN.checkpoints.path(3)}") == 0
    assert "step_00000006.ckpt is of a later step and is set aside" in capsys.readouterr().out
    assert read_card("runs/swirl/swirl.safetensors").sha256 == whole
    names = {path.name for path in RUN.checkpoints.folder.iterdir()}
    assert {"step_00000006.ckpt.superseded", "step_00000006.ckpt"} <= names


def test_a_checkpoint_of_a_run_with_other_settings_is_refused(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    resume = f"resume={RUN.checkpoints.path(6)}"
    assert train("run_dir=runs/other", "optimizer.learning_rate=1e-4", resume) == 2
    assert "runs/swirl holds a run with other settings: optimizer" in capsys.readouterr().err
    shutil.copy(RUN.checkpoints.path(3), "alone.ckpt")
    assert train("run_dir=runs/other", "net.width=6", "resume=alone.ckpt") == 2
    assert "alone.ckpt is of another net than these settings make" in capsys.readouterr().err


def test_ctrl_c_in_the_last_validation_is_one(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = FastStyleTransfer.validation_step

    def interrupted(self: FastStyleTransfer, batch: PhotoBatch, batch_idx: int) -> None:
        if self.trainer.validating:
            signal.raise_signal(signal.SIGINT)
        step(self, batch, batch_idx)

    monkeypatch.setattr(FastStyleTransfer, "validation_step", interrupted)
    assert train() == 130
    monkeypatch.setattr(FastStyleTransfer, "validation_step", step)
    assert train() == 0


def test_a_run_beside_another_is_resumed_by_its_folder(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``resume=false`` once more would begin a third run."""
    RUN.path.mkdir(parents=True)
    RUN.config_file.write_text("{}\n")
    step = FastStyleTransfer.training_step

    def interrupted(self: FastStyleTransfer, batch: PhotoBatch, batch_idx: int) -> torch.Tensor:
        signal.raise_signal(signal.SIGINT)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(FastStyleTransfer, "training_step", interrupted)
    assert train("resume=false") == 130
    said = capsys.readouterr().out
    assert "the same command with run_dir=runs/swirl-2 in place of resume=false resumes" in said
    monkeypatch.setattr(FastStyleTransfer, "training_step", step)
    assert train("run_dir=runs/swirl-2") == 0
    assert "resuming from step 1" in capsys.readouterr().out


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a disk that is full: nothing writes a file of more bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_leaves_the_checkpoint_before(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step, kept = FastStyleTransfer.training_step, []

    def fill(self: FastStyleTransfer, batch: PhotoBatch, batch_idx: int) -> torch.Tensor:
        if self.trainer.global_step == 4:
            kept.append(RUN.checkpoints.path(3).read_bytes())
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept[0]) - 1, most))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(FastStyleTransfer, "training_step", fill)
    with largest_file(resource.getrlimit(resource.RLIMIT_FSIZE)[0]):
        assert train() == 2
    error = capsys.readouterr().err
    assert "best.ckpt cannot be written: File too large" in error  # at step 6, the first of two
    assert "step_00000003.ckpt is as it was" in error
    assert RUN.checkpoints.path(3).read_bytes() == kept[0]
    assert not list(Path("runs").rglob("*.part"))
    monkeypatch.setattr(FastStyleTransfer, "training_step", step)
    assert train() == 0


def test_what_cannot_be_written_is_refused_before_the_first_step(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    with largest_file(50_000):
        assert train() == 2
    assert "this shell allows files of 0.1 MB; raise it with ulimit -f" in capsys.readouterr().err
    assert not list(Path("runs").rglob("*.ckpt"))


def test_no_folder_for_temporary_files_is_needed(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert train("trainer.max_steps=3") == 0
    assert RUN.checkpoints.path(3).exists()


def test_a_photo_of_one_color_has_a_finite_loss(train: Train, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    for color in ("black", "white", "#808080"):
        Image.new("RGB", (80, 60), color).save(tmp_path / "flat" / f"{color.strip('#')}.png")
    for words in ([], ["loss.content_distance=cosine", "loss.mean_weight=1"]):
        run_dir = f"run_dir=runs/{len(words)}"
        assert train(f"data.root={tmp_path / 'flat'}", run_dir, *words) == 0
        card = read_card(Path(f"runs/{len(words)}/swirl.safetensors"))
        assert all(value == value and value < 1e6 for value in card.losses.values())


def test_a_failing_job_of_a_sweep_does_not_take_the_others_along(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("trainer.max_steps=1", "previews.photos=0", "hydra.sweep.dir=runs/sweep")
    assert train("-m", "style.size=64,8,96", *words) == 2
    assert "job 1 (" in capsys.readouterr().err
    made = sorted(path.parent.name for path in Path("runs/sweep").glob("*/swirl.safetensors"))
    assert made == ["size=64", "size=96"]
    assert train("-m", "style.size=64,72,96", *words) == 0  # the same folder: the rest
    out = capsys.readouterr().out
    assert out.count("is trained already") == 2


def test_a_sweep_on_slurm_says_what_it_needs(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fst.experiments.hydra_internals.find_spec", lambda name: None)
    assert train("-m", "hydra/launcher=submitit_slurm", "style.size=64,96") == 2
    assert "needs packages: pip install 'hydra-submitit-launcher>=" in capsys.readouterr().err


def test_weights_are_downloaded_ahead_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import hashlib

    import torchvision

    torch.save(vgg_state([[4, 4], [6]]), tmp_path / "vgg")
    digest = hashlib.sha256((tmp_path / "vgg").read_bytes()).hexdigest()[:8]
    far = tmp_path / f"vgg16-{digest}.pth"
    (tmp_path / "vgg").rename(far)

    def weights(url: str) -> dict[str, SimpleNamespace]:
        def get(**options: bool) -> dict[str, torch.Tensor]:
            return torch.hub.load_state_dict_from_url(url, **options)

        return {"IMAGENET1K_FEATURES": SimpleNamespace(url=url, get_state_dict=get)}

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    monkeypatch.setattr(torchvision.models, "VGG16_Weights", weights(far.as_uri()))
    assert main(["download", "vgg16"]) == 0
    cached = tmp_path / "cache" / "checkpoints" / far.name
    assert str(cached) in capsys.readouterr().out
    assert cached.read_bytes() == far.read_bytes()
    gone = weights((tmp_path / "gone-00000000.pth").as_uri())
    monkeypatch.setattr(torchvision.models, "VGG16_Weights", gone)
    assert main(["download", "vgg16"]) == 2
    assert "could not be downloaded" in capsys.readouterr().err
    assert main(["download", "resnet"]) == 2


def test_a_child_that_outlives_a_killed_run_does_not_hold_its_lock(tmp_path: Path) -> None:
    code = """
import os, signal, sys, time
from pathlib import Path
from fst.experiments.run_folder import RunFolder
with RunFolder(Path(sys.argv[1]) / "run").locked():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    Path(sys.argv[1], "child").write_text(str(child))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.DEVNULL)
    child = int((tmp_path / "child").read_text())
    try:
        with RunFolder(tmp_path / "run").locked():
            os.kill(child, 0)  # is still there
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_job_of_several_processes_has_one_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    with run.locked():
        with pytest.raises(FstError, match="is in use by another run"), run.locked():
            pass
        monkeypatch.setenv("RANK", "1")
        with run.locked():
            pass


def signaled(*, noting: bool) -> None:
    """A signal before or after the first step of a training that compiles."""
    with STOP.watching(), STOP.noting(later=True):
        if noting:
            STOP.note_from_now()
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("saved", [False, True])
def test_a_signal_leaves_at_once_while_there_is_nothing_to_save(saved: bool) -> None:
    with pytest.raises(SystemExit) as left:
        signaled(noting=saved)
    assert left.value.code == 130
    assert STOP.left is not saved
    assert (STOP.received == signal.SIGINT) is saved


def test_a_stopped_program_does_not_wait_for_what_it_holds() -> None:
    """A compiler's state takes seconds to give back; what others do at the end is done."""
    code = (
        "import atexit, sys, time\n"
        "from fst.system.signals import STOP\n"
        "atexit.register(STOP.leave_at_exit)\n"
        "atexit.register(print, 'closed')\n"
        "class Net:\n"
        "    def __del__(self): time.sleep(20)\n"
        "net = Net()\n"
        "STOP.exit_code = 130\n"
        "sys.exit(130)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10)
    assert done.returncode == 130
    assert done.stdout == "closed\n"


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="POSIX")
def test_a_loaders_worker_outlives_the_two_signals_of_a_time_limit() -> None:
    code = (
        "import time; from fst.system.signals import outlive_signals; outlive_signals(); "
        "print('ready', flush=True); [time.sleep(0.05) for _ in range(200)]"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        for wait in (0.1, 0.2):
            worker.send_signal(signal.SIGTERM)
            time.sleep(wait)
        assert worker.poll() is None
        time.sleep(1)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(5) == -signal.SIGTERM
