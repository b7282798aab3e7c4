"""The pieces of a tiled pass as small ONNX graphs, for ONNX Runtime and OpenVINO.

A piece's graph is written once its norms are known, with their numbers among the constants, and
takes tiles of any size: paddings and crops are inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fst.inference import onnx_proto
from fst.inference.onnx_graph import OPSET, UPSAMPLING, Nodes
from fst.inference.onnx_proto import element_type
from fst.inference.tile_plan import (
    BEGIN_OF_NORM,
    BEGIN_OF_PHOTO,
    BEGIN_OF_SUM,
    Conv,
    Piece,
    Spans,
)
from fst.inference.tiled_pass import Affine, BoundPiece, Made, Run

TO_FRONT, TO_BACK = [0, 3, 1, 2], [0, 2, 3, 1]  # of the channels, which a map has last
BEGUN, LAST, MEAN, VARIANCE = "begun", "last", "mean", "variance"

RunGraph = Callable[[dict[str, np.ndarray]], list[np.ndarray]]  # inputs by name -> outputs
OpenGraph = Callable[[bytes], RunGraph]


class GraphEngine:
    """Opens each piece's graph in a runtime; ``open_graph`` is of one."""

    def __init__(self, open_graph: OpenGraph) -> None:
        self._open = open_graph

    def prepare(self, bound: BoundPiece) -> Run:
        """The piece, compiled."""
        names = _outputs(bound.piece)
        run_graph = self._open(piece_graph(bound))

        def run(sources: list[np.ndarray], rows: Spans, columns: Spans) -> Made:
            inputs = {f"read{i}": np.ascontiguousarray(x[None]) for i, x in enumerate(sources)}
            inputs |= _steps(bound.piece, rows, columns)
            made = dict(zip(names, run_graph(inputs), strict=True))
            begun, last = (made[name][0] if name in made else None for name in (BEGUN, LAST))
            return Made(begun, last, made.get(MEAN), made.get(VARIANCE))

        return run


def piece_graph(bound: BoundPiece) -> bytes:
    """The bytes of the graph: ``read0`` ... (1, rows, columns, C), and ``steps`` of each layer."""
    piece, nodes = bound.piece, Nodes()
    x = _begun(nodes, piece, bound.begin)
    if piece.keeps:
        nodes.node("Transpose", x, perm=TO_BACK, name=BEGUN)
    for number, layer in enumerate(piece.layers):
        steps = f"steps{number}"
        if isinstance(layer, Conv):
            weight, bias = bound.convs[layer.name]
            x = nodes.node("Pad", x, steps, mode="reflect")
            if layer.makes_picture:
                x = nodes.blocks(layer.name, x, weight, bias)
            else:
                weights = (
                    nodes.constant(f"{layer.name}.{kind}", values)
                    for kind, values in (("weight", weight), ("bias", bias))
                )
                x = nodes.node("Conv", x, *weights, strides=[layer.stride] * 2)
            if layer.norm is not None:
                x = nodes.node("Relu", x)
        else:
            x = _doubled(nodes, x, steps, bound.mode)
    if piece.measures is None:
        _end_in_pixels(nodes, x, bound.output_gain)
    else:
        _measure(nodes, x)
        if piece.writes is not None:
            nodes.node("Transpose", x, perm=TO_BACK, name=LAST)
    channels = next(c.channels_in for c in piece.layers if isinstance(c, Conv))
    kind = np.uint8 if piece.begin == BEGIN_OF_PHOTO else np.float32
    read: list[int | str] = [1, "rows", "columns", channels]
    return onnx_proto.model(
        "piece",
        nodes=nodes.nodes,
        constants=nodes.constants,
        inputs=[
            *(onnx_proto.value(f"read{i}", kind, read) for i in range(max(len(piece.reads), 1))),
            *(
                onnx_proto.value(f"steps{number}", np.int64, [8 if isinstance(layer, Conv) else 4])
                for number, layer in enumerate(piece.layers)
            ),
        ],
        outputs=[_output(name, piece) for name in _outputs(piece)],
        opset=OPSET,
        metadata={},
    )


def _begun(nodes: Nodes, piece: Piece, begin: Affine | None) -> str:
    """(1, C, rows, columns) float32 that goes into the first layer."""
    if piece.begin == BEGIN_OF_PHOTO:
        x = nodes.node("Cast", "read0", to=element_type(np.dtype(np.float32)))
        x = nodes.node("Div", x, nodes.number("levels", 255))
        return nodes.node("Transpose", x, perm=TO_FRONT)
    x = nodes.node("Transpose", "read0", perm=TO_FRONT)
    if begin is None:
        return x
    due = x
    if piece.begin == BEGIN_OF_SUM:
        due = nodes.node("Transpose", "read1", perm=TO_FRONT)
    scale, shift = (
        nodes.constant(name, values.reshape(1, -1, 1, 1))
        for name, values in (("scale", begin.scale), ("shift", begin.shift))
    )
    due = nodes.node("Add", nodes.node("Mul", due, scale), shift)
    if piece.begin == BEGIN_OF_NORM:
        return nodes.node("Relu", due)
    return nodes.node("Add", x, due)


def _doubled(nodes: Nodes, x: str, steps: str, mode: str) -> str:
    """Twice the size, and of that the part from the first two of ``steps`` to the last two."""
    scales = nodes.constant("scales", np.array([1, 1, 2, 2], np.float32))
    doubled = nodes.node("Resize", x, "", scales, **UPSAMPLING[mode])
    zero, two, four = (
        nodes.constant(name, np.array([value], np.int64))
        for name, value in (("at_0", 0), ("at_2", 2), ("at_4", 4))
    )
    starts, stops = nodes.node("Slice", steps, zero, two), nodes.node("Slice", steps, two, four)
    axes = nodes.constant("rows_columns", np.array([2, 3], np.int64))
    return nodes.node("Slice", doubled, starts, stops, axes)


def _measure(nodes: Nodes, x: str) -> None:
    """Mean and variance of each channel, the variance around the mean that was found."""
    axes = nodes.constant("rows_columns", np.array([2, 3], np.int64))
    mean = nodes.node("ReduceMean", x, axes, keepdims=1)
    away = nodes.node("Sub", x, mean)
    flat = nodes.constant("flat", np.array([-1], np.int64))
    nodes.node("Reshape", mean, flat, name=MEAN)
    squares = nodes.node("Mul", away, away)
    nodes.node(
        "ReduceMean",
        squares,
        nodes.constant("all", np.array([0, 2, 3], np.int64)),
        keepdims=0,
        name=VARIANCE,
    )


def _end_in_pixels(nodes: Nodes, x: str, gain: float) -> None:
    x = nodes.node("Tanh", nodes.node("Mul", x, nodes.number("output_gain", gain)))
    x = nodes.node("Div", nodes.node("Add", x, nodes.number("one", 1)), nodes.number("two", 2))
    x = nodes.node("Round", nodes.node("Mul", x, nodes.number("white", 255)))
    x = nodes.node("Transpose", x, perm=TO_BACK)
    nodes.node("Cast", x, to=element_type(np.dtype(np.uint8)), name=LAST)


def _outputs(piece: Piece) -> list[str]:
    """Their names, in the graph's order."""
    last = [LAST] if piece.writes is not None or piece.measures is None else []
    measured = [] if piece.measures is None else [MEAN, VARIANCE]
    return [*([BEGUN] if piece.keeps else []), *last, *measured]


def _output(name: str, piece: Piece) -> bytes:
    if name in (MEAN, VARIANCE):
        return onnx_proto.value(name, np.float32, ["channels"])
    kind = np.uint8 if piece.measures is None else np.float32
    sides: list[int | str] = [1, *(f"{name}_{axis}" for axis in ("rows", "columns", "channels"))]
    return onnx_proto.value(name, kind, sides)


def _steps(piece: Piece, rows: Spans, columns: Spans) -> dict[str, np.ndarray]:
    """A convolution's pads as ONNX has them; an enlargement's starts and stops."""
    found = {}
    for number, (layer, down, across) in enumerate(
        zip(piece.layers, rows.steps, columns.steps, strict=True)
    ):
        if isinstance(layer, Conv):
            steps = [0, 0, down[0], across[0], 0, 0, down[1], across[1]]
        else:
            steps = [down[0], across[0], down[0] + down[1], across[0] + across[1]]
        found[f"steps{number}"] = np.array(steps, np.int64)
    return found
