"""What a style was trained with: its painting, loss network and loss, by its card and its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from fst.errors import FstError
from fst.evaluation.run_settings import LARGEST_PAINTING, run_settings
from fst.experiments.known_settings import NOT_OF_THE_LOSS
from fst.experiments.settings import compose
from fst.loss.loss_network import LossNetwork
from fst.loss.loss_network_file import load_loss_network
from fst.loss.perceptual_loss import PerceptualLoss, Weights
from fst.nets.style_card import Card
from fst.pictures.painting import Painting, load_painting
from fst.system.paths import configs_dir, shipped_loss_networks


def settings_beside(path: Path) -> dict[str, Any]:
    """The config of the run that made a style file; empty where the file stands alone."""
    file = path.parent / "config.yaml"
    return run_settings(file) if file.exists() else {}


def trained_size(card: Card, key: str) -> int:
    """``training.size`` or ``training.style_size`` of a card; ``FstError`` without one."""
    size = card.training.get(key)
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= LARGEST_PAINTING:
        raise FstError(f"the card of {card.name} does not say its training.{key} in pixels")
    return size


def painting_of(path: Path, card: Card, *, image: str | None, root: str | None) -> Painting:
    """The painting that a style was trained on, as its run or its shipped config names it.

    ``image`` is a file to take in its place and ``root`` the folder of its file, if they are given.
    Raises ``FstError`` where neither says which it was.
    """
    settings = settings_beside(path)
    several = {style.get("name"): style for style in settings.get("paintings", [])}
    named = several.get(card.name) if several else settings.get("style")
    if named is None:
        known = configs_dir() / "style" / f"{card.name}.yaml"
        if not known.exists() and image is None:
            raise FstError(
                f"which painting {card.name} was trained on is not known here; give it with "
                "style.image=FILE"
            )
        named = compose("train", [f"style={card.name}"]).style.plain() if known.exists() else {}
    return load_painting(
        image=image or named.get("image"),
        painted=named.get("painted") if image is None else None,
        file=named.get("file"),
        root=root or named.get("root"),
        size=trained_size(card, "style_size"),
    )


def network_of(path: Path, card: Card) -> LossNetwork:
    """The loss network that a style was trained with; ``FstError`` where it is not here."""
    named = settings_beside(path).get("loss_network")
    if named is not None:
        named.pop("license", None)
        try:
            return load_loss_network(**named)
        except (TypeError, ValueError, AttributeError):
            raise FstError(
                f"{path.parent / 'config.yaml'} is damaged: its loss_network cannot be built"
            ) from None
    described = card.loss_network.get("description", "")
    for name in shipped_loss_networks():
        if described == f"{name} (shipped)":
            return load_loss_network(name=name)
    raise FstError(
        f"{card.name} was trained with {described or 'an unknown loss network'}, which does not "
        "ship; give it with loss_network=file loss_network.file=FILE, or judge by "
        "loss_network=lite"
    )


def loss_of(card: Card, network: LossNetwork, painting: Painting) -> PerceptualLoss:
    """The loss that a style was trained with; ``FstError`` where its card does not say."""
    try:
        options = dict(card.training["loss"])
        for other in NOT_OF_THE_LOSS:
            options.pop(other, None)
        loss = PerceptualLoss(
            network=network,
            style_image=painting.image.to(network.mean.device),
            **options,
        )
        weights = card.training.get("weights")
        if weights is None:
            times = card.training["style_weights"]
            weights = {key: options[f"{key}_weight"] * times[key] for key in Weights._fields}
        return loss.reweighted(Weights(**weights))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise FstError(f"the card of {card.name} does not say which loss it had") from None


def at_size(loss: PerceptualLoss, trained_at: int, photo: Tensor) -> PerceptualLoss:
    """The loss of training for a photo (1, 3, H, W) of another size.

    Content and style are means over pixels, total variation is a sum: its weight goes down as the
    picture grows, so that the balance stays that of crops of ``trained_at`` pixels a side.
    """
    share = trained_at**2 / (photo.shape[-2] * photo.shape[-1])
    return loss.reweighted(loss.weights._replace(tv=loss.weights.tv * share))
