"""What a finished run says of itself: the style file's card, TensorBoard's hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl

from fst.experiments.config import Config
from fst.experiments.known_settings import card_only
from fst.loss.paintings_loss import PaintingsLoss
from fst.loss.perceptual_loss import PerceptualLoss
from fst.nets.style_card import Card
from fst.system.machine import machine
from fst.training.datamodule import PhotoData
from fst.training.metrics import metrics_of
from fst.training.progress import Progress


def build_cards(
    config: Config,
    trainer: pl.Trainer,
    styles: Sequence[Config],
    loss: PerceptualLoss | PaintingsLoss,
    data: PhotoData,
    origin: Mapping[str, Any] | None,
) -> list[Card]:
    """The card of each painting of a finished run; for one, see ``build_card``."""
    if not isinstance(loss, PaintingsLoss):
        return [build_card(config, trainer, loss, data, origin)]
    cards = []
    for row, one in enumerate(styles):
        card = build_card(one, trainer, loss.of(row), data, origin)
        total = _final(trainer, "val_painting").get(card.name)
        card.losses = {} if total is None else {"total": total}
        card.artifacts = {}
        card.training["together_with"] = len(styles) - 1
        cards.append(card)
    return cards


def build_card(
    config: Config,
    trainer: pl.Trainer,
    loss: PerceptualLoss,
    data: PhotoData,
    origin: Mapping[str, Any] | None,
) -> Card:
    """The card of a finished run, with the held-out losses of the last validation.

    ``origin`` is what ``warm_start`` returned.
    """
    elapsed = [c.elapsed_s() for c in trainer.callbacks if isinstance(c, Progress)]  # type: ignore[attr-defined]
    return Card(
        name=config.style.name,
        net=config.net.plain(),
        painting={key: config.style[key] for key in ("title", "artist", "year", "license")},
        loss_network={
            "description": loss.network.description,
            "license": config.loss_network.license or loss.network.license,
        },
        data={
            **{key: config.data[key] for key in card_only("data")},
            "photos": len(data.train_paths),
            "held_out": len(data.val_paths),
        },
        training={
            "steps": trainer.global_step,
            "warm_start": origin,
            "batch_size": config.data.batch_size
            * trainer.world_size
            * trainer.accumulate_grad_batches,
            "size": config.data.size,
            "style_size": config.style.size,
            "loss": config.loss.plain(),
            "style_weights": config.style.weights.plain(),
            "strength": config.style.strength if config.loss.calibrated else None,
            "weights": loss.weights._asdict(),
            "optimizer": config.optimizer.plain(),
            "precision": config.trainer.precision,
            "seed": config.seed,
            "minutes": round(sum(elapsed) / 60, 1),
            "machine": machine(),
        },
        losses=_final(trainer, "val"),
        artifacts=_final(trainer, "val_artifacts"),
    )


def _final(trainer: pl.Trainer, group: str) -> dict[str, float]:
    return {key: round(value, 6) for key, value in metrics_of(trainer, group).items()}


def settings_told(
    config: Config, loss: PerceptualLoss | PaintingsLoss, origin: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What loggers are told of a run's settings: with the weights as they were solved for."""
    found = None if isinstance(loss, PaintingsLoss) else loss.weights
    return {
        "style": config.style.name,
        "strength": config.style.strength if config.loss.calibrated else "",
        "content_weight": "" if found is None else found.content,
        "style_weight": "" if found is None else found.style,
        "tv_weight": "" if found is None else found.tv,
        "paintings": 1 if config.styles is None else len(config.styles),
        "loss_network": config.loss_network.file or config.loss_network.name,
        "style_size": config.style.size,
        "warm_start": (origin or {}).get("name", ""),
        **config.optimizer,
        **config.net,
        "size": config.data.size,
        "batch_size": config.data.batch_size,
        "max_steps": config.trainer.max_steps,
        "seed": config.seed,
    }
