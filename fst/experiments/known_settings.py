"""What is known about settings beyond their defaults, one row each: the only table of its kind.

The defaults and their comments stand in ``configs/``. Here stands how a value is to be read, the
least it may be, and what it means for a run that is resumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fst.nets.style_file import MIN_SIDE

Kind = Literal[
    "text",  # a path or free text, taken literally whatever Hydra's grammar would make of it
    "texts",  # a list of such, with or without brackets
    "whole",  # a whole number, of ``least`` or more
    "number",  # a number, of 0 or more
    "layers",  # layer -> weight or layer; any layer of the network may be named
    "other",
]
ALWAYS = object()  # in place of ``before``: the setting is as old as run folders are


@dataclass(frozen=True)
class Setting:
    """One row of ``SETTINGS``, of a key or of a group and all that is in it.

    ``may_change`` when a run is resumed: it does not change what is computed. ``before`` is
    what runs had in its place that were begun before it came. ``card_only``: it is said on the
    card, not to a constructor. ``or_null``: null is a value too.
    """

    kind: Kind = "other"
    least: int = 0
    may_change: bool = False
    before: Any = ALWAYS
    card_only: bool = False
    or_null: bool = False


# keys of loss= that say how to train with the loss, not which it is
NOT_OF_THE_LOSS = ("calibrated", "moving_weight", "moving")

SETTINGS = {
    # how a run is kept
    "run_dir": Setting("text", may_change=True),
    "resume": Setting("text", may_change=True),
    "checkpoint_every": Setting("whole", least=1, may_change=True),
    "checkpoints_kept": Setting("whole", least=1, may_change=True),
    "on_divergence": Setting(may_change=True),
    "rollbacks": Setting("whole", may_change=True),
    "logger": Setting(may_change=True),
    "also_log": Setting(may_change=True),
    "previews": Setting(may_change=True),
    "previews.every": Setting("whole", least=1, may_change=True),
    "previews.photos": Setting("whole", may_change=True),
    "previews.size": Setting("whole", least=MIN_SIDE, may_change=True),
    # what is computed
    "seed": Setting("whole"),
    "warm_start": Setting("text"),
    "styles": Setting("texts", before=None),
    "style.name": Setting("text"),
    "style.title": Setting("text"),
    "style.artist": Setting("text"),
    "style.license": Setting("text"),
    "style.file": Setting("text"),
    "style.image": Setting("text"),
    "style.root": Setting("text", may_change=True),
    "style.size": Setting("whole", least=1),
    "style.strength": Setting("number"),
    "style.weights.content": Setting("number"),
    "style.weights.style": Setting("number"),
    "style.weights.tv": Setting("number"),
    "style.johnson_weights.content": Setting("number"),
    "style.johnson_weights.style": Setting("number"),
    "style.johnson_weights.tv": Setting("number"),
    "loss.content_layers": Setting("layers"),
    "loss.style_layers": Setting("layers"),
    "loss.content_weight": Setting("number"),
    "loss.style_weight": Setting("number"),
    "loss.tv_weight": Setting("number"),
    "loss.mean_weight": Setting("number"),
    "loss.moving_weight": Setting("number", before=0),
    "loss.moving": Setting(before="pixels"),
    "loss_network.file": Setting("text"),
    "loss_network.license": Setting("text", card_only=True),
    "net.width": Setting("whole", least=1),
    "net.residual_blocks": Setting("whole"),
    "net.output_gain": Setting("number"),
    "net.strengths": Setting(before=False),
    "optimizer.learning_rate": Setting("number"),
    "data.root": Setting("text"),
    "data.val_root": Setting("text"),
    "data.val_photos": Setting("whole", least=1),
    "data.size": Setting("whole", least=MIN_SIDE),
    "data.batch_size": Setting("whole", least=1),
    "data.workers": Setting("whole", may_change=True),
    "data.description": Setting("text", card_only=True),
    "data.license": Setting("text", card_only=True),
    "trainer.max_steps": Setting("whole", least=1),
    "trainer.max_time": Setting("text", may_change=True),
    "trainer.limit_train_batches": Setting(may_change=True),
    "trainer.num_nodes": Setting("whole", least=1),
    "trainer.accumulate_grad_batches": Setting("whole", least=1),
    "trainer.log_every_n_steps": Setting("whole", least=1, may_change=True),
    "trainer.val_check_interval": Setting("whole", least=1, may_change=True, or_null=True),
    "trainer.limit_val_batches": Setting(may_change=True),
    "trainer.enable_progress_bar": Setting(may_change=True),
    # of fst distill alone
    "learning_rate": Setting("number"),
    "on_from": Setting("text"),
    "teacher.file": Setting("text"),
    "teacher.layers": Setting("layers"),
    "teacher2.file": Setting("text"),
    "teacher2.heads": Setting("text"),
    "teacher2.layers": Setting("layers"),
    # of fst optimize alone
    "content": Setting("text"),
    "start": Setting("text"),
    "iterations": Setting("whole"),
    "history": Setting("whole", least=1),
    # of fst evaluate alone
    "photos": Setting("whole", least=1),
    "limit": Setting("whole", least=1),
}


def keys_of(kind: Kind) -> tuple[str, ...]:
    """The settings of one kind."""
    return tuple(key for key, setting in SETTINGS.items() if setting.kind == kind)


def may_change(key: str) -> bool:
    """Whether a setting may differ between a run and its continuation.

    ``paintings`` of a run folder's config are each a ``style``.
    """
    if key.startswith("paintings."):
        key = key.replace("paintings", "style", 1)
    parts = key.split(".")
    groups = (".".join(parts[: n + 1]) for n in range(len(parts)))
    return any(group in SETTINGS and SETTINGS[group].may_change for group in groups)


def before(key: str) -> Any:
    """What stood in place of a setting in runs that were begun before it came; None if nothing."""
    value = SETTINGS[key].before if key in SETTINGS else ALWAYS
    return None if value is ALWAYS else value


def card_only(group: str) -> tuple[str, ...]:
    """The keys of a group that are said on the card alone."""
    return tuple(
        key.removeprefix(f"{group}.")
        for key, setting in SETTINGS.items()
        if setting.card_only and key.startswith(f"{group}.")
    )
