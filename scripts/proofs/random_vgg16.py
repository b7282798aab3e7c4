"""python scripts/proofs/random_vgg16.py FILE.safetensors: a VGG-16 to relu4_3 of random weights.

For timing where the real one cannot be fetched: a step takes as long. What is trained with it is
worth nothing. `fst train loss_network=file loss_network.file=FILE.safetensors` reads it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fst import FstError
from fst.benchmark.plain import PlainVGG16
from fst.benchmark.twins import twin_network
from fst.loss.loss_network_file import save_loss_network


def main(path: Path) -> None:
    """Write the file as ``fst distill`` writes one, in torchvision's keys."""
    save_loss_network(path, twin_network(PlainVGG16()), half=False)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]))
    except FstError as error:
        sys.exit(f"random_vgg16: {error}")
