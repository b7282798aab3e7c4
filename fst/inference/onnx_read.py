"""What an ``.onnx`` file holds, as far as one has to know to say who can run it.

``fst.inference.onnx_proto`` writes such files; this reads the few fields that matter here, so that
the package ``onnx`` is not needed. Field numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fst.inference.onnx_proto import ELEMENT_TYPES

NAMES = {number: name for name, number in ELEMENT_TYPES.items()}


@dataclass(frozen=True)
class Node:
    """One node: its operator, and the names of the values that go in and come out."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Value:
    """What goes into a graph or comes out: the name of its type, and its sides, or their names."""

    name: str
    kind: str
    shape: tuple[int | str, ...]


@dataclass
class Graph:
    """The opset of a file, its nodes in their order, the names of its constants, both its ends."""

    opset: int = 0
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, str] = field(default_factory=dict)  # name -> name of its type
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)


def read_graph(data: bytes) -> Graph:
    """The bytes of an ``.onnx`` file -> what it holds. It is one of ours, or one that is whole."""
    graph = Graph()
    for number, value in _fields(data):
        if number == 8:  # opset_import
            said = dict(_fields(_bytes(value)))
            if not said.get(1):  # of ONNX itself
                graph.opset = int(said[2])
        elif number == 7:
            _read_parts(graph, _bytes(value))
    return graph


def _read_parts(graph: Graph, data: bytes) -> None:
    for number, value in _fields(data):
        if number == 1:
            graph.nodes.append(_node(_bytes(value)))
        elif number == 5:
            said = dict(_fields(_bytes(value)))
            graph.constants[_text(said[8])] = _kind(said[2])
        elif number == 11:
            graph.inputs.append(_value(_bytes(value)))
        elif number == 12:
            graph.outputs.append(_value(_bytes(value)))


def _node(data: bytes) -> Node:
    inputs, outputs, kind = [], [], ""
    for number, value in _fields(data):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            kind = _text(value)
    return Node(kind, tuple(inputs), tuple(outputs))


def _value(data: bytes) -> Value:
    said = dict(_fields(data))
    tensor = dict(_fields(_bytes(dict(_fields(_bytes(said[2])))[1])))
    sides: list[int | str] = []
    for number, value in _fields(_bytes(tensor[2])):
        if number == 1:
            side = dict(_fields(_bytes(value)))
            sides.append(int(side[1]) if 1 in side else _text(side.get(2, b"")))
    return Value(_text(said[1]), _kind(tensor[1]), tuple(sides))


def _kind(number: int | bytes) -> str:
    return NAMES.get(int(number), f"type {int(number)}")


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()


def _bytes(value: int | bytes) -> bytes:
    assert isinstance(value, bytes)
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message, (number, value), in their order."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire_type == 2:
            length, at = _varint(data, at)
        else:
            length = {1: 8, 5: 4}[wire_type]
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
