"""A net that begins with the weights of another painting's, not with random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fst.errors import FstError
from fst.experiments.config import Config
from fst.experiments.known_settings import NOT_OF_THE_LOSS
from fst.loss.loss_network import LossNetwork
from fst.loss.perceptual_loss import PerceptualLoss
from fst.nets.style_card import Card
from fst.nets.style_file import load_styles
from fst.nets.style_names import find_file, shipped_files
from fst.nets.transformer_net import TransformerNet
from fst.system.console import say

AUTO = "auto"
BASE = "base"  # the shipped net of many paintings that "auto" means


class Start:
    """The net of another style file, of one painting or of several, to begin with.

    Nets of different paintings have most of what they compute in common (Dumoulin et al. 2017,
    section 2.2), so a warm start needs fewer steps than random weights.
    """

    def __init__(self, net: TransformerNet, cards: Sequence[Card], file: Path) -> None:
        self.net, self.cards, self.file = net, list(cards), file

    def put_into(
        self,
        net: TransformerNet,
        names: Sequence[str],
        nearest: Callable[[TransformerNet], int] | None = None,
    ) -> dict[str, Any]:
        """Give a net these weights; returns what a card has to say of where they come from.

        The scales and shifts of a painting are those of the same name, if there are; else, for
        one painting, those of the row that ``nearest`` names; for several, the mean of all rows.
        Both ends of a net that takes strengths begin with them.
        """
        known = [card.name for card in self.cards]
        rows: list[int | None] = [known.index(n) if n in known else None for n in names]
        if len(known) == 1:
            rows = [0] * len(names)
        elif rows == [None] and nearest is not None:
            rows = [nearest(self.net)]
        mine = net.state_dict()
        for name, value in self.net.state_dict().items():
            row_of_end = self.net.strengths and not net.strengths and value.dim() == 2
            value = value[-1] if row_of_end else value  # a net that takes strengths, at the whole
            if mine[name].shape == value.shape and (len(known) == 1 or value.dim() != 2):
                mine[name].copy_(value)
                continue
            table = value.reshape(len(known), -1)
            chosen = [table.mean(0) if row is None else table[row] for row in rows]
            if net.strengths:  # both ends begin with the same
                chosen *= len(mine[name])
            mine[name].copy_(torch.stack(chosen).view_as(mine[name]))
        card = self.cards[rows[0] if len(names) == 1 and rows[0] is not None else 0]
        steps = card.training.get("steps")
        of = self.file.stem if len(known) > 1 else card.name
        row = card.name if len(known) > 1 and len(names) == 1 else None
        say(
            f"warm start     from the net of {of}"
            + (f", {steps} steps" if steps else "")
            + (f", by its scales and shifts of {row}" if row else "")
        )
        return {
            "name": of,
            "sha256": card.sha256,
            "steps": steps,
            "painting": card.painting,
            "loss_network": card.loss_network,
            "data": card.data,
            "warm_start": _lighter(card.training.get("warm_start"), known),
            **({"row": row, "paintings": known} if len(known) > 1 else {}),
        }


def _lighter(record: Any, known: Sequence[str]) -> Any:
    """What a card says of earlier nets, without lists of paintings that are the same again."""
    if not isinstance(record, Mapping):
        return record
    kept = {key: value for key, value in record.items() if (key, value) != ("paintings", known)}
    if "warm_start" in kept:
        kept["warm_start"] = _lighter(kept["warm_start"], known)
    return kept


def find_start(net: TransformerNet, name: str | None) -> Start | None:
    """The net to begin with, if it is built like ``net``.

    ``name`` is a style's name or file; "auto", the shipped base, unless the net is built otherwise;
    None, none. Raises ``FstError`` for a style that cannot be read or whose net is built otherwise.
    """
    if not name or (name == AUTO and BASE not in shipped_files()):
        return None
    try:
        file = shipped_files()[BASE] if name == AUTO else find_file(name)
        start, cards = load_styles(file)
    except FstError as error:
        raise FstError(f"warm_start={name}: {error}; null begins with random weights") from None
    for key, value in net.arguments.items():
        if key in ("paintings", "strengths") or start.arguments[key] == value:
            continue
        if name == AUTO:
            say(f"warm start     none: net.{key}={value}, {BASE}'s is {start.arguments[key]}")
            return None
        raise FstError(
            f"warm_start={name} has net.{key}={start.arguments[key]}, these settings {value}; "
            f"give net.{key}={start.arguments[key]} or another warm_start"
        )
    return Start(start, cards, file)


@torch.no_grad()
def best_row(net: TransformerNet, *, loss: PerceptualLoss, photos: Tensor) -> int:
    """The painting of a net of several whose pictures of ``photos`` lose least by another's loss.

    photos (B, 3, H, W), RGB in [0, 1].
    """
    target = loss.content_target(photos)
    totals = []
    for row in range(net.paintings):
        pictures = net(photos, torch.full((len(photos),), row))
        totals.append(float(loss.compare(pictures, target).total))
    return min(range(net.paintings), key=totals.__getitem__)


def known_weights(
    start: Start, styles: Sequence[Config], network: LossNetwork
) -> list[dict[str, float] | None]:
    """The loss's weights for the paintings that the start was trained on with the same loss.

    Solving takes a minute a painting. Total variation is a sum over the crop's pixels, so its
    weight goes with their number.
    """
    cards = {card.name: card for card in start.cards}
    found: list[dict[str, float] | None] = []
    for config in styles:
        card = cards.get(config.style.name)
        training = card.training if card else {}
        same = card is not None and (
            _what_is_solved(training.get("loss", {})) == _what_is_solved(config.loss.plain())
            and training.get("style_weights") == config.style.weights.plain()
            and training.get("strength") == config.style.strength
            and training.get("style_size") == config.style.size
            and card.loss_network.get("description") == network.description
        )
        weights = dict(training["weights"]) if same else None
        if weights is not None:
            weights["tv"] *= (training["size"] / config.data.size) ** 2
        found.append(weights)
    return found


def _what_is_solved(loss: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a loss without those that say how to train with it.

    Of older cards too, which lack some of the latter.
    """
    return {k: v for k, v in loss.items() if k == "calibrated" or k not in NOT_OF_THE_LOSS}
