"""fst download vgg16 vgg19: fetch torchvision's weights ahead of time.

For machines that train without a network, such as the nodes of a cluster: run it where there is
one, with the same home folder or the same $TORCH_HOME.

fst download vgg16
fst download vgg16 vgg19
"""

from __future__ import annotations

from fst.system.console import Parser
from fst.system.installed import require_torch

NAMES = ("vgg16", "vgg19")  # of the keys of torchvision_weights.TORCHVISION


def main(argv: list[str] | None = None) -> int:
    parser = Parser(
        prog="fst download",
        description="Fetch the weights of torchvision's loss networks, where training finds them.",
        epilog="They go into torch's cache: $TORCH_HOME/hub/checkpoints, or below ~/.cache/torch.",
    )
    parser.add_argument("names", nargs="+", metavar="NAME", choices=NAMES, help=" or ".join(NAMES))
    asked = parser.parse_args(argv).names
    require_torch("fst download")
    from fst.loss.torchvision_weights import fetch  # takes torch

    for name in asked:
        path = fetch(name)
        print(f"{name:<8} {path} ({path.stat().st_size / 1e6:.0f} MB)")
    return 0
