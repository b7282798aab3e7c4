"""Distill a big loss network into a slim one whose losses point the same way.

What a loss network is for is its losses: so the student is fitted to the teacher's features (by a
linear map), to the teacher's distances between Gram matrices and between features, and to the
gradient of the perceptual loss with respect to the picture, which is what trains a style.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.data import PhotoBatch
from fst.loss_network import LossNetwork
from fst.perceptual_loss import gram_matrix

Features = dict[str, Tensor]


class Student(LossNetwork):
    """A VGG-shaped network with trainable weights; ``widths`` has one list of channels a block.

    While it learns, batch normalization stands between each convolution and its ReLU.
    """

    def __init__(self, *, widths: Sequence[Sequence[int]]) -> None:
        convolutions, channels = [], 3
        for block, block_widths in enumerate(widths, 1):
            for width in block_widths:
                weight = torch.empty(width, channels, 3, 3)
                nn.init.kaiming_normal_(weight)
                convolutions.append((block, weight, torch.zeros(width)))
                channels = width
        super().__init__(
            convolutions=convolutions,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            padding_mode="reflect",
            description="student",
        )
        for name in [f"{layer}_{part}" for layer in self.layers for part in ("weight", "bias")]:
            tensor = self.get_buffer(name)
            delattr(self, name)
            self.register_parameter(name, nn.Parameter(tensor))
        self.norms = nn.ModuleDict(
            {name: nn.BatchNorm2d(getattr(self, f"{name}_bias").numel()) for name in self.layers}
        )

    def _normalized(self, name: str, x: Tensor) -> Tensor:
        return self.norms[name](x) if name in self.norms else x

    @torch.no_grad()
    def fold(self) -> None:
        """Take the batch normalization into the convolutions before it, and away."""
        for name in self.layers:
            norm = self.norms[name]
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            factor = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
            weight.mul_(factor.view(-1, 1, 1, 1))
            bias.copy_((bias - norm.running_mean) * factor + norm.bias)
        self.norms = nn.ModuleDict()


class Teacher(nn.Module):
    """Frozen features under the student's layer names, from one or more networks.

    ``parts`` are (network, {student layer: teacher layer}, {student layer: (weight, bias)}): a
    head is a 1x1 convolution and a ReLU on the teacher layer's features.
    """

    def __init__(
        self,
        parts: Sequence[tuple[LossNetwork, Mapping[str, str], Mapping[str, tuple[Tensor, Tensor]]]],
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(network for network, _, _ in parts)
        self.fingerprints = [network.fingerprint() for network, _, _ in parts]
        self.layers = [dict(layers) for _, layers, _ in parts]
        for network, layers, _ in parts:
            network.require(layers.values())
        self.scales = dict.fromkeys((name for layers in self.layers for name in layers), 1.0)
        for _, _, heads in parts:
            for name, (weight, bias) in heads.items():
                self.register_buffer(f"{name}_weight", weight.float(), persistent=False)
                self.register_buffer(f"{name}_bias", bias.float(), persistent=False)

    def forward(self, image: Tensor) -> Features:
        """image (B, 3, H, W), RGB in [0, 1] -> {student layer: teacher features}."""
        features: Features = {}
        for network, layers in zip(self.networks, self.layers, strict=True):
            own = network(image, layers.values())
            for name, layer in layers.items():
                features[name] = own[layer]
                if hasattr(self, f"{name}_weight"):
                    head = self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")
                    features[name] = F.relu(F.conv2d(own[layer], *head))
                features[name] = features[name] / self.scales[name]
        return features

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Divide each layer by its root mean square on ``images``; ``rescale`` gives it back."""
        for name, features in self(images).items():
            self.scales[name] *= float(features.square().mean().sqrt())


@torch.no_grad()
def rescale(student: Student, scales: Mapping[str, float]) -> None:
    """Multiply the features of the named layers, by their ReLUs' homogeneity; no other changes."""
    undo = 1.0
    for name in student.layers:
        scale = scales.get(name, 1.0)
        getattr(student, f"{name}_weight").mul_(scale * undo)
        getattr(student, f"{name}_bias").mul_(scale)
        undo = 1 / scale


def log_ratio(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean square of the logarithm of a ratio: 0 if all sizes are equal."""
    floor = 0.01 * teacher.mean() + 1e-12
    return (torch.log(student + floor) - torch.log(teacher + floor)).square().mean()


def distances(values: Tensor) -> Tensor:
    """values (B, ...) -> mean squared differences of all pairs, (B * (B - 1) / 2,)."""
    flat = values.flatten(1)
    pairs = torch.combinations(torch.arange(len(flat), device=flat.device), 2)
    return (flat[pairs[:, 0]] - flat[pairs[:, 1]]).square().mean(1)


def style_gradient(
    image: Tensor, features: Features, targets: Features, weights: Mapping[str, float]
) -> Tensor:
    """d/d image of sum_l w_l * mean squared Gram difference over the target's Gram power."""
    loss = image.new_zeros(())
    for name, weight in weights.items():
        power = targets[name].square().mean().detach()
        term = (gram_matrix(features[name]) - targets[name]).square().mean((1, 2)).sum()
        loss = loss + weight * term / power
    (gradient,) = torch.autograd.grad(loss, image, create_graph=torch.is_grad_enabled())
    return gradient


class Distillation(pl.LightningModule):
    """Fits a ``Student`` to a ``Teacher`` on photos, half of them disturbed.

    The batch normalization that the student has meanwhile is folded away at the end. The terms,
    each over layers, those of weight 0 left out:

    - ``features``: the error of a linear map from the student's, over the teacher's variance
    - ``gram``, ``content``: log-ratio of the student's to the teacher's distances between pictures
    - ``gradient``: 1 - cosine of the style gradients, all pictures pulled towards the last one,
      layers weighted at random so that each must agree
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
            {n: nn.Conv2d(slim[n].shape[1], wide[n].shape[1], 1) for n in self.names}
        )

    def training_step(self, batch: PhotoBatch, batch_idx: int) -> Tensor:
        terms = self._terms(batch.photos, torch.Generator().manual_seed(self.global_step))
        total = torch.stack([self.weights[k] * v for k, v in terms.items()]).sum()
        options: dict[str, Any] = {"batch_size": len(batch.paths), "prog_bar": True}
        self.log_dict({"train/total": total.detach()}, **options)
        self.log_dict({f"train/{k}": v.detach() for k, v in terms.items()}, **options)
        return total

    def validation_step(self, batch: PhotoBatch, batch_idx: int) -> None:
        with torch.enable_grad():
            terms = self._terms(batch.photos, torch.Generator().manual_seed(batch_idx))
        values = {f"val/{k}": v.detach() for k, v in terms.items()}
        self.log_dict(values, batch_size=len(batch.paths))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.learning_rate, total_steps=int(self.trainer.max_steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _terms(self, photos: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The terms of non-zero weight; without ``gradient`` a step is several times cheaper."""
        wanted = {name for name, weight in self.weights.items() if weight}
        images = disturb(photos, generator)
        if "gradient" in wanted:
            images.requires_grad_()
        slim = self.student(images, self.names)
        with torch.set_grad_enabled("gradient" in wanted):
            wide = self.teacher(images)
        terms = dict.fromkeys(sorted(wanted), images.new_zeros(()))
        for name in self.names:
            target = wide[name].detach()
            if "features" in wanted:
                error = F.mse_loss(self.maps[name](slim[name]), target) / target.var()
                terms["features"] = terms["features"] + error
            if "gram" in wanted:
                pair = distances(gram_matrix(slim[name])), distances(gram_matrix(target))
                terms["gram"] = terms["gram"] + log_ratio(*pair)
            if "content" in wanted:
                pair = distances(slim[name]), distances(target)
                terms["content"] = terms["content"] + log_ratio(*pair)
        terms = {name: term / len(self.names) for name, term in terms.items()}
        if "gradient" in wanted:
            terms["gradient"] = self._gradient_term(images, slim, wide, generator)
        return terms

    def _gradient_term(
        self, images: Tensor, slim: Features, wide: Features, generator: torch.Generator
    ) -> Tensor:
        """1 - mean cosine of both style gradients, all but the last picture towards the last."""
        weights = torch.rand(len(self.names), generator=generator).square().tolist()
        chosen = dict(zip(self.names, weights, strict=True))
        sides = []
        for features in (slim, wide):
            targets = {name: gram_matrix(features[name])[-1:] for name in self.names}
            sides.append(style_gradient(images, features, targets, chosen)[:-1].flatten(1))
        return 1 - F.cosine_similarity(sides[0], sides[1].detach(), dim=1).mean()


def disturb(photos: Tensor, generator: torch.Generator) -> Tensor:
    """Every second photo becomes what a half-trained net might make of the one before it.

    A copy with other colours, another photo mixed in, coarser tones and some noise: features and
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
