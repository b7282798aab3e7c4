"""Would 8-bit integers or factorized kernels make a style faster, and at what price?

python scripts/proofs/try_smaller.py [STYLE] [--size 512] [--sheet FILE.jpg]

Tried with ONNX Runtime, without training again. Integers: the convolutions of an exported style are
quantized per channel (QDQ), all of them or all but the first and the last, with the ranges seen on
three photographs of scikit-image. Factorized: each convolution becomes a vertical and a horizontal
one through fewer channels between, the nearest such pair (Jaderberg, Vedaldi, Zisserman 2014,
section 2.1, here by singular values), at a share of the operations. The fourth photograph shows
what it does: milliseconds in turns with float32, and the difference in levels of 255. Nets that are
changed go through PyTorch's exporter: pip install onnxscript.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)
from torch import Tensor, nn
from torch.export import Dim

from fst.benchmark.timing import race
from fst.inference.backends import OnnxBackend
from fst.inference.pixel_net import PixelNet
from fst.nets.style_file import load_style
from fst.nets.style_names import find_style
from fst.nets.transformer_net import ConvLayer, TransformerNet
from fst.pictures.image import Picture, from_array, read_picture, save_picture, to_array
from fst.pictures.sheet import contact_sheet
from fst.system.machine import cpu_threads
from fst.system.paths import sample_photo

SEEN, UNSEEN = ("astronaut.png", "coffee.png", "rocket.jpg"), "chelsea.png"
SHARES = (1.0, 0.75, 0.5)


class Photos(CalibrationDataReader):
    """One photo after the other, as ONNX Runtime asks for them."""

    def __init__(self, size: int) -> None:
        self.rest = iter([pixels(name, size) for name in SEEN])

    def get_next(self) -> dict[str, np.ndarray] | None:
        photo = next(self.rest, None)
        return None if photo is None else {"pixels": photo}


def pixels(name: str, size: int) -> np.ndarray:
    """A sample photo as (1, 3, H, W) uint8 RGB, its shorter side at ``size``."""
    return to_array(read_picture(sample_photo(name)).resized(size).rgb)


class Pair(nn.Module):
    """A convolution of reflected photos as a vertical and a horizontal one, of the rank given.

    The kernel as a matrix (in x height, out x width) is cut after its first singular values.
    """

    def __init__(self, conv: nn.Conv2d, rank: int) -> None:
        super().__init__()
        outs, ins, high, wide = conv.weight.shape
        matrix = conv.weight.permute(1, 2, 0, 3).reshape(ins * high, outs * wide)
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        rank = min(rank, len(values))
        root = values[:rank].sqrt()
        down, across = conv.stride
        self.first = nn.Conv2d(ins, rank, (high, 1), (down, 1), (high // 2, 0), bias=False)
        self.second = nn.Conv2d(rank, outs, (1, wide), (1, across), (0, wide // 2))
        for half in (self.first, self.second):
            half.padding_mode = "reflect"
            half._reversed_padding_repeated_twice = [
                side for side in reversed(half.padding) for _ in range(2)
            ]
        self.first.weight.data = (left[:, :rank] * root).T.reshape(rank, ins, high, 1)
        second = (root[:, None] * right[:rank]).reshape(rank, outs, 1, wide)
        self.second.weight.data = second.transpose(0, 1).contiguous()
        self.second.bias = conv.bias
        self.weight = self.second.weight  # whose type tells the net's

    def forward(self, x: Tensor) -> Tensor:
        """x (B, in, H, W) -> (B, out, H / stride, W / stride)."""
        return self.second(self.first(x))


@torch.no_grad()
def factorized(net: TransformerNet, share: float) -> TransformerNet:
    """A copy of the net with every convolution a pair of ``share`` of its operations."""
    net = copy.deepcopy(net)
    for layer in [module for module in net.modules() if isinstance(module, ConvLayer)]:
        outs, ins, size, _ = layer.conv.weight.shape
        rank = max(round(share * outs * ins * size / (outs + ins)), 1)
        layer.conv = Pair(layer.conv, rank)  # type: ignore[assignment]
    return net


def onnx_bytes(net: TransformerNet) -> bytes:
    """The whole pass of a net that no style file describes, as an ``.onnx`` file."""
    example = torch.zeros(2, 3, 70, 93, dtype=torch.uint8)
    sides = {0: Dim("batch"), 2: Dim("height", min=16), 3: Dim("width", min=16)}
    module = PixelNet(net).eval()
    program = torch.onnx.export(
        module, (example,), dynamo=True, dynamic_shapes={"pixels": sides}, verbose=False
    )
    assert program is not None
    return program.model_proto.SerializeToString()


def main() -> None:
    """Make them smaller, time, compare, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("style", nargs="?", default="great_wave")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--sheet", type=Path)
    asked = parser.parse_args()
    net, card = load_style(find_style(asked.style))
    graphs = {"float32": onnx_bytes(net)}
    for share in SHARES:
        graphs[f"factorized, {share:.0%} of the work"] = onnx_bytes(factorized(net, share))
    with tempfile.TemporaryDirectory() as folder:
        plain, ready = Path(folder, "plain.onnx"), Path(folder, "ready.onnx")
        plain.write_bytes(graphs["float32"])
        quant_pre_process(plain, ready)
        nodes = [n.name for n in onnx.load(ready).graph.node if n.op_type == "Conv"]
        for name, left_out in (
            ("int8", []),
            ("int8, first and last float32", nodes[:: len(nodes) - 1]),
        ):
            made = Path(folder, "int8.onnx")
            quantize_static(
                ready,
                made,
                Photos(256),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=left_out,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            graphs[name] = made.read_bytes()
    backends = {name: OnnxBackend(data, threads=cpu_threads()) for name, data in graphs.items()}
    photo = pixels(UNSEEN, asked.size)
    timings = race(
        {name: lambda run=run: run(photo) for name, run in backends.items()},
        warm_up=1,
        repetitions=asked.repetitions,
    )
    results = {name: run(photo) for name, run in backends.items()}
    for name, timing in timings.items():
        off = np.abs(results[name].astype(int) - results["float32"])
        print(
            f"{card.name}, {name:<32} {len(graphs[name]) / 1e3:6.0f} KB "
            f"{timing.median_s * 1e3:8.1f} ms  "
            f"{timings['float32'].median_s / timing.median_s:5.2f} times as fast; "
            f"off by {off.max()} of 255 at most, {off.mean():.2f} on average"
        )
    if asked.sheet is not None:
        row = [from_array(photo), *(from_array(result) for result in results.values())]
        save_picture(asked.sheet, Picture(rgb=contact_sheet([row])), quality=90)


if __name__ == "__main__":
    main()
