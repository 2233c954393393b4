"""Nodes and arrays to an ONNX file with its weights beside it, through the few protobuf messages that are needed.

Field numbers are those of onnx.proto3. Weights are in one raw file, each aligned so that it can be memory-mapped.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 4096
INLINE = 1024  # bytes; smaller arrays are stored in the graph itself
TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "float16": 10}
FLOAT, INT, STRING, INTS = 1, 2, 3, 7
Shape = Sequence[int | str]


class Weights:
    """The file with the arrays of one or more graphs; an array that two graphs share is written once."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self.name = file, name
        self._places: dict[str, tuple[int, int]] = {}

    def place(self, key: str, array: NDArray[Any]) -> tuple[int, int]:
        """The offset and length in bytes of the array of this name, which is written where it is new."""
        if key not in self._places:
            self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT))
            self._places[key] = self._file.tell(), array.nbytes
            self._file.write(np.ascontiguousarray(array).data)
        return self._places[key]


class Graph:
    """A graph under construction; `add` returns the name of the node's first output."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[bytes] = []
        self._tensors: dict[str, bytes] = {}
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []

    def copy(self) -> "Graph":
        """A copy of the graph so far, with the same weights file."""
        twin = Graph(self._weights)
        twin._nodes, twin._tensors = list(self._nodes), dict(self._tensors)
        twin._inputs, twin._outputs = list(self._inputs), list(self._outputs)
        return twin

    def input(self, name: str, kind: str, shape: Shape) -> str:
        """Add an input; a word in `shape` stands for a size that is known only at run time."""
        self._inputs.append(_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: str, shape: Shape) -> None:
        """Make an existing value an output of the graph."""
        self._outputs.append(_value_info(name, kind, shape))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Add an array; its name must be unique in all graphs that share the weights."""
        if name not in self._tensors:
            self._tensors[name] = self._tensor(name, array)
        return name

    def add(
        self, kind: str, inputs: Sequence[str], output: str, *more: str, domain: str = "", **attributes: Any
    ) -> str:
        """Add a node; `output` and `more` name its outputs. An empty name leaves an input or output out."""
        parts = [_text(1, name) for name in inputs] + [_text(2, name) for name in (output, *more)]
        parts += [_text(3, f"{kind} {output}"), _text(4, kind)]
        parts += [_message(5, _attribute(name, value)) for name, value in attributes.items()]
        self._nodes.append(b"".join(parts) + (_text(7, domain) if domain else b""))
        return output

    def fused(self, kind: str, inputs: Sequence[str], output: str, *more: str, **attributes: Any) -> str:
        """Add a node of one of ONNX Runtime's own operators."""
        return self.add(kind, inputs, output, *more, domain="com.microsoft", **attributes)

    def write(self, path: Path, opset: int = 17) -> None:
        """Write the graph as a model file."""
        path.write_bytes(self.to_bytes(opset))

    def to_bytes(self, opset: int = 17) -> bytes:
        """The graph as a model file has it."""
        graph = [_message(1, node) for node in self._nodes] + [_text(2, "lookalike")]
        graph += [_message(5, tensor) for tensor in self._tensors.values()]
        graph += [_message(11, value) for value in self._inputs] + [_message(12, value) for value in self._outputs]
        sets = [_message(8, _text(1, domain) + _number(2, version)) for domain, version in _opsets(opset)]
        return _number(1, 8) + _text(2, "lookalike") + _message(7, b"".join(graph)) + b"".join(sets)

    def _tensor(self, name: str, array: NDArray[Any]) -> bytes:
        head = b"".join(_number(1, size) for size in array.shape) + _number(2, TYPES[array.dtype.name]) + _text(8, name)
        if array.nbytes <= INLINE:
            return head + _message(9, np.ascontiguousarray(array).tobytes())
        offset, length = self._weights.place(name, array)
        entries = {"location": self._weights.name, "offset": str(offset), "length": str(length)}
        external = b"".join(_message(13, _text(1, key) + _text(2, value)) for key, value in entries.items())
        return head + external + _number(14, 1)


def _opsets(opset: int) -> list[tuple[str, int]]:
    return [("", opset), ("com.microsoft", 1)]


def _value_info(name: str, kind: str, shape: Shape) -> bytes:
    sizes = [_text(2, size) if isinstance(size, str) else _number(1, size) for size in shape]
    tensor = _number(1, TYPES[kind]) + _message(2, b"".join(_message(1, size) for size in sizes))
    return _text(1, name) + _message(2, _message(1, tensor))


def _attribute(name: str, value: Any) -> bytes:
    head = _text(1, name)
    if isinstance(value, float):
        return head + _key(2, 5) + struct.pack("<f", value) + _number(20, FLOAT)
    if isinstance(value, int):
        return head + _number(3, value) + _number(20, INT)
    if isinstance(value, str):
        return head + _text(4, value) + _number(20, STRING)
    return head + b"".join(_number(8, item) for item in value) + _number(20, INTS)


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _message(field: int, value: bytes) -> bytes:
    return _key(field, 2) + _varint(len(value)) + value


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value)


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # a negative number takes ten bytes
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
