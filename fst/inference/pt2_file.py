"""torch.export's programs of a style: ``.pt2`` files, and packages compiled ahead of time."""

from __future__ import annotations

import io
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim

from fst.inference.controlled_net import ControlledNet
from fst.inference.pixel_net import PixelNet
from fst.nets.style_file import MIN_SIDE

MAX_SIDE = 16384  # pixels
MAX_BATCH = 1024


def load_pt2(data: bytes) -> Callable[..., np.ndarray]:
    """The bytes of a ``.pt2`` file -> a function of pixels (B, 3, H, W) uint8 to the same.

    It takes the further inputs of a graph with controls by their names.
    """
    with quiet():
        module = torch.export.load(io.BytesIO(data)).module()

    def run(pixels: np.ndarray, **inputs: np.ndarray) -> np.ndarray:
        given = {name: torch.from_numpy(value) for name, value in inputs.items()}
        with torch.inference_mode():
            return module(torch.from_numpy(pixels), **given).numpy()

    return run


def pack_pt2(pixel_net: PixelNet | ControlledNet) -> Callable[[dict[str, str]], bytes]:
    """A style's pass -> a function of metadata to the bytes of a ``.pt2`` file."""
    program = program_of(pixel_net)

    def pack(metadata: dict[str, str]) -> bytes:
        buffer = io.BytesIO()
        extra = {f"{key}.json": value for key, value in metadata.items()}
        with quiet():
            torch.export.save(program, buffer, extra_files=extra)
        return buffer.getvalue()

    return pack


def program_of(pixel_net: PixelNet | ControlledNet) -> torch.export.ExportedProgram:
    """torch.export's program of the whole pass, for any size, on the net's device and in its
    precision."""
    sides = {
        0: Dim("batch", min=1, max=MAX_BATCH),
        2: Dim("height", min=MIN_SIDE, max=MAX_SIDE),
        3: Dim("width", min=MIN_SIDE, max=MAX_SIDE),
    }
    device = pixel_net.net.conv1.conv.weight.device
    # a batch of 2 and unlike sides: torch.export freezes a dimension of 1 and merges equal ones
    pixels = torch.zeros(2, 3, 70, 93, dtype=torch.uint8, device=device)
    examples = {
        "strength": torch.ones(1, device=device),
        "colors": torch.ones(1, device=device),
        "mask": torch.zeros(2, 1, 70, 93, dtype=torch.uint8, device=device),
        "styles": torch.ones(pixel_net.net.paintings, device=device),
    }
    given = {name: examples[name] for name in getattr(pixel_net, "inputs", ())}
    shapes = {"pixels": sides, **{name: sides if name == "mask" else {} for name in given}}
    with quiet():
        return torch.export.export(pixel_net, (pixels,), given, dynamic_shapes=shapes)


def aoti_package(program: torch.export.ExportedProgram, path: Path) -> Callable[[Tensor], Tensor]:
    """Compile a program ahead of time (AOTInductor) into ``path``, a .pt2 package, and load it.

    The package needs no Python to run. It is for the device, the processor and the PyTorch it was
    made with, and a C++ compiler must be there to make it.
    """
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    with quiet():
        return aoti_load_package(aoti_compile_and_package(program, package_path=str(path)))


def pack_aoti(pixel_net: PixelNet | ControlledNet) -> Callable[[dict[str, str]], bytes]:
    """``pack_pt2`` of what AOTInductor compiles of a pass, for this processor: it takes minutes."""
    program = program_of(pixel_net)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "style.pt2"
        aoti_package(program, path)
        compiled = path.read_bytes()

    def pack(metadata: dict[str, str]) -> bytes:
        buffer = io.BytesIO(compiled)
        with zipfile.ZipFile(buffer, "a") as archive:
            root = archive.namelist()[0].split("/")[0]
            for key, value in metadata.items():  # where torch.export has them, too
                archive.writestr(f"{root}/extra/{key}.json", value)
        return buffer.getvalue()

    return pack


def load_aoti(data: bytes) -> Callable[..., np.ndarray]:
    """``load_pt2`` of a package that AOTInductor made."""
    from torch._inductor import aoti_load_package

    with quiet():
        module = aoti_load_package(io.BytesIO(data))

    def run(pixels: np.ndarray, **inputs: np.ndarray) -> np.ndarray:
        given = {name: torch.from_numpy(value) for name, value in inputs.items()}
        with torch.inference_mode():
            return module(torch.from_numpy(pixels), **given).numpy()

    return run


class quiet(warnings.catch_warnings):
    """Keep the exporters' notes to themselves, not to us, out of the output."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered
