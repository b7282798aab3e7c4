"""fst train PAINTING PHOTOS: fit a net to one painting.

fst train painting.jpg photos/
fst train style.image=painting.jpg data.root=photos/
fst train style=starry_night style.root=paintings/ data.root=coco/ experiment=paper
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fst.data.photo_files import file_size
from fst.errors import FailedRun
from fst.experiments.flags import Asked, part
from fst.experiments.going_on import cycle_begins, in_words
from fst.experiments.loggers import keep_ids
from fst.experiments.notes import notes
from fst.experiments.parts import (
    build_data,
    build_losses,
    build_network,
    build_painting,
    build_previews,
    build_trainer,
    calibration_photos,
)
from fst.experiments.run_card import build_cards, settings_told
from fst.experiments.run_folder import RunFolder, checkpoint_to_resume
from fst.experiments.run_texts import note_end, note_start, say_result
from fst.experiments.settings import check_settings, run_hydra
from fst.experiments.settle import settle
from fst.experiments.warm_start import best_row, find_start, known_weights
from fst.inference.bfloat16 import LARGEST, PHOTOS, bfloat16_difference
from fst.loss.perceptual_loss import PerceptualLoss, Weights
from fst.nets.style_card import Card, cards_trusted
from fst.nets.style_file import save_styles
from fst.nets.style_names import note_elsewhere
from fst.nets.transformer_net import TransformerNet
from fst.pictures.image import Picture, save_picture
from fst.system.console import hush_libraries, say
from fst.system.files import fingerprint
from fst.system.paths import user_path
from fst.training.fitting import fit, say_estimate, validate
from fst.training.journal import note_settings
from fst.training.lightning_module import FastStyleTransfer, require_choices
from fst.training.limits import ended_early
from fst.training.outcome import Outcome
from fst.training.previews import Previews


def main(argv: list[str] | None = None) -> None:
    """``argv`` are Hydra overrides and flags, as after ``fst train`` on a command line."""
    given = sys.argv[1:] if argv is None else argv
    arguments = [a for a in given if a != "--trust-card"]  # of the style of warm_start
    if not torch.cuda.is_available() and not chooses_experiment(part(arguments)):
        arguments = ["experiment=laptop", *arguments]
        note = "no CUDA GPU here: experiment=laptop (experiment=paper is the paper's whole recipe)"
        print(note, file=sys.stderr)
    with cards_trusted("--trust-card" in given):
        run_hydra("train", train, arguments)


def chooses_experiment(asked: Asked) -> bool:
    """Whether a command line says which experiment, or gives its runs to machines with GPUs."""
    said = {w.partition("=")[0].lstrip("+~"): w.partition("=")[2] for w in asked.words}
    if "experiment" in said or "--hydra-help" in asked.flags:
        return True
    folder = user_path(asked.flags.get("--config-dir", "."))
    launcher = said.get("hydra/launcher", "") if asked.sweep else ""
    own = folder / "hydra" / "launcher" / f"{launcher}.yaml"
    if "slurm" in launcher.lower() or (own.is_file() and "slurm" in own.read_text().lower()):
        return True
    primary = folder / f"{asked.flags.get('--config-name')}.yaml"
    return primary.is_file() and "experiment" not in primary.read_text()


def train(composed: DictConfig) -> Path:
    """Train one style as the config says; returns the path of the style file.

    Raises ``FstError`` for what the user can mend, before the nets are built wherever it can, and
    ``FailedRun`` for a run that ended worse than the untouched photos.
    """
    hush_libraries()
    check_settings(composed)
    experiment = settle(composed)
    config, run, name = experiment.config, experiment.run, experiment.config.style.name
    require_choices(
        config.optimizer.schedule,
        config.compile,
        config.compile_mode,
        several=len(experiment.styles) > 1,
        strengths=bool(config.net.get("strengths", False)),
        accumulate=config.trainer.accumulate_grad_batches,
        moving=config.loss.moving,
        moves=config.loss.moving_weight > 0,
    )
    styles = [(one, build_painting(one)) for one in experiment.styles]
    data = build_data(config)
    network = build_network(config)
    inputs = {
        "painting": fingerprint(*(painting.image.numpy().tobytes() for _, painting in styles)),
        "photos": fingerprint(
            *(f"{p.name} {file_size(p)}" for p in [*data.train_paths, *data.val_paths])
        ),
        "loss network": network.fingerprint(),
    }
    checkpoint = checkpoint_to_resume(run, config, inputs, resume=experiment.resume)
    path = run.style_file(name)
    done = checkpoint.step if checkpoint else 0
    if path.exists() and done >= config.trainer.max_steps:
        say(f"{run.path} is trained already; resume=false trains another beside it")
        say_result(config, run, path, styles[0][0].style.name)
        return path
    previews, outcome = build_previews(config, run, data, styles), Outcome(data)
    trainer = build_trainer(config, run, data, previews, outcome, checkpoint=checkpoint)
    known: list[Any] = [None] * len(styles)
    origin: dict[str, Any] | None = None
    if checkpoint:
        begun = RunFolder(checkpoint.path.resolve().parent.parent)
        known, origin = begun.weights_and_start(len(styles))
    went_on = run.went_on(config, done) if checkpoint else []
    pl.seed_everything(config.seed, verbose=False)
    net = TransformerNet(**config.net, paintings=len(styles))
    for one, painting in styles:
        say(f"painting       {painting.source} ({one.style.title or one.style.name})")
    say(f"photos         {len(data.train_paths)} to train on, {len(data.val_paths)} held out")
    for note in notes(styles, data, demonstration=_chosen("experiment") == "quickstart"):
        say(f"note           {note}")
    say(f"loss network   {network.description}")
    if experiment.precision.note:
        say(f"precision      {experiment.precision.note}")
    start = None if checkpoint else find_start(net, config.warm_start)
    if len(styles) > 1 and start is not None:
        known = known_weights(start, [one for one, _ in styles], network)
    if config.loss.calibrated and None in known:
        say("               solving for the weights of the loss")
    device = trainer.strategy.root_device
    loss = build_losses(styles, network, lambda: calibration_photos(data), known, device=device)
    if start is not None:
        names = [one.style.name for one, _ in styles]
        nearest = None
        if isinstance(loss, PerceptualLoss):
            nearest = partial(best_row, loss=loss, photos=calibration_photos(data))
        origin = start.put_into(net, names, nearest)
    module = FastStyleTransfer(
        net=net,
        loss=loss,
        compile=config.compile,
        compile_mode=config.compile_mode,
        names=[one.style.name for one, _ in styles],
        seed=config.seed,
        begins=cycle_begins(config, went_on),
        moving_weight=config.loss.moving_weight,
        moving=config.loss.moving,
        **config.optimizer,
    )
    if isinstance(loss, PerceptualLoss) and config.loss.calibrated:
        say(
            f"strength       {config.style.strength}: style {loss.weights.style:.3g}, total "
            f"variation {loss.weights.tv:.3g} beside content {loss.weights.content:.3g}"
        )
    say(f"run folder     {run.path}" + (f" (resuming from step {done})" if checkpoint else ""))
    schedule = config.optimizer.schedule
    longer = bool(went_on) and went_on[-1]["from"] == done
    if longer:
        say(f"going on       {in_words(schedule, went_on[-1])}")
    if config.compile and done < config.trainer.max_steps:
        stop = "Ctrl-C" if trainer.world_size == 1 else "a second Ctrl-C"
        say(f"compiling      takes minutes, at the first step; until then {stop} stops at once")
    with run.locked():
        if longer and trainer.is_global_zero:
            run.write_longer(config.plain(), went_on)
        if trainer.is_global_zero and not run.checkpoints.found():
            found = loss.weights  # of one painting, or of each
            kept = found._asdict() if isinstance(found, Weights) else [w._asdict() for w in found]
            run.write_about("train", config.plain(), inputs, weights=kept, warm_start=origin)
            note_elsewhere(run.path)
            say_estimate(trainer, module, data)
        told = settings_told(config, loss, origin)
        if trainer.is_global_zero:
            note_start(trainer, config, run, data, done)
            note_settings(trainer, told, resumed=done > 0)
            keep_ids(run, trainer.loggers)
        fit(
            trainer,
            module,
            data,
            run.checkpoints,
            checkpoint,
            keep=config.checkpoints_kept,
            compiles=config.compile,
        )
        if done >= config.trainer.max_steps:
            previews.show(trainer, module)  # curves were taken to end before this step
        validate(trainer, module, data)
        if trainer.is_global_zero:
            cards = build_cards(config, trainer, [one for one, _ in styles], loss, data, origin)
            failure = outcome.judge(trainer, module)
            if failure is None:
                _save_picture(run.picture_file(name), previews, module, trainer.global_step)
                for row, card in enumerate(cards):
                    if went_on:
                        card.training["went_on"] = [in_words(schedule, one) for one in went_on]
                    card.training["untouched"] = outcome.untouched
                    own = net.of_painting(row) if len(cards) > 1 else net
                    card.bf16 = bfloat16_difference(own, data.held_out(PHOTOS, LARGEST))
            _save(run, name, net, cards, half=config.half, failure=failure)
            note_settings(trainer, told, ended=True)
            note_end(trainer, config, run, data, cards)
            if failure:
                raise FailedRun(f"{run.failed_file(name)} is no style to use: {failure}")
            again = run.resumed_by(experiment.resume)
            early = ended_early(trainer, config.trainer.max_time, again)
            if early is not None:
                say(f"ended early    {early}; the style file is of that step")
            say_result(config, run, path, styles[0][0].style.name)
    return path


def _save(
    run: RunFolder,
    name: str,
    net: TransformerNet,
    cards: Sequence[Card],
    *,
    half: bool,
    failure: str | None,
) -> None:
    """Write the style file, or under the name of a failed one where there is a ``failure``."""
    failed = run.failed_file(name)
    save_styles(failed if failure else run.style_file(name), net, cards, half=half)
    if failure is None:
        failed.unlink(missing_ok=True)  # of a run that was resumed and has now ended well


def _save_picture(file: Path, previews: Previews, module: FastStyleTransfer, step: int) -> None:
    """Photos, painting and results as the run ends, where previews are made at all."""
    sheet = previews.sheet(module, step)
    if sheet is not None:
        save_picture(file, Picture(rgb=sheet), quality=92)


def _chosen(group: str) -> str | None:
    """Which file of a group of settings was chosen, as far as Hydra is at work."""
    return HydraConfig.get().runtime.choices.get(group) if HydraConfig.initialized() else None
