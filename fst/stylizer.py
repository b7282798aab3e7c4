"""Load a style once, stylize many photos: any size, any device, one forward pass each."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fst.errors import FstError
from fst.image import Picture, to_image, to_picture, to_pixels
from fst.style_file import find_style, load_style
from fst.transformer_net import MIN_SIDE, PixelNet

# peak memory of a float32 pass at width 32, measured on a CPU at 2048 x 2048 px
BYTES_PER_PIXEL = 1200


def choose_device(name: str) -> torch.device:
    """'auto' is the first of CUDA, MPS and CPU that is there. Raises ``FstError`` if it is not."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", str(name)):
        raise FstError(f"device '{name}' is unknown; use auto, cuda, cuda:1, mps or cpu")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((kind for kind, found in there.items() if found), "cpu")
    if not there.get(name.split(":")[0], True):
        raise FstError(f"device '{name}' is not available on this machine; use cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise FstError(f"device '{name}' is not there: {torch.cuda.device_count()} GPUs are")
    return device


class Stylizer:
    """A trained style, ready to use.

    ``style`` is a style file, the name of a shipped style, or of a run below ``runs/``. On a GPU
    the net runs in half precision, on a CPU in single.

    >>> stylizer = Stylizer("great_wave")
    >>> stylizer(Image.open("photo.jpg")).save("wave.jpg")
    """

    def __init__(self, style: str | Path, *, device: str = "auto") -> None:
        self.path = find_style(style)
        self.device = choose_device(device)
        net, self.card = load_style(self.path)
        self.name = self.card.name
        if self.device.type != "cpu":
            net = net.half()
        self._net = PixelNet(net).to(self.device).eval()

    def __call__(self, photo: Image.Image) -> Image.Image:
        """A Pillow image of any mode -> RGB, or RGBA if it has transparency, of the same size."""
        picture = self.picture(to_picture(photo))
        if picture.alpha is not None:
            picture.rgb.putalpha(picture.alpha)
        if picture.icc_profile:
            picture.rgb.info["icc_profile"] = picture.icc_profile
        return picture.rgb

    def picture(self, photo: Picture) -> Picture:
        """``Picture`` -> stylized ``Picture`` with the photo's alpha and profile."""
        stylized = to_image(self.pixels(to_pixels(photo.rgb)))
        return Picture(rgb=stylized, alpha=photo.alpha, icc_profile=photo.icc_profile)

    @torch.inference_mode()
    def pixels(self, pixels: Tensor) -> Tensor:
        """pixels (B, 3, H, W) uint8 RGB -> stylized, the same shape and type, on the CPU.

        Raises ``FstError`` for a picture under 16 px or too large for the memory at hand.
        """
        batch, _, height, width = pixels.shape
        if min(height, width) < MIN_SIDE:
            raise FstError(
                f"the photo has {width}x{height} px; at least {MIN_SIDE} px a side are needed"
            )
        self.require_memory(batch, height, width)
        try:
            return self._net(pixels.to(self.device)).cpu()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if "memory" not in str(error).lower():
                raise
            raise FstError(
                f"the photo of {width}x{height} px does not fit into the memory of "
                f"{self.device}; use a smaller size, for instance --size {min(height, width) // 2}"
            ) from None

    def require_memory(self, batch: int, height: int, width: int) -> None:
        """Raise ``FstError`` before the system would have to kill the process."""
        available = _available_memory()
        if self.device.type != "cpu" or available is None:
            return
        per_pixel = BYTES_PER_PIXEL * self._net.net.width / 32
        needed = per_pixel * batch * height * width
        if needed > available:
            fits = int(min(height, width) * (0.9 * available / needed) ** 0.5)
            raise FstError(
                f"the photo of {width}x{height} px needs about {needed / 1e9:.1f} GB of memory "
                f"and {available / 1e9:.1f} GB are free; use --size {fits}"
            )


def _available_memory() -> float | None:
    """Bytes that can be taken without swapping; None where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return None
