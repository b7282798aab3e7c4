"""Load a style once, stylize many photos: any size, any device, one forward pass each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fst.errors import FstError
from fst.inference.backends import is_out_of_memory, open_backend
from fst.nets.style_card import cards_trusted, net_width, read_card
from fst.nets.style_file import MIN_SIDE
from fst.nets.style_names import find_style
from fst.pictures.image import Picture, from_array, to_array, to_picture
from fst.system.machine import available_memory, give_back_freed_memory


class Stylizer:
    """A trained style, ready to use.

    ``style`` is a style file, the name of a shipped style, or of a run below ``runs/``. On a GPU
    the net runs in half precision, on a CPU in single. ``backend`` is ``torch``, ``onnx`` or
    ``openvino``, the last two on the CPU only, or ``auto``: the fastest that is worth its start
    for ``pixels_to_come`` in all pictures together (see
    ``fst.inference.backends.choose_backends``). ``say`` is told, in a sentence, what takes long or
    goes wrong on the way to it. ``trust_card`` takes an older file's card as it is, whatever its
    ``output_gain``, though no checksum covers it. Raises ``FstError`` for a style that is unknown
    or damaged, a device that is not here, a backend that is not installed.

    >>> stylizer = Stylizer("great_wave")
    >>> stylizer(Image.open("photo.jpg")).save("wave.jpg")
    """

    def __init__(
        self,
        style: str | Path,
        *,
        device: str = "auto",
        backend: str = "torch",
        pixels_to_come: int = 0,
        say: Callable[[str], None] = lambda line: None,
        trust_card: bool = False,
    ) -> None:
        with cards_trusted(trust_card):
            self.path = find_style(style)
            self.card = read_card(self.path)
            self.name = self.card.name
            self.backend = open_backend(
                backend, self.path, device=device, pixels=pixels_to_come, say=say
            )

    def __call__(self, photo: Image.Image) -> Image.Image:
        """A Pillow image of any mode -> RGB, or RGBA if it has transparency, of the same size.

        RGBA fits into a ``.png``; for a ``.jpg`` say ``.convert("RGB")``. Raises ``FstError`` as
        ``pixels`` does.
        """
        picture = self.picture(to_picture(photo))
        if picture.alpha is not None:
            picture.rgb.putalpha(picture.alpha)
        if picture.icc_profile:
            picture.rgb.info["icc_profile"] = picture.icc_profile
        return picture.rgb

    def picture(self, photo: Picture) -> Picture:
        """``Picture`` -> stylized ``Picture`` with the photo's alpha and profile."""
        stylized = from_array(self.pixels(to_array(photo.rgb)))
        return Picture(rgb=stylized, alpha=photo.alpha, icc_profile=photo.icc_profile)

    def pixels(self, pixels: np.ndarray) -> np.ndarray:
        """pixels (B, 3, H, W) uint8 RGB -> stylized, the same shape and type.

        Raises ``FstError`` for a picture under 16 px or too large for the memory at hand.
        """
        batch, _, height, width = pixels.shape
        if min(height, width) < MIN_SIDE:
            raise FstError(
                f"the photo has {width}x{height} px; at least {MIN_SIDE} px a side are needed"
            )
        self.require_memory(batch, height, width)
        try:
            return self.backend(np.ascontiguousarray(pixels))
        except Exception as error:  # each runtime has its own exceptions
            if not is_out_of_memory(error):
                raise
            raise FstError(
                f"the photo of {width}x{height} px does not fit into the memory of "
                f"{self.backend.device}; use a smaller size, for instance --size "
                f"{min(height, width) // 2}"
            ) from None

    def require_memory(self, batch: int, height: int, width: int) -> None:
        """Raise ``FstError`` before the system would have to kill the process."""
        if self.backend.device != "cpu":
            return
        per_pixel = self.backend.bytes_per_pixel * net_width(self.card) / 32
        needed = per_pixel * batch * height * width
        available = available_memory()
        if needed > available:
            give_back_freed_memory()  # of the pictures before
            available = available_memory()
        if needed > available:
            fits = int(min(height, width) * (0.9 * available / needed) ** 0.5)
            raise FstError(
                f"the photo of {width}x{height} px needs about {needed / 1e9:.1f} GB of memory "
                f"and {available / 1e9:.1f} GB are free; use --size {fits}"
            )
