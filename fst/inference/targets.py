"""Who can run an exported file: one table of what each target takes, and what it is refused for.

The facts and where they are from, as of November 2026:

- OpenCV 4 has no shapes that are computed (opencv/opencv issues 18072 and 26141, 2020 to 2024: to
  be exported with a fixed size); OpenCV 5 has. Opsets and operators are those that were tried: 4.14
  ends at a Gather of colors without a word, 5.0 with an error, and both refuse a MatMul of one row
  (``scripts/proofs/opencv_4.sh`` runs the tests of our graphs in OpenCV 4). 4.6 reads no float16
  weights, and no convolution that leaves out the size of its kernel.
- Unity's Sentis (Inference Engine): opsets 7 to 15 in its manual of 2.4 ("Supported models"), 25 in
  2.6 ("What's new"); operators and their types in "Supported ONNX operators". Its tensors are float
  or int, an ONNX uint8 is read as int, and ``TextureConverter`` makes floats in 0 .. 1 ("Convert a
  texture to a tensor").
- TensorRT: opsets 9 to 25 of TensorRT 11 ("ONNX Opset Guide"); operators in onnx-tensorrt's
  ``docs/operators.md``, by which the scale and shift of an instance norm must be initializers. A
  uint8 input is known from 8.5 on and may go into a Cast only (NVIDIA/TensorRT issue 3985).
- Core ML reads no ONNX: coremltools 6 dropped that converter. ``fst.inference.coreml_file``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fst.errors import FstError
from fst.inference.onnx_graph import OPSET, GraphOptions
from fst.inference.onnx_proto import ELEMENT_TYPES
from fst.inference.onnx_read import Graph, Value, read_graph

# of those that our graphs have; all three targets list them
_NAMES = """Add Cast Concat Conv Div Exp Gather InstanceNormalization Log MatMul Max Min Mul Neg Pad
ReduceMax ReduceMin ReduceSum Relu Resize Round Shape Slice Sub Tanh"""
OPERATORS = frozenset(_NAMES.split())


@dataclass(frozen=True)
class Target:
    """A program that is to run a file, and what it takes.

    ``opsets`` are those it reads, ``opset`` the one that is written unless another is asked for.
    ``pixels`` are the types that it can be given and can return, by ONNX's names of numpy's.
    """

    title: str
    file_format: str = "onnx"
    opsets: range = range(0)
    opset: int = OPSET
    operators: frozenset[str] = OPERATORS
    types: frozenset[str] = frozenset(("uint8", "float32"))
    constants: frozenset[str] = frozenset(ELEMENT_TYPES)  # what weights and sizes may be stored as
    wide: bool = False  # weights are stored in the type that they are computed with
    constant_norms: bool = False  # scales and shifts of instance norms stand in the file
    uint8_is_cast: bool = False  # a uint8 input goes into Cast alone
    cures: dict[str, str] = field(default_factory=dict)  # what is refused -> what to do


TARGETS = {
    "opencv": Target(
        "OpenCV 4",
        opsets=range(13, 29),
        constants=frozenset(ELEMENT_TYPES) - {"float16"},
        wide=True,
        operators=OPERATORS - {"Gather", "MatMul", "Shape"},  # MatMul: of one row of numbers
        cures={
            "Gather": "leave colors out of --inputs",
            "MatMul": "leave styles out of --inputs, and strength if the net takes it",
            "Shape": "give --size HEIGHTxWIDTH",
            "float16": "leave out --half",
        },
    ),
    "unity": Target(
        "Unity's Sentis",
        opsets=range(7, 26),
        opset=15,
        types=frozenset(("float32",)),
    ),
    "tensorrt": Target(
        "TensorRT",
        opsets=range(9, 26),
        wide=True,
        constant_norms=True,
        uint8_is_cast=True,
        cures={"norms": "leave strength and styles out of --inputs, or export one painting"},
    ),
    "coreml": Target("Core ML", file_format="coreml"),
}


def suited(target: Target, options: GraphOptions) -> GraphOptions:
    """The options of a graph as this target needs them, where nothing else was asked for."""
    options = replace(options, wide=options.wide or target.wide)
    if "uint8" not in target.types:
        options = replace(options, floats=True)
    return options


def require_runnable(target: Target, data: bytes) -> None:
    """Raise ``FstError`` naming the first thing in an ``.onnx`` file that the target refuses."""
    graph = read_graph(data)
    if graph.opset not in target.opsets:
        first, last = target.opsets[0], target.opsets[-1]
        raise FstError(
            f"{target.title} reads opsets {first} to {last}, and not {graph.opset}; give another "
            "--opset"
        )
    missing = sorted({node.kind for node in graph.nodes} - target.operators)
    if missing:
        raise _refused(target, f"has no operator {missing[0]} as it is used here", missing[0])
    for value in [*graph.inputs, *graph.outputs]:
        if value.kind not in target.types:
            raise _refused(target, f"takes no {value.kind}, which {value.name} is", value.kind)
    for name, kind in graph.constants.items():
        if kind not in target.constants:
            raise _refused(target, f"reads no {kind}, which {name} is stored as", kind)
    if target.uint8_is_cast:
        _require_cast(target, graph, graph.inputs)
    if target.constant_norms:
        _require_constant_norms(target, graph)


def _require_cast(target: Target, graph: Graph, inputs: Iterable[Value]) -> None:
    for value in inputs:
        kinds = {node.kind for node in graph.nodes if value.name in node.inputs} - {"Cast"}
        if value.kind == "uint8" and kinds:
            what = f"takes uint8 into Cast alone, and {value.name} goes into {min(kinds)}"
            raise _refused(target, what, "uint8")


def _require_constant_norms(target: Target, graph: Graph) -> None:
    for node in graph.nodes:
        if node.kind == "InstanceNormalization" and not {*node.inputs[1:]} <= {*graph.constants}:
            what = "wants the scales and shifts of instance norms as constants"
            raise _refused(target, what, "norms")


def _refused(target: Target, what: str, key: str) -> FstError:
    cure = target.cures.get(key, "please report this")
    return FstError(f"{target.title} {what}; {cure}")
