"""The optimization of one picture: where it starts, its iterations, and what it leaves behind."""

from __future__ import annotations

import csv
import time
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from fst.errors import FstError
from fst.experiments.config import Config
from fst.experiments.parts import build_loss, build_painting
from fst.experiments.run_folder import RunFolder
from fst.loss.image_optimizer import Iterate, optimize
from fst.loss.loss_network import LossNetwork
from fst.loss.perceptual_loss import Losses, PerceptualLoss, Weights
from fst.pictures.image import Picture, read_picture, save_picture, to_image, to_tensor
from fst.pictures.painting import MIN_PAINTING
from fst.system.console import say
from fst.system.paths import user_path

COLUMNS = (
    *("size", "iteration", "evaluations", "seconds"),
    *("total", "content", "style", "total_variation", "undone"),
)


class Log:
    """The objective by iteration: as CSV, in TensorBoard, on the terminal, and as previews."""

    def __init__(self, run: RunFolder, *, every: int) -> None:
        self.run, self.every = run, every
        self.writer = SummaryWriter(str(run.path))
        self.file = open(run.path / "objective.csv", "w", newline="")  # noqa: SIM115
        self.table = csv.writer(self.file)
        self.table.writerow(COLUMNS)
        self.started = time.monotonic()
        self.total = 0
        self.size = 0
        self.best: Iterate | None = None

    def start(self, size: int, loss: PerceptualLoss) -> None:
        """A new size begins; its objective is another one."""
        self.size, self.best = size, None
        say(
            f"size {size}       weights: content {loss.weights.content:.3g}, style "
            f"{loss.weights.style:.3g}, total variation {loss.weights.tv:.3g}"
        )

    def add(self, iterate: Iterate, losses: Losses, *, last: bool) -> None:
        """One iteration's values, and its picture now and then."""
        if self.best is None or iterate.value < self.best.value:
            self.best = iterate
        named = {
            "total": iterate.value,
            "content": float(losses.content.detach()),
            "style": float(losses.style.detach()),
            "total_variation": float(losses.total_variation.detach()),
        }
        seconds = time.monotonic() - self.started
        row = [self.size, iterate.number, iterate.evaluations, f"{seconds:.3f}"]
        self.table.writerow([*row, *(f"{v:.6g}" for v in named.values()), iterate.undone])
        self.file.flush()
        for key, value in named.items():
            self.writer.add_scalar(f"objective/{key}", value, self.total)
        if iterate.number % self.every == 0 or last:
            self.writer.add_image("picture", iterate.image[0], self.total)
            path = self.run.previews / f"{self.size}px_{iterate.number:06d}.jpg"
            save_picture(path, Picture(rgb=to_image(iterate.image)), quality=90)
            undone = f"  {iterate.undone} steps undone" if iterate.undone else ""
            values = "  ".join(f"{key} {value:.4g}" for key, value in named.items())
            say(f"iteration {iterate.number:>4}  {values}  {seconds:.0f} s{undone}")
        self.total += 1

    def close(self) -> None:
        """Everything is on disk afterward."""
        self.file.close()
        self.writer.close()


def start_picture(start: str, content: Picture, size: int, seed: int) -> Tensor:
    """What is optimized first, (1, 3, H, W) with the size of the photo, its shorter side ``size``.

    ``start`` is ``content``, ``noise``, drawn from ``seed``, or a picture's path; ``FstError`` for
    any other.
    """
    photo = to_tensor(content.resized(size).rgb)
    if start == "content":
        return photo
    if start == "noise":
        return torch.rand(photo.shape, generator=torch.Generator().manual_seed(seed))
    path = user_path(start)
    if not path.exists():
        raise FstError(f"start={start} is neither content nor noise nor a picture's path")
    return resized(to_tensor(read_picture(path).rgb), photo)


def optimized(
    loss: PerceptualLoss,
    photo: Tensor,
    picture: Tensor,
    log: Log,
    *,
    size: int,
    iterations: int,
    method: str,
    history: int,
    learning_rate: float,
    clip_gradient: float | None,
) -> Tensor:
    """The best picture found for a photo (1, 3, H, W), beginning with ``picture``, resized to it.

    ``picture`` is on the CPU, and so is the result. ``size`` is what the log calls this one, the
    others are those of ``fst.loss.image_optimizer.optimize``.
    """
    target = loss.content_target(photo)
    terms: dict[float, Losses] = {}

    def objective(image: Tensor) -> Tensor:
        losses = loss.compare(image, target)
        terms[float(losses.total.detach())] = losses
        return losses.total

    reached = resized(picture, photo)
    log.start(size, loss)
    for iterate in optimize(
        objective,
        reached.to(photo.device),
        method=method,
        history=history,
        learning_rate=learning_rate,
        clip_gradient=clip_gradient,
    ):
        losses = terms.get(iterate.value)
        if losses is None:  # an earlier picture, gone back to
            with torch.no_grad():
                losses = loss.compare(iterate.image, target)
        log.add(iterate, losses, last=iterate.number >= iterations)
        terms.clear()
        if iterate.number >= iterations:
            break
    assert log.best is not None
    return log.best.image.cpu()


def repainted(content: Picture, picture: Tensor) -> Picture:
    """The picture (1, 3, H, W) with the photo's transparency and color profile."""
    rgb = to_image(picture)
    alpha = content.alpha.resize(rgb.size) if content.alpha else None
    return Picture(rgb=rgb, alpha=alpha, icc_profile=content.icc_profile)


def resized(picture: Tensor, like: Tensor) -> Tensor:
    """picture (1, 3, h, w) at the height and width of ``like``."""
    if picture.shape[-2:] == like.shape[-2:]:
        return picture
    return torch.nn.functional.interpolate(
        picture, size=like.shape[-2:], mode="bilinear", align_corners=False, antialias=True
    ).clamp(0, 1)


def at_size(
    config: Config,
    network: LossNetwork,
    content: Picture,
    size: int,
    last: int,
    known: Weights | None = None,
) -> tuple[Tensor, PerceptualLoss]:
    """The photo (1, 3, H, W), its shorter side ``size``, and the loss for it.

    The painting shrinks in proportion to the ``last`` size, so that strokes keep theirs. The
    weights of the loss are those ``known``, else those configured.
    """
    style_size = max(round(config.style.size * size / last), MIN_PAINTING)
    smaller = config.but("style.size", min(style_size, config.style.size))
    device = network.mean.device
    painting = build_painting(smaller)
    painting = replace(painting, image=painting.image.to(device))
    photo = to_tensor(content.resized(size).rgb).to(device)
    weights = None if known is None else known._asdict()
    return photo, build_loss(smaller, painting, network, lambda: photo, weights)
