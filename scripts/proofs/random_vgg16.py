"""python scripts/proofs/random_vgg16.py FILE.safetensors: a VGG-16 to relu4_3 of random weights.

For timing where the real one cannot be fetched: a step takes as long. What is trained with it is
worth nothing. `fst train loss_network=file loss_network.file=FILE.safetensors` reads it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import save_file

from fst.benchmark.plain import MEAN, STD, PlainVGG16


def main(path: Path) -> None:
    """Write the file, in torchvision's keys."""
    tensors, number, last = {}, 0, 1
    for block, weight, bias in PlainVGG16().convolutions():
        number += block != last  # a pooling layer
        last = block
        tensors[f"features.{number}.weight"] = weight.contiguous()
        tensors[f"features.{number}.bias"] = bias.contiguous()
        number += 2
    metadata = {"mean": ",".join(map(str, MEAN)), "std": ",".join(map(str, STD))}
    save_file(tensors, path, {**metadata, "padding_mode": "zeros"})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
