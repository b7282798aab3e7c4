"""A short run told to TensorBoard, CSV, Weights & Biases and MLflow at once, offline.

python scripts/proofs/loggers.py PHOTOS FOLDER   # with the extras wandb and mlflow
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from fst.cli import main as fst

ALL = "logger=[tensorboard,csv,wandb,mlflow]"
TINY = (
    *("style=woodcut", "experiment=laptop", "loss=relative", "net.width=4"),
    *("net.residual_blocks=1", "warm_start=null", "data.size=64", "data.batch_size=2"),
    *("data.workers=0", "style.size=96", "trainer.val_check_interval=2", "previews.size=64"),
    *("trainer.log_every_n_steps=1", "previews.every=2", "checkpoint_every=2"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("folder", type=Path, help="where the run is kept")
    options = parser.parse_args()
    os.environ["WANDB_SILENT"] = "true"
    photos = f"data.root={options.photos.resolve()}"
    options.folder.mkdir(parents=True)
    os.chdir(options.folder)
    for steps in (4, 6):  # the second goes on, under the same numbers
        assert fst(["train", photos, *TINY, ALL, f"trainer.max_steps={steps}"]) == 0
        os.environ.pop("FST_RUN_FOLDER", None)
    run = Path("runs/woodcut")
    wanted = {
        "TensorBoard": "events.out.tfevents.*",
        "CSV's table": "csv/version_*/metrics.csv",
        "CSV's pictures": "csv/version_*/val_preview_000004.jpg",
        "CSV's texts": "csv/version_*/about/card.md",
        "Weights & Biases, its runs": "wandb/offline-run-*/*.wandb",
        "Weights & Biases, its pictures": "wandb/offline-run-*/files/media/images/*.png",
        "Weights & Biases, its texts": "wandb/offline-run-*/files/media/table/**/*.json",
        "MLflow's losses": "mlflow/*/*/metrics/val/total",
        "MLflow's pictures": "mlflow/*/*/artifacts/images/*.png",
        "MLflow's texts": "mlflow/*/*/artifacts/about/*.md",
        "MLflow's weights": "mlflow/*/*/params/style_weight",
    }
    missing = 0
    for name, pattern in wanted.items():
        found = len(list(run.glob(pattern)))
        missing += not found
        print(f"{name:<32}{found} files" if found else f"{name:<32}MISSING: {pattern}")
    runs = len(list(run.glob("mlflow/*/*/metrics")))
    print(f"MLflow has {runs} run, gone on with" if runs == 1 else f"MLflow has {runs} runs")
    return 1 if missing or runs != 1 else 0


if __name__ == "__main__":
    sys.exit(main())
