"""The perceptual loss functions (Johnson, Alahi, Fei-Fei 2016, section 3.2).

Pure functions first, then one module that composes them: ``loss(stylized, content)``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.errors import FstError
from fst.loss.loss_network import LossNetwork

CONTENT_DISTANCES = ("mse", "cosine")
LEAST_VARIANCE = 0.1  # of a photo's features over their mean square; 0.4 is usual


def gram_matrix(features: Tensor) -> Tensor:
    """Uncentered channel covariance: features (B, C, H, W) -> (B, C, C), divided by C*H*W.

    Johnson et al. 2016, equation 3. Computed in float32 at least, as half precision overflows.
    """
    batch, channels, height, width = features.shape
    flat = features.reshape(batch, channels, height * width)
    if flat.dtype in (torch.float16, torch.bfloat16):
        flat = flat.float()
    with torch.autocast(flat.device.type, enabled=False):
        return _Products.apply(flat) / (channels * height * width)


class _Products(torch.autograd.Function):
    """flat (B, C, N) -> flat flat^T (B, C, C): one product backwards, where autograd makes two."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor) -> Tensor:
        ctx.save_for_backward(flat)
        return flat @ flat.transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (flat,) = ctx.saved_tensors
        return (gradients[0] + gradients[0].transpose(1, 2)) @ flat


def total_variation(image: Tensor) -> Tensor:
    """Sum of squared differences of neighboring pixels, per picture, mean over the batch.

    image (B, C, H, W) -> scalar, in the square of the image's units. It is a sum, as in the
    authors' code, so it grows with the number of pixels (Johnson et al. 2016, section 3.2,
    "total variation regularization").
    """
    image = image.float() if image.dtype in (torch.float16, torch.bfloat16) else image
    vertical = (image[..., 1:, :] - image[..., :-1, :]).square().sum()
    horizontal = (image[..., :, 1:] - image[..., :, :-1]).square().sum()
    return (vertical + horizontal) / image.shape[0]


def content_power(target: Tensor) -> Tensor:
    """What relative content terms are divided by: target (B, C, H, W) -> (B, 1, 1, 1).

    The variance of each photo's features; where next to nothing varies, as in a crop of two flat
    halves, it alone would make the photo count a hundredfold, hence ``LEAST_VARIANCE``.
    """
    variance = target.var(dim=(2, 3), keepdim=True).mean(dim=1, keepdim=True)
    floor = LEAST_VARIANCE * target.square().mean(dim=(1, 2, 3), keepdim=True)
    return variance.maximum(floor)


class Weights(NamedTuple):
    """The weights of the three terms; run.json and cards keep the mapping ``_asdict()``."""

    content: float
    style: float
    tv: float


class Losses(NamedTuple):
    """The weighted terms of one evaluation; their sum is what is minimized."""

    content: Tensor
    style: Tensor  # the term of the channel means included, if there is one
    total_variation: Tensor
    style_by_layer: dict[str, Tensor]  # weighted; they sum to ``style``
    moving: Tensor | None = None  # strokes that do not move along: see ``fst.loss.moving``
    by_painting: Mapping[int, Tensor] = MappingProxyType({})  # totals, where there are several

    @property
    def total(self) -> Tensor:
        """The sum of the terms, a scalar: what training minimizes."""
        total = self.content + self.style + self.total_variation
        return total if self.moving is None else total + self.moving


def mean_losses(losses: Sequence[Losses], shares: Sequence[float]) -> Losses:
    """The mean of each term, weighted by ``shares``, which sum to 1."""

    def mean(values: Sequence[Tensor]) -> Tensor:
        parts = [share * value for share, value in zip(shares, values, strict=True)]
        return sum(parts[1:], start=parts[0])

    return Losses(
        content=mean([of.content for of in losses]),
        style=mean([of.style for of in losses]),
        total_variation=mean([of.total_variation for of in losses]),
        style_by_layer={
            name: mean([of.style_by_layer[name] for of in losses])
            for name in losses[0].style_by_layer
        },
    )


class PerceptualLoss(nn.Module):
    """Content + Gram style + total variation against one painting, under a frozen network.

    With phi_l the features of layer l, G their Gram matrix, s the painting:

    - content: ``content_weight * sum_l w_l * mean((phi_l(stylized) - phi_l(content))^2)``
    - style: ``style_weight * sum_l w_l * mean((G(phi_l(stylized)) - G(phi_l(s)))^2)``, where the
      paper writes a squared Frobenius norm and its code takes the mean
    - total variation: ``tv_weight * total_variation(255 * stylized)``

    All are means over the batch. In the paper's units (a network that takes 0..255 minus the mean,
    as torchvision's ``IMAGENET1K_FEATURES``) the authors' weights are content 1, style 5,
    total variation 1e-6. A weight means nothing without its normalization: networks with another
    input scale need other weights, or ``relative=True``, which divides each layer's style term by
    the mean square of the painting's Gram matrix and each layer's content term by the variance of
    the photo's features (at least ``LEAST_VARIANCE`` of their mean square), so that a term of 1
    means "nothing in common yet" for any network.

    Two variations, off by default: ``content_distance="cosine"`` takes, in place of the mean
    square, 1 - the cosine of the features at each position, which leaves contrast free and has
    no units; ``mean_weight`` adds to each style term that many times the mean squared
    difference of the channels' means (first moments, which the Gram matrix only holds mixed with
    the second; Li et al. 2017, *Demystifying neural style transfer*, section 4.2), over the
    painting's mean square if ``relative``.

    A network that stands for another has ``factors`` that give each term the other's mean size.
    Layers with a weight of 0 are not computed. The painting's Gram
    matrices are computed once, here, from ``style_image`` (1, 3, H, W) in [0, 1]. Raises
    ``FstError`` for a layer that the network does not have, a painting too small for the layers, or
    another ``content_distance``.
    """

    def __init__(
        self,
        *,
        network: LossNetwork,
        style_image: Tensor,
        content_layers: Mapping[str, float],
        style_layers: Mapping[str, float],
        content_weight: float,
        style_weight: float,
        tv_weight: float,
        relative: bool,
        content_distance: str = "mse",
        mean_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if content_distance not in CONTENT_DISTANCES:
            raise FstError(
                f"loss.content_distance '{content_distance}' is unknown; "
                f"use one of {', '.join(CONTENT_DISTANCES)}"
            )
        self.content_distance = content_distance
        self.mean_weight = float(mean_weight)
        self.network = network
        self.content_layers = {k: float(v) for k, v in content_layers.items() if v}
        self.style_layers = {k: float(v) for k, v in style_layers.items() if v}
        self.weights = Weights(float(content_weight), float(style_weight), float(tv_weight))
        self.relative = relative
        network.require([*self.content_layers, *self.style_layers])
        needed = network.min_side(self.style_layers)
        if min(style_image.shape[-2:]) < needed:
            height, width = style_image.shape[-2:]
            raise FstError(
                f"style image {width}x{height} is smaller than {needed} px, which "
                f"{', '.join(self.style_layers)} need; pick a larger one or a larger style.size"
            )
        #: squared differences of neighbors in the painting, for each pixel, in 0..255
        self.style_variation = float(total_variation(255 * style_image)) / (
            style_image.shape[-2] * style_image.shape[-1]
        )
        with torch.no_grad():
            features = network(style_image, self.style_layers)
            for name in self.style_layers:
                gram = gram_matrix(features[name])
                self.register_buffer(f"gram_{name}", gram, persistent=False)
                self.register_buffer(f"gram_power_{name}", gram.square().mean(), persistent=False)
                mean = features[name].mean((2, 3))
                self.register_buffer(f"mean_{name}", mean, persistent=False)

    def forward(self, stylized: Tensor, content: Tensor) -> Losses:
        """stylized, content (B, 3, H, W), RGB in [0, 1] -> the weighted terms, differentiable
        with respect to ``stylized`` only."""
        return self.compare(stylized, self.content_target(content))

    @torch.no_grad()
    def content_target(self, content: Tensor) -> dict[str, Tensor]:
        """content (B, 3, H, W), RGB in [0, 1] -> its features, as ``compare`` needs them."""
        return self.network(content, self.content_layers)

    def reweighted(self, weights: Weights) -> PerceptualLoss:
        """The same loss with other weights of its three terms; it shares network and painting."""
        other = copy.copy(self)  # a module's copy has its own attributes and the same buffers
        other.weights = weights
        return other

    def compare(self, stylized: Tensor, target: Mapping[str, Tensor]) -> Losses:
        """stylized (B, 3, H, W) in [0, 1], a ``content_target`` of B photos or of one -> the terms
        of ``forward``, for comparing many pictures with one photo."""
        features = self.network(stylized, {**self.content_layers, **self.style_layers})
        return self.compare_features(stylized, features, target)

    def compare_features(
        self, stylized: Tensor, features: Mapping[str, Tensor], target: Mapping[str, Tensor]
    ) -> Losses:
        """``compare``, for pictures whose ``features`` are known: {layer: (B, C, h, w)}.

        They must hold every layer of content and style, as ``network`` computes them.
        """
        zero = stylized.new_zeros((), dtype=torch.promote_types(stylized.dtype, torch.float32))

        content_loss = zero
        for name, weight in self.content_layers.items():
            term = weight * self._content_term(name, features[name], target[name])
            content_loss = content_loss + term
        by_layer: dict[str, Tensor] = {}
        for name, weight in self.style_layers.items():
            term = self._style_term(name, features[name])
            by_layer[name] = self.weights.style * weight * term
        return Losses(
            content=self.weights.content * content_loss,
            style=sum(by_layer.values(), start=zero),
            total_variation=self.weights.tv * total_variation(255 * stylized)
            if self.weights.tv
            else zero,
            style_by_layer=by_layer,
        )

    def _factor(self, term: str, name: str) -> float:
        return self.network.factor(f"relative_{term}" if self.relative else term, name)

    def _style_term(self, name: str, features: Tensor) -> Tensor:
        term = (gram_matrix(features) - self.get_buffer(f"gram_{name}")).square().mean()
        if self.relative:
            term = term / self.get_buffer(f"gram_power_{name}")
        term = term * self._factor("style", name)
        if self.mean_weight:
            wanted = self.get_buffer(f"mean_{name}")
            means = (features.to(wanted.dtype).mean((2, 3)) - wanted).square().mean()
            if self.relative:
                means = means / (wanted.square().mean() + 1e-12)
            term = term + self.mean_weight * means
        return term

    def _content_term(self, name: str, features: Tensor, target: Tensor) -> Tensor:
        if features.dtype in (torch.float16, torch.bfloat16):
            features, target = features.float(), target.float()
        if self.content_distance == "cosine":
            # the floor keeps the gradient finite where there are no features
            floor = 1e-3 * target.square().sum(1, keepdim=True).mean((2, 3), keepdim=True) + 1e-12
            product = (features * target).sum(1, keepdim=True) + floor
            lengths = [f.square().sum(1, keepdim=True) + floor for f in (features, target)]
            return (1 - product * (lengths[0] * lengths[1]).rsqrt()).mean()
        factor = self._factor("content", name)
        if not self.relative:
            return F.mse_loss(features, target) * factor
        return ((features - target).square() / (content_power(target) + 1e-12)).mean() * factor
