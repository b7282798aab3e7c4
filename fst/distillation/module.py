"""Distill a big loss network into a slim one whose losses point the same way.

What a loss network is for is its losses: so the student is fitted to the teacher's features (by a
linear map), to how the teacher's features answer to small changes of the picture, as that decides
the gradient that trains a style, and to its distances between Gram matrices and between features.
A loss needs no more of the linear map W than W^T W, lengths and products after it: the student
keeps its root, so that its losses are those of the mapped features at a small part of their cost.
Fitting the gradient itself by a second derivative was tried: it costs four times a step and, as
ReLU and max-pooling have none but at their kinks, destroyed the features before it taught anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.data.dataset import PhotoBatch
from fst.distillation.student import Features, Student, Teacher, distances
from fst.loss.perceptual_loss import content_power, gram_matrix


def log_ratio(student: Tensor, teacher: Tensor) -> Tensor:
    """Variance of the logarithm of a ratio: 0 if the sizes are in proportion."""
    sizes = [torch.log(values / values.mean() + 0.01) for values in (student, teacher)]
    difference = sizes[0] - sizes[1]
    return (difference - difference.mean()).square().mean()


def loss_gradient(
    image: Tensor,
    features: Features,
    grams: Features,
    contents: Features,
    style_weights: Mapping[str, float],
    content_weights: Mapping[str, float],
) -> Tensor:
    """The gradient, with respect to ``image`` (B, 3, H, W), of each picture's relative loss.

    Style terms are against the target's ``grams`` (1, C, C) by layer, over their power; content
    terms against ``contents`` (B, C, h, w) by layer, over their variance: the terms of
    ``PerceptualLoss(relative=True)``, which is the reference for them.
    """
    loss = image.new_zeros(())
    for name, weight in style_weights.items():
        power = grams[name].square().mean()
        term = (gram_matrix(features[name]) - grams[name]).square().mean((1, 2)).sum()
        loss = loss + weight * term / power
    for name, weight in content_weights.items():
        term = (features[name] - contents[name]).square() / (content_power(contents[name]) + 1e-12)
        loss = loss + weight * term.mean((1, 2, 3)).sum()
    return torch.autograd.grad(loss, image)[0]


class Distillation(pl.LightningModule):
    """Fits a ``Student`` to a ``Teacher`` on photos, half of them disturbed.

    The batch normalization that the student is trained with is folded away at the end. The terms,
    each over layers, those of weight 0 left out:

    - ``features``: the error of a linear map from the student's, over the teacher's variance
    - ``response``: the same for the change of the features under a small change of the picture
    - ``gram``, ``content``: how far distances between pictures are from proportion to the teacher's

    Validation also measures ``gradient_cosine``, of the gradients of the relative loss with respect
    to the pictures, all pulled toward the last one's style and their neighbor's content.
    """

    def __init__(
        self,
        *,
        student: Student,
        teacher: Teacher,
        learning_rate: float,
        weights: Mapping[str, float],
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher
        self.learning_rate = learning_rate
        self.weights = dict(weights)
        self.names = [name for layers in teacher.layers for name in layers]
        with torch.no_grad():
            probe = torch.rand(1, 3, 64, 64)
            wide, slim = teacher(probe), student(probe, self.names)
        self.maps = nn.ModuleDict(
            {n: nn.Conv2d(slim[n].shape[1], wide[n].shape[1], 1, bias=False) for n in self.names}
        )

    @torch.no_grad()
    def solve_maps(self, batches: Iterable[Tensor]) -> None:
        """The best linear maps for the student as it is, by least squares on ``batches``."""
        products: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for images in batches:
            slim, wide = self.student(images, self.names), self.teacher(images)
            for name in self.names:
                x, y = (f[name].permute(1, 0, 2, 3).flatten(1).double() for f in (slim, wide))
                products[name].append(x @ torch.cat([x, y]).T)
        for name, rows in products.items():
            total = torch.stack(rows).sum(0)
            xx, xy = total[:, : len(total)], total[:, len(total) :]
            ridge = 1e-4 * xx.diagonal().mean() * torch.eye(len(xx)).to(xx)
            self._map(name).copy_(torch.linalg.solve(xx + ridge, xy).T[..., None, None])

    @torch.no_grad()
    def roots(self) -> dict[str, Tensor]:
        """By layer, the lower triangular L with L L^T = W^T W of the linear map W."""
        roots = {}
        for name in self.names:
            metric = self._map(name).flatten(1).double()
            metric = metric.T @ metric
            floor = 1e-6 * metric.diagonal().mean() * torch.eye(len(metric)).to(metric)
            roots[name] = torch.linalg.cholesky(metric + floor).float()
        return roots

    def _map(self, name: str) -> Tensor:
        return self.get_parameter(f"maps.{name}.weight")

    def training_step(self, batch: PhotoBatch, batch_idx: int) -> Tensor:
        """The terms between student and teacher on the disturbed photos -> their total."""
        terms = self._terms(batch.photos, torch.Generator().manual_seed(self.global_step))
        total = torch.stack([self.weights[k] * v for k, v in terms.items()]).sum()
        options: dict[str, Any] = {"batch_size": len(batch.paths), "prog_bar": True}
        self.log_dict({"train/total": total.detach()}, **options)
        self.log_dict({f"train/{k}": v.detach() for k, v in terms.items()}, **options)
        return total

    def validation_step(self, batch: PhotoBatch, batch_idx: int) -> None:
        """Log the terms on held-out photos, always disturbed alike, and the gradients' cosine."""
        generator = torch.Generator().manual_seed(batch_idx)
        values = {f"val/{k}": v for k, v in self._terms(batch.photos, generator).items()}
        with torch.enable_grad():
            values["val/gradient_cosine"] = self.gradient_cosine(disturb(batch.photos, generator))
        self.log_dict(values, batch_size=len(batch.paths))

    def gradient_cosine(self, images: Tensor) -> Tensor:
        """Mean cosine of the student's and the teacher's gradients, at all ``images`` but the last.

        images (B, 3, H, W), RGB in [0, 1]: the last one gives the style, the neighbor of each
        (the next of an even one, else the one before) its content.
        """
        images = images.requires_grad_()
        neighbor = (torch.arange(len(images)) ^ 1).clamp(max=len(images) - 1)
        weights = dict.fromkeys(self.names, 1.0)
        sides = []
        mapped = {n: self.maps[n](f) for n, f in self.student(images, self.names).items()}
        for features in (mapped, self.teacher(images)):
            grams = {name: gram_matrix(f.detach()[-1:]) for name, f in features.items()}
            contents = {name: f.detach()[neighbor] for name, f in features.items()}
            gradient = loss_gradient(images, features, grams, contents, weights, weights)
            sides.append(gradient[:-1].flatten(1))
        slim, wide = sides
        return F.cosine_similarity(slim, wide, dim=1).mean()

    def configure_optimizers(self) -> Any:
        """Adam with the one-cycle schedule of its learning rate."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.learning_rate, total_steps=int(self.trainer.max_steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _terms(self, photos: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The terms of non-zero weight, each a mean over the layers."""
        wanted = {name for name, weight in self.weights.items() if weight}
        images = disturb(photos, generator)
        if "response" in wanted:
            images = torch.cat([images, nudge(images, generator)])
        slim = self.student(images, self.names)
        with torch.no_grad():
            wide = self.teacher(images)
        count = len(photos)
        terms = dict.fromkeys(sorted(wanted), images.new_zeros(()))
        for name in self.names:
            target, mapped = wide[name], self.maps[name](slim[name])
            if "features" in wanted:
                terms["features"] = terms["features"] + F.mse_loss(mapped, target) / target.var()
            if "response" in wanted:
                change, wished = mapped[count:] - mapped[:count], target[count:] - target[:count]
                errors = (change - wished).square().mean((1, 2, 3))
                sizes = wished.square().mean((1, 2, 3))
                terms["response"] = terms["response"] + (errors / (sizes + 1e-6)).mean()
            if "gram" in wanted:
                grams = gram_matrix(mapped[:count]), gram_matrix(target[:count])
                terms["gram"] = terms["gram"] + log_ratio(*map(distances, grams))
            if "content" in wanted:
                terms["content"] = terms["content"] + log_ratio(
                    distances(mapped[:count]), distances(target[:count])
                )
        return {name: term / len(self.names) for name, term in terms.items()}


def nudge(images: Tensor, generator: torch.Generator) -> Tensor:
    """images (B, 3, H, W) plus noise of 0.01 to 0.1, of one pixel's or two pixels' grain."""
    noise = torch.randn(images.shape, generator=generator).to(images)
    grain = F.avg_pool2d(noise, 2) * 2
    coarse = F.interpolate(grain, size=images.shape[-2:], mode="nearest")
    size = 0.01 * 10 ** torch.rand(len(images), 1, 1, 1, generator=generator)
    which = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return images + size.to(images) * torch.where(which.to(images.device), noise, coarse)


def disturb(photos: Tensor, generator: torch.Generator) -> Tensor:
    """Every second photo becomes what a half-trained net might make of the one before it.

    A copy with other colors, another photo mixed in, coarser tones and some noise: features and
    Grams are compared between pictures that differ in style, content or both.
    """
    images = photos.clone()
    for k in range(1, len(images), 2):

        def draw(low: float, high: float) -> float:
            return low + (high - low) * float(torch.rand((), generator=generator))

        image = photos[k - 1]
        if draw(0, 1) < 0.5:
            mix = torch.eye(3) + 0.35 * torch.randn(3, 3, generator=generator)
            image = torch.einsum("ij,jhw->ihw", mix.to(image), image) + draw(-0.2, 0.2)
        if draw(0, 1) < 0.5:
            share = draw(0.1, 0.6)
            image = (1 - share) * image + share * photos[k]
        if draw(0, 1) < 0.4:
            small = F.avg_pool2d(image[None], 2)
            image = F.interpolate(small, size=image.shape[-2:], mode="nearest")[0]
        if draw(0, 1) < 0.4:
            noise = torch.randn(image.shape, generator=generator).to(image)
            image = image + draw(0.02, 0.15) * noise
        images[k] = image.clamp(0, 1)
    return images.detach()
