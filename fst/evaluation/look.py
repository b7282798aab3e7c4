"""Finding the look: one photo after one painting, by strength and by the size of the strokes.

Each tile is optimized, small, as ``fst optimize`` does it, with the weights that its strength is
solved to. The painting shrinks in proportion to the photo, so that a tile is what a photo of the
size asked for would look like, reduced.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from fst.errors import FstError
from fst.evaluation.optimization import at_size
from fst.experiments.config import Config
from fst.experiments.parts import weights_for_style
from fst.loss.image_optimizer import optimize
from fst.loss.loss_network import LossNetwork
from fst.loss.perceptual_loss import PerceptualLoss, Weights
from fst.loss.strength import Calibration, calibrate
from fst.pictures.image import Picture, to_image
from fst.pictures.painting import MIN_PAINTING
from fst.pictures.sheet import contact_sheet, label

STRENGTHS = (0.3, 0.6, 0.9)
SIZES = (128, 256, 512)  # pixels, shorter side of the painting: the larger, the larger its strokes
SIDE = 184  # pixels, shorter side of a tile
ITERATIONS = 10  # of L-BFGS, from the picture that the weights were solved with
LABEL_HEIGHT = 44  # pixels: two lines


class Look(NamedTuple):
    """One tile: the settings that train a net of it, and the picture (1, 3, H, W) in [0, 1]."""

    strength: float
    size: int
    picture: Tensor

    @property
    def words(self) -> str:
        """The settings as a command takes them."""
        return f"style.strength={self.strength:g} style.size={self.size}"


def require_look(config: Config) -> None:
    """Raise ``FstError`` unless the sheet is asked for in a way that it can be made."""
    if config.look and not config.loss.calibrated:
        raise FstError(
            "look=true goes through style.strength, which needs loss=calibrated; leave loss= and "
            "recipe= out"
        )


def tile_side(last: int) -> int:
    """The shorter side of a tile for a photo of ``last`` pixels, that the painting allows."""
    return min(last, max(SIDE, math.ceil(MIN_PAINTING * last / SIZES[0])))


def looks(config: Config, network: LossNetwork, content: Picture, last: int) -> Iterator[Look]:
    """The tiles for a photo of ``last`` pixels, row by row: each size with each strength.

    What can be shared is: the painting's Gram matrices, and the way from one strength to the next.
    """
    for size in SIZES:
        asked = config.but("style.size", size)
        any_weights = Weights(1.0, 1.0, 1.0)  # those of each strength are solved for below
        photo, loss = at_size(asked, network, content, tile_side(last), last, any_weights)
        solved: Calibration | None = None
        for strength in STRENGTHS:
            tv = config.loss.tv_weight
            solved = calibrate(loss, photo, strength=strength, tv=tv, begin=solved)
            weights = weights_for_style(config, solved.weights)
            start = solved.picture if solved.picture.shape == photo.shape else photo
            picture = _optimized(loss.reweighted(weights), photo, start)
            yield Look(strength, size, picture.cpu())


def _optimized(loss: PerceptualLoss, photo: Tensor, start: Tensor) -> Tensor:
    target, picture = loss.content_target(photo), start
    for iterate in optimize(lambda x: loss.compare(x, target).total, start, method="lbfgs"):
        picture = iterate.image
        if iterate.number >= ITERATIONS:
            break
    return picture


def look_sheet(photo: Image.Image, painting: Image.Image, made: Sequence[Look]) -> Image.Image:
    """Photo and painting, and below them the tiles: a row a size, a column a strength."""
    width, height = to_image(made[0].picture).size
    painting.thumbnail((width, height))
    blank = Image.new("RGB", (width, 1), "white")
    first = [_tile(photo.resize((width, height)), "the photo"), _tile(painting, "the painting")]
    first += [blank] * (len(STRENGTHS) - len(first))
    rows = [first]
    for size in SIZES:
        row = [look for look in made if look.size == size]
        tiles = [_tile(to_image(one.picture), one.words.replace(" ", "\n")) for one in row]
        rows.append(tiles + [blank] * (len(STRENGTHS) - len(tiles)))
    return contact_sheet(rows)


def _tile(picture: Image.Image, text: str) -> Image.Image:
    below = label(text, max(picture.width, 120), LABEL_HEIGHT)
    return contact_sheet([[picture], [below]])


def command_of(config: Config, chosen: str | None, look: Look) -> str:
    """What trains a net of a look; ``chosen`` is the style's config by its name, if it has one."""
    style = config.style
    if style.image is not None:
        painting = shlex.quote(str(Path(style.image)))
    elif chosen in (None, "own"):
        painting = f"style.painted={style.painted}"
    else:
        painting = f"style={chosen}"
    root = (
        "" if style.image or style.root is None else f" {shlex.quote(f'style.root={style.root}')}"
    )
    return f"fst train {painting} PHOTOS{root} loss=calibrated {look.words}"
