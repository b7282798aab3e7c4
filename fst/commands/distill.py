"""fst distill PHOTOS: a slim loss network from a big one.

fst distill photos/
fst distill data.root=photos/ teacher.file=vgg19.safetensors
fst distill data.root=photos/ run_dir=runs/finer \\
    on_from=runs/distill/loss_network.safetensors weights.response=1
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig

from fst.distillation.module import Distillation, disturb
from fst.distillation.student import Teacher, TeacherPart, begin_student, level, read_heads
from fst.experiments.config import Config
from fst.experiments.parts import build_data, build_trainer
from fst.experiments.precision import settled_precision
from fst.experiments.run_folder import checkpoint_to_resume, choose_run
from fst.experiments.settings import check_settings, run_hydra
from fst.experiments.settle import settled
from fst.loss.loss_network_file import load_loss_network, save_loss_network
from fst.system.console import hush_libraries, say
from fst.system.files import fingerprint
from fst.system.paths import user_path
from fst.training.fitting import fit
from fst.training.limits import ended_early

CALIBRATION_BATCHES, CALIBRATION_BATCH = 4, 16


def main(argv: list[str] | None = None) -> None:
    """``argv`` are Hydra overrides and flags, as after ``fst distill`` on a command line."""
    run_hydra("distill", distill, sys.argv[1:] if argv is None else argv)


def distill(composed: DictConfig) -> Path:
    """Fit a student to the configured teacher; returns the path of the new loss network."""
    hush_libraries()
    check_settings(composed)
    resume = str(composed.resume)
    run = choose_run(user_path(composed.run_dir), resume=resume)
    config = settled(composed, run)
    precision = settled_precision(config, run, resume=resume)
    config = precision.put_into(config)
    data = build_data(config)
    teacher, names = build_teacher(config)
    inputs = {
        "photos": fingerprint(*(path.name for path in [*data.train_paths, *data.val_paths])),
        "teacher": fingerprint(*teacher.fingerprints),
    }
    checkpoint = checkpoint_to_resume(run, config, inputs, resume=resume)
    trainer = build_trainer(config, run, data, checkpoint=checkpoint)
    pl.seed_everything(config.seed, verbose=False)
    # the first training crops, on which sizes are measured
    batches = [
        data.crops(CALIBRATION_BATCH, CALIBRATION_BATCH * turn)
        for turn in range(CALIBRATION_BATCHES)
    ]
    teacher.calibrate(batches[0])
    layers = [*config.teacher.layers, *config.teacher2.layers]
    student = begin_student(config.widths, config.on_from, layers, batches[0])
    module = Distillation(
        student=student,
        teacher=teacher,
        learning_rate=config.learning_rate,
        weights=config.weights.plain(),
    )
    module.solve_maps(batches[:1])
    path = run.style_file("loss_network")
    size = sum(parameter.numel() for parameter in student.parameters())
    say(f"student        {size:,} parameters, {student.layers[0]} .. {student.layers[-1]}")
    say(f"teacher        {names}")
    say(f"photos         {len(data.train_paths)} to train on, {len(data.val_paths)} held out")
    if precision.note:
        say(f"precision      {precision.note}")
    say(f"run folder     {run.path}" + (" (resuming)" if checkpoint else ""))
    with run.locked():
        if trainer.is_global_zero and not run.checkpoints.found():
            run.write_about("distill", config.plain(), inputs)
        fit(trainer, module, data, run.checkpoints, checkpoint, keep=config.checkpoints_kept)
        if trainer.is_global_zero:
            student.eval().fold()
            pictures = [disturb(b, torch.Generator().manual_seed(0)) for b in batches]
            module.solve_maps(pictures)
            student.set_roots(module.roots())
            student.factors = level(student, teacher, pictures)
            about = {"teacher": names, "steps": str(trainer.global_step)}
            about["photos"] = f"{len(data.train_paths)}: {config.data.description or 'not said'}"
            about["license"] = f"distilled from: {'; '.join(teacher.licenses)}"
            save_loss_network(path, student, half=True, **about)
            early = ended_early(trainer, config.trainer.max_time)
            if early is not None:
                say(f"ended early    {early}; the loss network is of that step")
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
        heads = read_heads(part.get("heads"), part.layers)
        parts.append(TeacherPart(network, part.layers.plain(), heads, float(part.scale)))
        names.append(network.description)
    return Teacher(parts), " and ".join(names)
