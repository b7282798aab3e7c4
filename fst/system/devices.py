"""Which device a user means, and whether it is here."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from fst.errors import FstError

if TYPE_CHECKING:
    import torch

# without any of these, Linux has no GPU that torch could use: NVIDIA's, Jetson's, AMD's, WSL's
GPU_FILES = ("/dev/nvidiactl", "/dev/nvmap", "/dev/kfd", "/dev/dxg")


def check_device_name(name: str) -> None:
    """Raise ``FstError`` for a device that cannot be anywhere."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", str(name)):
        raise FstError(f"device '{name}' is unknown; use auto, cuda, cuda:1, mps or cpu")


def choose_device(name: str) -> torch.device:
    """'auto' is the first of CUDA, MPS and CPU that is there. Raises ``FstError`` if it is not."""
    import torch

    check_device_name(name)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((kind for kind, found in there.items() if found), "cpu")
    if not there.get(name.split(":")[0], True):
        raise FstError(f"device '{name}' is not available on this machine; use cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise FstError(f"device '{name}' is not there: {torch.cuda.device_count()} GPUs are")
    return device


def stays_on_cpu(device: str) -> bool:
    """Whether ``device`` means the CPU here; asks torch only where there may be a GPU."""
    if device != "auto":
        return device == "cpu"
    if sys.platform == "linux" and not any(map(os.path.exists, GPU_FILES)):
        return True
    return choose_device("auto").type == "cpu"
