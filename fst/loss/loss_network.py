"""Frozen VGG-shaped networks whose features define the losses; layers are asked for by name.

Only this file normalizes a picture: everywhere else it is RGB in [0, 1].
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.errors import FstError

PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate"}


def block_of(name: str) -> int:
    """The block of convolutions that a layer is in, counted from 1: of ``relu2_1``, 2."""
    return int(name.removeprefix("relu").partition("_")[0])


class LossNetwork(nn.Module):
    """A VGG-shaped network: 3x3 convolutions with ReLU, in blocks parted by 2x2 max-pooling.

    ``convolutions`` are (block, weight, bias) in order; a layer's name is ``relu{block}_{index}``,
    as in Simonyan and Zisserman 2014. The weights are held as non-persistent buffers: they follow
    ``.to(device)``, take no gradient, and never enter a checkpoint.

    A network that stands for another may say how its losses become the other's. ``roots`` are lower
    triangular (C, C) by layer: features are multiplied by the transpose, after which their lengths
    and products are those of the other's features as far as a linear map can tell. ``factors``
    say, by term and layer, how many times its terms are still too small; the terms are style and
    content, and relative_style and relative_content.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        convolutions: Iterable[tuple[int, Tensor, Tensor]],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        padding_mode: str,
        description: str,
        license: str | None = None,
        factors: Mapping[str, Mapping[str, float]] | None = None,
        roots: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.license = license
        self.factors = {term: dict(by_layer) for term, by_layer in (factors or {}).items()}
        if padding_mode not in PADDING_MODES:
            raise FstError(
                f"padding_mode '{padding_mode}' of {description} is unknown; "
                f"use one of {', '.join(PADDING_MODES)}"
            )
        self.description = description
        self.padding_mode = padding_mode
        self.layers: list[str] = []
        self._new_block: list[bool] = []
        last_block, index = 1, 0
        for block, weight, bias in convolutions:
            index = index + 1 if block == last_block else 1
            self._new_block.append(block != last_block)
            last_block = block
            name = f"relu{block}_{index}"
            self.layers.append(name)
            self.register_buffer(f"{name}_weight", weight.float(), persistent=False)
            self.register_buffer(f"{name}_bias", bias.float(), persistent=False)
        self.set_roots(roots or {})
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def convolutions(self) -> list[tuple[int, Tensor, Tensor]]:
        """(block, weight, bias) in order: what a network is built from."""
        weights = [(self._weight(name), self._bias(name)) for name in self.layers]
        return [(block_of(n), *wb) for n, wb in zip(self.layers, weights, strict=True)]

    def set_roots(self, roots: Mapping[str, Tensor]) -> None:
        """From now on, features of these layers come multiplied by their roots' transposes."""
        self.require(roots)
        self.roots = list(roots)
        for name, root in roots.items():
            channels = len(self._bias(name))
            if root.shape != (channels, channels):
                raise FstError(
                    f"{self.description}: the root of {name} is {tuple(root.shape)}, but the layer "
                    f"has {channels} channels; the file does not fit together"
                )
            self.register_buffer(f"{name}_root", root.float(), persistent=False)

    def root(self, name: str) -> Tensor:
        """The (C, C) root of a layer that is among ``roots``."""
        return self.get_buffer(f"{name}_root")

    def factor(self, term: str, name: str) -> float:
        """By what to multiply a term at a layer, for its size in the network that is stood for."""
        return self.factors.get(term, {}).get(name, 1.0)

    def require(self, names: Iterable[str]) -> None:
        """Raise ``FstError`` naming the first layer this network does not have."""
        for name in names:
            if name not in self.layers:
                raise FstError(
                    f"layer '{name}' is not in the loss network {self.description}, which has "
                    f"{self.layers[0]} .. {self.layers[-1]}; ask for one of "
                    f"{', '.join(self.layers)}, or give a weight of 0 to leave it out"
                )

    def forward(self, image: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """image (B, 3, H, W), RGB in [0, 1] -> {name: features (B, C, h, w)}, after the ReLU
        and the root.

        Computes no further than the deepest name asked for. Differentiable in the image.
        """
        wanted = set(names)
        self.require(wanted)
        features: dict[str, Tensor] = {}
        x = (image - self.mean) / self.std
        for name, new_block in zip(self.layers, self._new_block, strict=True):
            if len(features) == len(wanted):
                break
            if new_block:
                x = F.max_pool2d(x, 2)
            if self.padding_mode == "zeros":
                x = F.conv2d(x, self._weight(name), self._bias(name), padding=1)
            else:
                x = F.pad(x, (1, 1, 1, 1), mode=PADDING_MODES[self.padding_mode])
                x = F.conv2d(x, self._weight(name), self._bias(name))
            x = F.relu(self._normalized(name, x))
            if name in wanted:
                features[name] = x
                if name in self.roots:
                    features[name] = F.conv2d(x, self.root(name).T[..., None, None])
        return features

    def fingerprint(self) -> str:
        """A short hash of every weight, to tell one network from another of the same name."""
        digest = hashlib.sha256()
        for name, buffer in self.named_buffers():
            digest.update(name.encode() + buffer.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def min_side(self, names: Iterable[str]) -> int:
        """Shorter side in pixels below which the deepest of ``names`` would have no pixel left."""
        depth = max(map(block_of, names), default=1)
        smallest = 1 if self.padding_mode == "zeros" else 2  # reflection needs two rows
        return smallest * 2 ** (depth - 1)

    def _normalized(self, name: str, x: Tensor) -> Tensor:
        return x

    def _weight(self, name: str) -> Tensor:
        return getattr(self, f"{name}_weight")

    def _bias(self, name: str) -> Tensor:
        return getattr(self, f"{name}_bias")
