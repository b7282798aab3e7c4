"""Would 8-bit integers make a style faster, and at what price? Tried with ONNX Runtime.

python scripts/try_int8.py [STYLE] [--size 512] [--sheet FILE.jpg]

The convolutions of an exported style are quantized per channel (QDQ), all of them or all but the
first and the last, with the ranges seen on three photographs of scikit-image. The fourth shows what
it does: milliseconds in turns with float32, and the difference in levels of 255.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

from fst.backends import OnnxBackend, cpu_threads
from fst.graph_file import onnx_bytes
from fst.image import Picture, contact_sheet, from_array, read_picture, save_picture, to_array
from fst.paths import sample_photo
from fst.style_file import find_style, load_style
from fst.timing import race

SEEN, UNSEEN = ("astronaut.png", "coffee.png", "rocket.jpg"), "chelsea.png"


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


def main() -> None:
    """Quantize, time, compare, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("style", nargs="?", default="great_wave")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--sheet", type=Path)
    asked = parser.parse_args()
    net, card = load_style(find_style(asked.style))
    graphs = {"float32": onnx_bytes(net)}
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
            f"{card.name}, {name:<30} {len(graphs[name]) / 1e3:6.0f} KB "
            f"{timing.median_s * 1e3:8.1f} ms  "
            f"{timings['float32'].median_s / timing.median_s:5.2f} times as fast; "
            f"off by {off.max()} of 255 at most, {off.mean():.2f} on average"
        )
    if asked.sheet is not None:
        row = [from_array(photo), *(from_array(result) for result in results.values())]
        save_picture(asked.sheet, Picture(rgb=contact_sheet([row])), quality=90)


if __name__ == "__main__":
    main()
