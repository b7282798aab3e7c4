"""A style file -> its whole pass as an ONNX graph, built node by node: no torch, no exporter.

The graph is ``PixelNet`` of ``TransformerNet``: uint8 pixels in, uint8 pixels out. What a node does
here and a layer does there is the same sum; ``tests/test_onnx_graph.py`` holds them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fst.errors import FstError
from fst.inference import onnx_proto
from fst.inference.graph_controls import controlled, shares_of_ends, shares_of_paintings
from fst.inference.onnx_proto import Attribute, element_type
from fst.nets.style_card import Card
from fst.nets.style_file import MIN_SIDE, arrays_of
from fst.nets.trained_strength import at_strength, takes_strength

OPSET = 18
LEAST_OPSET, NEWEST_OPSET = min(onnx_proto.IR_VERSIONS), max(onnx_proto.IR_VERSIONS)
IN, OUT = "pixels", "stylized"
# pixels, the side of what a convolution makes at once with GraphOptions.blocks; of 4, OpenVINO's
# pictures in bfloat16 were wrong at width 16, on a processor with AMX
BLOCK = 2
EPS = 1e-5  # of an instance norm, PyTorch's default
UPSAMPLING = {  # as torch.nn.functional.interpolate by a factor of two
    "nearest": {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    },
    "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
}


@dataclass(frozen=True)
class GraphOptions:
    """How a graph is written.

    ``half`` computes in float16, for GPUs, all but the last rounding. ``opset`` is the version of
    ONNX's operators. ``size`` (H, W) fixes the size of the photo, and the batch at 1, and leaves no
    node that computes a shape, which some runtimes need. ``inputs``, some of ``INPUTS``, are the
    controls of a pass that the graph takes beside the photo. ``floats`` has pixels, and a mask, as
    float32 in 0 .. 1 on both sides, which are rounded to 255ths. ``wide`` stores the weights in the
    type that they are computed with, so that no node widens them, and says how large kernels are,
    for importers that want both. ``means`` writes instance norms as means of each row and then of
    the rows, for a runtime that else adds up a channel value by value in float32. ``blocks`` makes
    the last convolution ``Nodes.blocks``, for a runtime on a CPU.
    """

    half: bool = False
    opset: int = OPSET
    size: tuple[int, int] | None = None
    inputs: tuple[str, ...] = ()
    floats: bool = False
    wide: bool = False
    means: bool = False
    blocks: bool = False

    @property
    def pixels(self) -> type:
        """What pixels and masks are, outside of the graph."""
        return np.float32 if self.floats else np.uint8


def onnx_graph(
    card: Card,
    data: bytes,
    options: GraphOptions | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes of an ``.onnx`` file for a style: pixels (B, 3, H, W) RGB to the same.

    ``data`` are the style's tensors as a safetensors file, as ``read_checked`` returns them.
    Weights are stored in the type they have there and computed with in float32: a float16 file of
    half the bytes gives the same picture to the bit. ``metadata`` goes into the file beside what a
    user of it has to know. Raises ``FstError`` for an opset that this graph does not have.
    """
    options = options or GraphOptions()
    if options.opset not in onnx_proto.IR_VERSIONS:
        raise FstError(
            f"--opset {options.opset} is not possible; use one of {LEAST_OPSET} to {NEWEST_OPSET}"
        )
    if takes_strength(card) and "strength" not in options.inputs:
        card, data = at_strength(card, data, 1.0)
    writer = Writer(arrays_of(data), options)
    writer.net(card.net)
    batch, (height, width) = (1, options.size) if options.size else ("batch", ("height", "width"))
    kind = "float32 in 0 .. 1" if options.floats else "uint8"
    known = {
        "layout": f"{IN}, {OUT}: {kind} (batch, 3, height, width), RGB",
        "least_size": f"{MIN_SIDE}x{MIN_SIDE}",
        "opset": str(options.opset),
        "precision": "float16" if options.half else "float32",
    }
    given: dict[str, tuple[type, list[int | str]]] = {
        "strength": (np.float32, [1]),
        "colors": (np.float32, [1]),
        "mask": (options.pixels, [batch, 1, height, width]),
        "styles": (np.float32, [writer.paintings]),
    }
    return onnx_proto.model(
        card.name,
        nodes=writer.nodes,
        constants=writer.constants,
        inputs=[
            onnx_proto.value(IN, options.pixels, [batch, 3, height, width]),
            *(onnx_proto.value(name, *given[name]) for name in options.inputs),
        ],
        outputs=[onnx_proto.value(OUT, options.pixels, [batch, 3, height, width])],
        opset=options.opset,
        metadata={**known, **(metadata or {})},
    )


class Nodes:
    """Collects the nodes and constants of one graph; every method returns a value's name."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.constants: list[bytes] = []
        self._made: set[str] = set()

    def constant(self, name: str, value: np.ndarray) -> str:
        if name not in self._made:
            self._made.add(name)
            self.constants.append(onnx_proto.tensor(name, value))
        return name

    def number(self, name: str, value: float) -> str:
        """A float32 constant, for one value or many."""
        return self.constant(name, np.array([value], np.float32))

    def node(
        self, kind: str, *inputs: str, name: str | None = None, **attributes: Attribute
    ) -> str:
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(onnx_proto.node(kind, inputs, name, attributes))
        return name

    def blocks(self, name: str, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """The convolution of a padded x to few channels, by blocks of pixels.

        The sums of ``conv2d_in_blocks``, which says why: each kernel at each place of a block.
        """
        side, last = weight.shape[-1], BLOCK - 1
        places = [(row, column) for row in range(BLOCK) for column in range(BLOCK)]
        kernels = [
            np.pad(weight, ((0, 0), (0, 0), (r, last - r), (c, last - c))) for r, c in places
        ]
        weights = (
            self.constant(f"{name}.blocks", np.concatenate(kernels)),
            self.constant(f"{name}.biases", np.tile(bias, BLOCK**2)),
        )
        made = self.node("Conv", x, *weights, strides=[BLOCK] * 2, pads=[0, 0, last, last])
        made = self.node("DepthToSpace", made, blocksize=BLOCK, mode="DCR")
        less = self.constant(f"less{side}", np.array([side - 1] * 2, np.int64))
        return self.cropped(made, self.node("Sub", self.sides(x), less))

    def sides(self, x: str) -> str:
        """How many rows and columns x (B, C, H, W) has."""
        two = self.constant("to_size", np.array([2], np.int64))
        four = self.constant("to_end", np.array([4], np.int64))
        return self.node("Slice", self.node("Shape", x), two, four)

    def cropped(self, x: str, ends: str) -> str:
        """Rows and columns of x up to ``ends``."""
        starts = self.constant("origin", np.array([0, 0], np.int64))
        axes = self.constant("rows_columns", np.array([2, 3], np.int64))
        return self.node("Slice", x, starts, ends, axes)


class Writer(Nodes):
    """The nodes of a whole pass."""

    def __init__(self, tensors: dict[str, np.ndarray], options: GraphOptions) -> None:
        super().__init__()
        self.tensors = tensors
        self.kind = np.dtype(np.float16 if options.half else np.float32)
        self.options = options
        self.size = options.size
        self.paintings = len(np.atleast_2d(tensors["norm1.weight"]))
        self._shares: str | None = None

    def net(self, arguments: Mapping[str, Any]) -> None:
        """``PixelNet``: pixels to [0, 1], ``TransformerNet.forward``, and back to pixels."""
        trained = bool(arguments.get("strengths", False))
        if "styles" in self.options.inputs:
            self._shares = shares_of_paintings(self)
        elif trained:
            self._shares = shares_of_ends(self)
        photo = IN
        if self.options.floats:
            white = self.constant("white", np.array([255], np.float32))
            photo = self.node("Round", self.node("Mul", IN, white))
        x = self.node("Cast", photo, to=element_type(self.kind))
        x = self.node("Div", x, self.constant("levels", np.array([255], self.kind)))
        full = self.relu(self.norm("norm1", self.conv("conv1.conv", x)))
        half = self.relu(self.norm("norm2", self.conv("down1.conv", full, stride=2)))
        x = self.relu(self.norm("norm3", self.conv("down2.conv", half, stride=2)))
        for block in range(int(arguments["residual_blocks"])):
            at = f"residual.{block}"
            y = self.relu(self.norm(f"{at}.norm1", self.conv(f"{at}.conv1.conv", x)))
            y = self.norm(f"{at}.norm2", self.conv(f"{at}.conv2.conv", y))
            x = self.node("Add", x, y)
        mode = str(arguments.get("upsampling", "nearest"))  # as older files were trained
        x = self.enlarged(x, like=half, mode=mode, step=2)
        x = self.relu(self.norm("norm4", self.conv("up1.conv.conv", x)))
        x = self.enlarged(x, like=full, mode=mode, step=1)
        x = self.relu(self.norm("norm5", self.conv("up2.conv.conv", x)))
        y = self.conv("conv2.conv", x)
        if self.kind != np.float32:
            y = self.node("Cast", y, to=element_type(np.dtype(np.float32)))
        gain = np.array([arguments["output_gain"]], np.float32)
        y = self.node("Tanh", self.node("Mul", y, self.constant("output_gain", gain)))
        y = self.node("Add", y, self.constant("one", np.array([1], np.float32)))
        y = self.node("Div", y, self.constant("two", np.array([2], np.float32)))
        y = self.node("Mul", y, self.constant("white", np.array([255], np.float32)))
        y = self.node("Round", y)
        if self.options.inputs:
            y = controlled(self, y, photo, self.options.inputs, trained=trained)
            y = self.node("Round", y)
        if self.options.floats:
            self.node("Div", y, self.constant("white", np.array([255], np.float32)), name=OUT)
        else:
            self.node("Cast", y, to=element_type(np.dtype(np.uint8)), name=OUT)

    def conv(self, name: str, x: str, *, stride: int = 1) -> str:
        """``ConvLayer``: reflection padding by half the kernel, then the convolution."""
        side = self.tensors[f"{name}.weight"].shape[-1]
        margin = side // 2
        pads = np.array([0, 0, margin, margin] * 2, np.int64)
        x = self.node("Pad", x, self.constant(f"pads{margin}", pads), mode="reflect")
        if self.options.blocks and name == "conv2.conv":
            kinds = ("weight", "bias")
            return self.blocks(
                name, x, *(self.tensors[f"{name}.{kind}"].astype(self.kind) for kind in kinds)
            )
        weights = (self.weight(f"{name}.weight"), self.weight(f"{name}.bias"))
        attributes: dict[str, Any] = {"strides": [stride, stride]}
        if self.options.wide:
            attributes["kernel_shape"] = [side, side]
        return self.node("Conv", x, *weights, **attributes)

    def norm(self, name: str, x: str) -> str:
        weights = (self.row(f"{name}.weight"), self.row(f"{name}.bias"))
        if not self.options.means:
            return self.node("InstanceNormalization", x, *weights, epsilon=EPS)
        column = self.constant("column", np.array([1, -1, 1, 1], np.int64))
        weight, bias = (self.node("Reshape", row, column) for row in weights)
        away = self.node("Sub", x, self.mean(x))
        variance = self.mean(self.node("Mul", away, away))
        deviation = self.node("Sqrt", self.node("Add", variance, self.number("epsilon", EPS)))
        return self.node("Add", self.node("Mul", away, self.node("Div", weight, deviation)), bias)

    def mean(self, x: str) -> str:
        """Of each channel (B, C, H, W) -> (B, C, 1, 1): of the means of its rows."""
        for axis in (3, 2):
            axes = self.constant(f"axis_{axis}", np.array([axis], np.int64))
            x = self.node("ReduceMean", x, axes, keepdims=1)
        return x

    def row(self, name: str) -> str:
        """Of an instance norm: as it is, or its rows by their shares."""
        if self._shares is None:
            return self.weight(name)
        rows = self.constant(name, self.tensors[name].astype(np.float32))
        mixed = self.node("MatMul", self._shares, rows)
        if self.kind == np.float32:
            return mixed
        return self.node("Cast", mixed, to=element_type(self.kind))

    def relu(self, x: str) -> str:
        return self.node("Relu", x)

    def enlarged(self, x: str, *, like: str, mode: str, step: int) -> str:
        """``UpsampleConvLayer``: twice the size, less the row or column that is one too many.

        ``like`` has the size to come, which is that of the photo divided by ``step``, rounded up.
        """
        scales = self.constant("scales", np.array([1, 1, 2, 2], np.float32))
        doubled = self.node("Resize", x, "", scales, **UPSAMPLING[mode])
        if self.size is not None:
            size = [-(-side // step) for side in self.size]
            if all(side % 2 == 0 for side in size):
                return doubled
            ends = self.constant(f"size{step}", np.array(size, np.int64))
        else:
            ends = self.sides(like)
        return self.cropped(doubled, ends)

    def weight(self, name: str) -> str:
        """A tensor of the style, in the type it is computed with."""
        if self.options.wide:
            return self.constant(name, self.tensors[name].astype(self.kind))
        stored = self.constant(name, self.tensors[name])
        if self.tensors[name].dtype == self.kind:
            return stored
        return self.node("Cast", stored, to=element_type(self.kind))
