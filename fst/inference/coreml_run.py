"""A Core ML package of ours, read back from its files and computed in numpy.

Core ML runs on Apple's systems alone. This is a reader of the few operations that
``fst.inference.coreml_file`` writes, by their definitions in coremltools' MIL reference, and of the
weights' file, so that what stands in a package can be compared with the net anywhere. Each result
is rounded to the type that the program gives it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Given = dict[str, Any]  # inputs of an operation by name


def run_of_package(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The folder of a package -> a function of pixels (1, 3, H, W) uint8 RGB to the same."""
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model()
    data = path / "Data" / "com.apple.CoreML"
    spec.ParseFromString((data / "model.mlmodel").read_bytes())
    weights = (data / "weights" / "weight.bin").read_bytes()
    (function,) = spec.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    (given,) = function.inputs

    def run(pixels: np.ndarray) -> np.ndarray:
        values: dict[str, Any] = {given.name: pixels.astype(np.float32)}
        for operation in block.operations:
            (output,) = operation.outputs
            values[output.name] = _result(operation, values, weights)
        return np.asarray(values[block.outputs[0]]).astype(np.uint8)

    return run


def _result(operation: Any, values: dict[str, Any], weights: bytes) -> Any:
    if operation.type == "const":
        return _constant(operation.attributes["val"], weights)
    inputs = {}
    for name, argument in operation.inputs.items():
        (one,) = argument.arguments
        inputs[name] = values[one.name] if one.name else _constant(one.value, weights)
    made = OPERATIONS[operation.type](inputs)
    return made.astype(_kind(operation.outputs[0].type.tensorType.dataType))


def _kind(number: int) -> type:
    return {10: np.float16, 11: np.float32}[number]  # MIL.proto's DataType


def _constant(value: Any, weights: bytes) -> Any:
    """A value of the program: a number, a text, a list, or an array in the weights' file."""
    tensor = value.type.tensorType
    shape = [dimension.constant.size for dimension in tensor.dimensions]
    if value.HasField("blobFileValue"):
        # 64 bytes say what follows: a mark, the type, the bytes, and where they begin
        at = value.blobFileValue.offset
        mark, _, count, start = struct.unpack_from("<IIQQ", weights, at)
        assert mark == 0xDEADBEEF
        data = weights[start : start + count]
        return np.frombuffer(data, np.dtype(_kind(tensor.dataType))).reshape(shape)
    kind = value.immediateValue.tensor.WhichOneof("value")
    stored = getattr(value.immediateValue.tensor, kind).values
    if kind == "bytes":
        return np.frombuffer(stored, _kind(tensor.dataType)).reshape(shape)
    made = [*stored]
    if kind == "floats":
        return np.array(made, np.float32).reshape(shape)
    return made if shape else made[0]


def _conv(given: Given) -> np.ndarray:
    x, weight = given["x"][0].astype(np.float32), given["weight"].astype(np.float32)
    step = given["strides"][0]
    rows, columns = (1 + (side - weight.shape[-1]) // step for side in x.shape[1:])
    made = np.zeros((len(weight), rows, columns), np.float32)
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            part = x[:, i : i + rows * step : step, j : j + columns * step : step]
            made += np.tensordot(weight[:, :, i, j], part, 1)
    return made[None] + given["bias"].astype(np.float32)[:, None, None]


def _pad(given: Given) -> np.ndarray:
    edges = np.array(given["pad"]).reshape(4, 2)
    return np.pad(given["x"], edges, mode=given["mode"])


def _instance_norm(given: Given) -> np.ndarray:
    x = given["x"].astype(np.float32)
    mean, variance = (part(x, axis=(2, 3), keepdims=True) for part in (np.mean, np.var))
    gamma, beta = (given[name].astype(np.float32)[:, None, None] for name in ("gamma", "beta"))
    return (x - mean) / np.sqrt(variance + np.float32(given["epsilon"])) * gamma + beta


def _upsample_bilinear(given: Given) -> np.ndarray:
    assert not given["align_corners"]
    return _doubled(_doubled(given["x"].astype(np.float32), axis=2), axis=3)


def _doubled(x: np.ndarray, axis: int) -> np.ndarray:
    """Twice as long: three quarters of the nearest, and a quarter of its other neighbor."""
    last = x.shape[axis] - 1
    before = np.take(x, [0, *range(last)], axis)
    after = np.take(x, [*range(1, last + 1), last], axis)
    both = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
    return both.reshape([side * (1 + (at == axis)) for at, side in enumerate(x.shape)])


def _slice_by_index(given: Given) -> np.ndarray:
    return given["x"][tuple(map(slice, given["begin"], given["end"]))]


OPERATIONS: dict[str, Callable[[Given], np.ndarray]] = {
    "add": lambda given: given["x"] + given["y"],
    "cast": lambda given: given["x"],  # to the type that it is given
    "conv": _conv,
    "instance_norm": _instance_norm,
    "mul": lambda given: given["x"] * given["y"],
    "pad": _pad,
    "relu": lambda given: np.maximum(given["x"], 0),
    "round": lambda given: np.rint(given["x"]),
    "slice_by_index": _slice_by_index,
    "tanh": lambda given: np.tanh(given["x"]),
    "upsample_bilinear": _upsample_bilinear,
    "upsample_nearest_neighbor": lambda given: given["x"].repeat(2, 2).repeat(2, 3),
}
