"""torchvision's weights of VGG: which there are, what they expect as input, and their download."""

from __future__ import annotations

import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fst.errors import FstError

# torchvision's names for its weights -> (mean, std) of the RGB input in [0, 1].
# IMAGENET1K_FEATURES are the Caffe-trained weights of the paper: 0..255 minus the mean, no std.
CAFFE = ((0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TORCHVISION = {
    ("vgg16", "IMAGENET1K_FEATURES"): CAFFE,
    ("vgg16", "IMAGENET1K_V1"): IMAGENET,
    ("vgg19", "IMAGENET1K_V1"): IMAGENET,
}
LICENSES = {CAFFE: "CC BY 4.0 (Oxford VGG)", IMAGENET: "BSD-3-Clause (torchvision)"}


def fetch(name: str) -> Path:
    """The file of a network's weights in torch's cache, downloaded if it is not there.

    They are those its config names. Raises ``FstError`` without a network.
    """
    weights = next(weights for known, weights in TORCHVISION if known == name)
    download(name, weights)
    return _cached(_entry(name, weights))


def _entry(name: str, weights: str) -> Any:
    import torchvision

    return getattr(torchvision.models, f"{name.upper()}_Weights")[weights]


def _cached(entry: Any) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name


def download(name: str, weights: str) -> Mapping[str, Tensor]:
    """torchvision's weights, from its cache or the network; the checksum is verified."""
    entry = _entry(name, weights)
    try:
        return entry.get_state_dict(progress=True, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise FstError(
            f"the {name} weights ({Path(entry.url).name}) could not be downloaded ({error}); run "
            f"`fst download {name}` on a machine with a network and bring the file to "
            f"{_cached(entry)}, or give a local VGG-shaped network: loss_network=file "
            "loss_network.file=FILE"
        ) from None
