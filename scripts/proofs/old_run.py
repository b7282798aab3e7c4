"""A run begun by an older fst, stopped in the middle and resumed by this one, bit for bit.

git worktree add /tmp/old COMMIT
python scripts/proofs/old_run.py /tmp/old          # a clone or worktree of that commit

The older code trains one run whole, and begins another with the same command, which is sent
SIGTERM after a checkpoint and resumed by the code beside this script. Both style files must
hold the same bits. One painting and, where the older code knows ``styles=``, several. The runs are
tiny (paintings of ours, photographs of scikit-image's), and real otherwise. Exit code 1 if any
differs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import load_file
from tiny_run import TINY_RUN, list_photos

HERE = Path(__file__).resolve().parent.parent.parent
STEPS, STOP_AT = 60, 12  # of the checkpoint after which the run is told to stop
WORDS = [
    *TINY_RUN,
    *("data.batch_size=2", f"trainer.max_steps={STEPS}", "checkpoint_every=6"),
    *("trainer.val_check_interval=15", "previews.photos=1", "previews.size=32", "seed=3"),
]
CASES = {
    "one painting": ["style=woodcut", "style.name=net", "optimizer.schedule=one_cycle"],
    "weights solved for": ["style=dots", "style.name=net", "loss=calibrated"],
    "several paintings": ["styles=[woodcut,dots]", "style.name=net", "loss.moving_weight=10"],
}
# without rocket.jpg: its color profile is not sRGB's, and older code read such photos in wrong
# colors, so its crops of one are others
PHOTOS = ("chelsea.png", "coffee.png", "camera.png", "astronaut.png", "hubble_deep_field.jpg")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("old", type=Path, metavar="CLONE", help="a clone of the older commit")
    old = parser.parse_args(argv).old.resolve()
    failures = 0
    for case, words in CASES.items():
        if (
            words[0].startswith("styles=")
            and "styles:" not in (old / "configs/train.yaml").read_text()
        ):
            print(f"{case:<20}left out: the older code does not know styles=")
            continue
        with tempfile.TemporaryDirectory() as folder:
            failures += not proved(case, words, old, Path(folder))
    return int(failures > 0)


def proved(case: str, words: list[str], old: Path, folder: Path) -> bool:
    """Print the line of one case; whether the older run and the resumed one are equal."""
    list_photos(folder, PHOTOS)
    train(old, folder, *words, "run_dir=whole").communicate()
    begun = train(old, folder, *words, "run_dir=halves")
    after = folder / "halves" / "checkpoints" / f"step_{STOP_AT:08d}.ckpt"
    while not after.exists() and begun.poll() is None:
        time.sleep(0.002)
    begun.send_signal(signal.SIGTERM)
    said = begun.communicate()[0]
    stopped = next((ln for ln in said.splitlines() if ln.startswith("stopped at step")), said)
    told = train(HERE, folder, *words, "run_dir=halves").communicate()[0]
    resumed = next((ln for ln in told.splitlines() if "resuming from step" in ln), told)
    one, other = (tensors_of(folder / run / "net.safetensors") for run in ("whole", "halves"))
    same = bool(one) and one == other and "resuming from step" in resumed
    verdict = "bit-identical" if same else "DIFFERS"
    print(f"{case:<20}{verdict}; {stopped}; {resumed.split('(')[-1]}")
    return same


def train(code: Path, folder: Path, *words: str) -> subprocess.Popen[str]:
    """``fst train`` of a clone, started in a folder."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FST_")}
    environment |= {"PYTHONPATH": str(code), "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-m", "fst", "train", *WORDS, *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def tensors_of(file: Path) -> dict[str, object]:
    """The tensors of a style file, as bytes, and the losses on its card; empty without a file."""
    if not file.exists():
        return {}
    with safe_open(str(file), "np") as handle:
        card = json.loads(handle.metadata()["card"])
    found: dict[str, object] = {key: value.tobytes() for key, value in load_file(file).items()}
    return found | {"losses": card.get("losses")}


if __name__ == "__main__":
    sys.exit(main())
