"""Fast style transfer: one painting and a folder of photos become a net that stylizes in one pass.

>>> from fst import Stylizer
>>> Stylizer("great_wave")(photo).save("wave.jpg")  # photo: a Pillow image

The names below are imported when first used, so that ``fst --help`` does not pay for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fst.errors import FstError
    from fst.inference.stylizer import Stylizer
    from fst.loss.loss_network import LossNetwork
    from fst.loss.loss_network_file import load_loss_network
    from fst.loss.perceptual_loss import Losses, PerceptualLoss, gram_matrix, total_variation
    from fst.nets.style_file import load_style, save_style
    from fst.nets.transformer_net import TransformerNet

_HOMES = {
    "FstError": "errors",
    "LossNetwork": "loss.loss_network",
    "load_loss_network": "loss.loss_network_file",
    "Losses": "loss.perceptual_loss",
    "PerceptualLoss": "loss.perceptual_loss",
    "gram_matrix": "loss.perceptual_loss",
    "total_variation": "loss.perceptual_loss",
    "load_style": "nets.style_file",
    "save_style": "nets.style_file",
    "Stylizer": "inference.stylizer",
    "TransformerNet": "nets.transformer_net",
}

__all__ = [
    "FstError",
    "LossNetwork",
    "Losses",
    "PerceptualLoss",
    "Stylizer",
    "TransformerNet",
    "gram_matrix",
    "load_loss_network",
    "load_style",
    "save_style",
    "total_variation",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fst' has no attribute '{name}'")
    try:
        return getattr(import_module(f"fst.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from fst.system.installed import is_of_full, needs_full

        if not is_of_full(error):
            raise
        sentence = needs_full(f"fst.{name}", str(error.name))
        raise ModuleNotFoundError(sentence, name=error.name) from None
