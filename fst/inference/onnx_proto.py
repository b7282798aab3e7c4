"""The bytes of an ``.onnx`` file, as protocol buffers have them: the few messages of our graphs.

The package ``onnx`` would do the same in 45 MB and a quarter of a second of every start. Field
numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; fields are written in
the order of their numbers, so the bytes are those that ``onnx`` itself would write
(``tests/test_onnx_graph.py``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

# TensorProto.DataType
ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "float16": 10, "float64": 11}
# version of the operators -> the least version of the format that has it
IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9}
IR_VERSIONS |= {21: 10, 22: 10, 23: 11, 24: 12, 25: 13, 26: 13, 27: 13, 28: 14}

Attribute = float | str | Sequence[int]  # a whole number is one, too
Shape = Sequence[int | str]  # a side, or the name of one that is not fixed


def element_type(kind: np.dtype) -> int:
    """ONNX's number of a type of numpy's."""
    return ELEMENT_TYPES[np.dtype(kind).name]


def node(
    kind: str, inputs: Iterable[str], output: str, attributes: Mapping[str, Attribute]
) -> bytes:
    """A NodeProto of one output, by which it is called."""
    parts = [_text(1, name) for name in inputs]
    parts += [_text(2, output), _text(3, output), _text(4, kind)]
    parts += [_bytes(5, _attribute(name, value)) for name, value in sorted(attributes.items())]
    return b"".join(parts)


def tensor(name: str, value: np.ndarray) -> bytes:
    """A TensorProto with its values as raw bytes, the lowest first."""
    data = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
    dims = b"".join(_int(1, side) for side in value.shape)
    return dims + _int(2, element_type(value.dtype)) + _text(8, name) + _bytes(9, data)


def value(name: str, kind: type, shape: Shape) -> bytes:
    """A ValueInfoProto: what goes into a graph or comes out."""
    sides = b"".join(
        _bytes(1, _int(1, side) if isinstance(side, int) else _text(2, side)) for side in shape
    )
    of_tensor = _int(1, element_type(np.dtype(kind))) + _bytes(2, sides)
    return _text(1, name) + _bytes(2, _bytes(1, of_tensor))


def model(
    name: str,
    *,
    nodes: Iterable[bytes],
    constants: Iterable[bytes],
    inputs: Iterable[bytes],
    outputs: Iterable[bytes],
    opset: int,
    metadata: Mapping[str, str],
) -> bytes:
    """A ModelProto: the whole file."""
    graph = b"".join(
        [
            *(_bytes(1, one) for one in nodes),
            _text(2, name),
            *(_bytes(5, one) for one in constants),
            *(_bytes(11, one) for one in inputs),
            *(_bytes(12, one) for one in outputs),
        ]
    )
    operators = _text(1, "") + _int(2, opset)
    head = _int(1, IR_VERSIONS[opset]) + _text(2, "fst") + _bytes(7, graph) + _bytes(8, operators)
    said = (_bytes(14, _text(1, key) + _text(2, value)) for key, value in metadata.items())
    return head + b"".join(said)


def _attribute(name: str, value: Attribute) -> bytes:
    """An AttributeProto; its last field says which of the others counts."""
    if isinstance(value, str):
        return _text(1, name) + _text(4, value) + _int(20, 3)
    if isinstance(value, int):
        return _text(1, name) + _int(3, value) + _int(20, 2)
    if isinstance(value, float):
        return _text(1, name) + _key(2, 5) + struct.pack("<f", value) + _int(20, 1)
    return _text(1, name) + b"".join(_int(8, one) for one in value) + _int(20, 7)


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def _bytes(field: int, data: bytes) -> bytes:
    return _key(field, 2) + _varint(len(data)) + data


def _int(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value)


def _key(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that there are more."""
    assert value >= 0
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])
