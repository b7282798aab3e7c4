"""The product's net, loss network and loss as it ships them, of the plain ones' sizes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fst.benchmark.plain import LAYERS, MEAN, STD, PlainVGG16
from fst.loss.loss_network import LossNetwork
from fst.loss.perceptual_loss import PerceptualLoss
from fst.nets.transformer_net import TransformerNet

# as configs/loss/paper.yaml and configs/net have them
WEIGHTS: dict[str, Any] = {"content_weight": 1.0, "style_weight": 5.0, "tv_weight": 1e-6}
CONTENT_LAYER = "relu3_3"
UPSAMPLING = "bilinear"


def new_net(width: int) -> TransformerNet:
    """A net of the paper's depth, untrained."""
    return TransformerNet(width=width, residual_blocks=5, output_gain=0.1, upsampling=UPSAMPLING)


def twin_network(vgg: PlainVGG16) -> LossNetwork:
    """The product's loss network with the weights of the plain one."""
    return LossNetwork(
        convolutions=vgg.convolutions(),
        mean=MEAN,
        std=STD,
        padding_mode="zeros",
        description="random VGG-16",
    )


def paper_loss(network: LossNetwork, style_image: Tensor) -> PerceptualLoss:
    """The product's loss with the paper's layers and weights."""
    return PerceptualLoss(
        network=network,
        style_image=style_image,
        content_layers={CONTENT_LAYER: 1},
        style_layers=dict.fromkeys(LAYERS, 1),
        relative=False,
        **WEIGHTS,
    )
