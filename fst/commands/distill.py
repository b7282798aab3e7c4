"""fst distill data.root=PHOTOS: a slim loss network from a big one.

fst distill data.root=photos/
fst distill data.root=photos/ teacher.file=vgg19.safetensors
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fst.console import first_process, hush_libraries, say
from fst.data import PhotoData, collate
from fst.distillation import Distillation, Student, Teacher, rescale
from fst.errors import FstError
from fst.experiment import build_data, build_trainer, fit
from fst.loss_network_file import load_loss_network, save_loss_network
from fst.run_folder import fingerprint, open_run
from fst.settings import check_settings, plain, run_hydra

CALIBRATION_PHOTOS = 16


def main(argv: list[str] | None = None) -> None:
    """``argv`` are Hydra overrides and flags, as after ``fst distill`` on a command line."""
    run_hydra("distill", distill, sys.argv[1:] if argv is None else argv)


def distill(config: DictConfig) -> Path:
    """Fit a student to the configured teacher; returns the path of the new loss network."""
    hush_libraries()
    check_settings(config)
    data = build_data(config)
    teacher, names = build_teacher(config)
    pl.seed_everything(config.seed, verbose=False)
    student = Student(widths=config.widths)
    calibrate(teacher, data)
    module = Distillation(
        student=student,
        teacher=teacher,
        learning_rate=config.learning_rate,
        weights=plain(config.weights),
    )
    inputs = {
        "photos": fingerprint(*(path.name for path in [*data.train_paths, *data.val_paths])),
        "teacher": fingerprint(*teacher.fingerprints),
    }
    settings = plain(config)
    folder = Path(config.run_dir).expanduser()
    run, resuming = open_run(folder, settings, inputs, resume=str(config.resume).lower())
    config.run_dir = settings["run_dir"] = str(run.path)
    path = run.style_file("loss_network")
    size = sum(parameter.numel() for parameter in student.parameters())
    say(f"student        {size:,} parameters, {student.layers[0]} .. {student.layers[-1]}")
    say(f"teacher        {names}")
    say(f"photos         {len(data.train_paths)} to train on, {len(data.val_paths)} held out")
    say(f"run folder     {run.path}" + (" (going on with it)" if resuming else ""))
    trainer = build_trainer(config, run, data)
    with run.locked() if first_process() else nullcontext():
        if trainer.is_global_zero and not resuming:
            run.write_about("distill", settings, inputs)
        fit(trainer, module, data, run.checkpoint if resuming else None)
        if trainer.is_global_zero:
            student.fold()
            rescale(student, teacher.scales)
            about = {"teacher": names, "steps": str(trainer.global_step)}
            save_loss_network(path, student, half=True, **about)
            say(f"loss network   {path} ({path.stat().st_size / 1e6:.2f} MB)")
            say(f'use it         fst train ... loss_network=file loss_network.file="{path}"')
    return path


def build_teacher(config: DictConfig) -> tuple[Teacher, str]:
    """The frozen teacher, from one or two networks, and its description."""
    parts, names = [], []
    for part in (config.teacher, config.teacher2):
        if not part.layers:
            continue
        network = load_loss_network(
            name=part.get("name") or "file", weights=part.get("weights"), file=part.file
        )
        parts.append((network, plain(part.layers), _read_heads(part.get("heads"), part.layers)))
        names.append(network.description)
    return Teacher(parts), " and ".join(names)


def calibrate(teacher: Teacher, data: PhotoData) -> None:
    """Bring the teacher's features to size 1 on the first training crops."""
    photos = data.train_set()
    teacher.calibrate(collate([photos[k] for k in range(CALIBRATION_PHOTOS)]).photos)


def _read_heads(file: str | None, layers: Mapping[str, str]) -> dict[str, tuple[Tensor, Tensor]]:
    if file is None:
        return {}
    try:
        with safe_open(str(Path(file).expanduser()), "pt") as handle:
            stored = set(handle.keys())
            return {
                own: (handle.get_tensor(f"{layer}.weight"), handle.get_tensor(f"{layer}.bias"))
                for own, layer in layers.items()
                if f"{layer}.weight" in stored
            }
    except (OSError, SafetensorError) as error:
        raise FstError(f"teacher2.heads={file} cannot be read ({error})") from None
