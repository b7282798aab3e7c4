"""fst distill data.root=PHOTOS: a slim loss network from a big one.

fst distill data.root=photos/
fst distill data.root=photos/ teacher.file=vgg19.safetensors
fst distill data.root=photos/ run_dir=runs/finer \\
    on_from=runs/distill/loss_network.safetensors weights.response=1
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fst.distillation.module import Distillation, disturb
from fst.distillation.student import Student, Teacher, TeacherPart, level, rescale
from fst.errors import FstError
from fst.experiments.config import Config
from fst.experiments.parts import build_data, build_trainer
from fst.experiments.run_folder import choose_run, go_on_from
from fst.experiments.settings import check_settings, run_hydra
from fst.experiments.settle import settled
from fst.loss.loss_network_file import load_loss_network, save_loss_network
from fst.system.console import hush_libraries, say
from fst.system.files import fingerprint
from fst.training.datamodule import PhotoData
from fst.training.fitting import fit

CALIBRATION_BATCHES, CALIBRATION_BATCH = 4, 16


def main(argv: list[str] | None = None) -> None:
    """``argv`` are Hydra overrides and flags, as after ``fst distill`` on a command line."""
    run_hydra("distill", distill, sys.argv[1:] if argv is None else argv)


def distill(composed: DictConfig) -> Path:
    """Fit a student to the configured teacher; returns the path of the new loss network."""
    hush_libraries()
    check_settings(composed)
    resume = str(composed.resume)
    run = choose_run(Path(composed.run_dir).expanduser(), resume=resume)
    config = settled(composed, run)
    data = build_data(config)
    teacher, names = build_teacher(config)
    pl.seed_everything(config.seed, verbose=False)
    batches = calibration_batches(data)
    teacher.calibrate(batches[0])
    student = build_student(config, batches[0])
    module = Distillation(
        student=student,
        teacher=teacher,
        learning_rate=config.learning_rate,
        weights=config.weights.plain(),
    )
    module.solve_maps(batches[:1])
    inputs = {
        "photos": fingerprint(*(path.name for path in [*data.train_paths, *data.val_paths])),
        "teacher": fingerprint(*teacher.fingerprints),
    }
    checkpoint = go_on_from(run, config, inputs, resume=resume)
    path = run.style_file("loss_network")
    size = sum(parameter.numel() for parameter in student.parameters())
    say(f"student        {size:,} parameters, {student.layers[0]} .. {student.layers[-1]}")
    say(f"teacher        {names}")
    say(f"photos         {len(data.train_paths)} to train on, {len(data.val_paths)} held out")
    say(f"run folder     {run.path}" + (" (going on with it)" if checkpoint else ""))
    trainer = build_trainer(config, run, data, checkpoint=checkpoint)
    with run.locked():
        if trainer.is_global_zero and not run.checkpoints.found():
            run.write_about("distill", config.plain(), inputs)
        fit(trainer, module, data, run.checkpoints, checkpoint, keep=config.checkpoints_kept)
        if trainer.is_global_zero:
            student.eval().fold()
            pictures = [disturbed(batch) for batch in batches]
            module.solve_maps(pictures)
            student.set_roots(module.roots())
            student.factors = level(student, teacher, pictures)
            about = {"teacher": names, "steps": str(trainer.global_step)}
            about["photos"] = f"{len(data.train_paths)}: {config.data.description or 'not said'}"
            about["licence"] = f"distilled from: {'; '.join(teacher.licences)}"
            save_loss_network(path, student, half=True, **about)
            say(f"loss network   {path} ({path.stat().st_size / 1e6:.2f} MB)")
            say(f'use it         fst train ... loss_network=file loss_network.file="{path}"')
    return path


def build_teacher(config: Config) -> tuple[Teacher, str]:
    """The frozen teacher, from one or two networks, and its description."""
    parts, names = [], []
    for part in (config.teacher, config.teacher2):
        if not part.layers:
            continue
        own = part.file is not None
        network = load_loss_network(
            name="file" if own else part.name,
            weights=None if own else part.weights,
            file=part.file,
            mean=part.mean,
            std=part.std,
            padding_mode=part.padding_mode,
        )
        heads = _read_heads(part.get("heads"), part.layers)
        parts.append(TeacherPart(network, part.layers.plain(), heads, float(part.scale)))
        names.append(network.description)
    return Teacher(parts), " and ".join(names)


def build_student(config: Config, images: Tensor) -> Student:
    """A student of random weights, or one that goes on from a file, at size 1 on ``images``."""
    if config.on_from is None:
        return Student(widths=config.widths)
    network = load_loss_network(name="file", file=config.on_from)
    network.set_roots({})  # they are found anew at the end
    student = Student(widths=config.widths, on_from=network)
    with torch.no_grad():
        layers = [*config.teacher.layers, *config.teacher2.layers]
        sizes = {n: float(f.square().mean().sqrt()) for n, f in network(images, layers).items()}
    rescale(student, {name: 1 / max(size, 1e-6) for name, size in sizes.items()})
    student.settle(images)
    return student


def calibration_batches(data: PhotoData) -> list[Tensor]:
    """The first training crops, on which sizes are measured."""
    return [
        data.crops(CALIBRATION_BATCH, first)
        for first in range(0, CALIBRATION_BATCHES * CALIBRATION_BATCH, CALIBRATION_BATCH)
    ]


def disturbed(photos: Tensor) -> Tensor:
    """``photos``, every second one as a half-trained net might make it."""
    return disturb(photos, torch.Generator().manual_seed(0))


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
