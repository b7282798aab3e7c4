"""A net that begins with the weights of another painting's, not with random ones."""

from __future__ import annotations

from typing import Any

from fst.errors import FstError
from fst.nets.style_file import find_style, load_style, shipped_styles
from fst.nets.transformer_net import TransformerNet
from fst.system.console import say

AUTO = "auto"
BASE = "starry_night"  # the shipped style that "auto" means


def warm_start(net: TransformerNet, name: str | None, *, style: str) -> dict[str, Any] | None:
    """Put the weights of another style into a net; returns what a card has to say of that style.

    Nets of different paintings have most of what they compute in common (Dumoulin et al. 2017,
    section 2.2), so a warm start needs fewer steps than random weights. ``name`` is a style's name
    or file; "auto", one of the shipped styles, unless the net is built otherwise or is to be
    trained for that very ``style``; None, none. Raises ``FstError`` for a style that cannot be read
    or whose net is built otherwise.
    """
    if not name or (name == AUTO and (style == BASE or BASE not in shipped_styles())):
        return None
    try:
        start, card = load_style(shipped_styles()[BASE] if name == AUTO else find_style(name))
    except FstError as error:
        raise FstError(f"warm_start={name}: {error}; null begins with random weights") from None
    for key, value in net.arguments.items():
        if start.arguments[key] == value:
            continue
        if name == AUTO:
            say(f"warm start     none: net.{key}={value}, {BASE}'s is {start.arguments[key]}")
            return None
        raise FstError(
            f"warm_start={name} has net.{key}={start.arguments[key]}, these settings {value}; "
            f"give net.{key}={start.arguments[key]} or another warm_start"
        )
    net.load_state_dict(start.state_dict())
    steps = card.training.get("steps")
    say(f"warm start     from the net of {card.name}" + (f", {steps} steps" if steps else ""))
    return {
        "name": card.name,
        "sha256": card.sha256,
        "steps": steps,
        "painting": card.painting,
        "loss_network": card.loss_network,
        "data": card.data,
        "warm_start": card.training.get("warm_start"),
    }
