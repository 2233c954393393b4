"""An ONNX file to the names, types and shapes of its inputs and outputs, read without loading it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from lookalike.encoders.protobuf import Buffer, entries, fields, reading
from lookalike.errors import EncoderError

# Numbers of TensorProto.DataType.
TYPES: dict[int, DTypeLike] = {1: np.float32, 2: np.uint8, 10: np.float16, 11: np.float64}
# Field numbers of onnx.proto3.
GRAPH, FUNCTION = 7, 25
NODE, INITIALIZER, INPUT, OUTPUT, SPARSE = 1, 5, 11, 12, 15
NODE_OF_FUNCTION = 7
# Operators that take the range of all their input, so that an image's result depends on the others in its batch.
PER_BATCH = (b"DynamicQuantizeLinear", b"DynamicQuantizeMatMul", b"DynamicQuantizeLSTM")


@dataclass(frozen=True)
class Value:
    """An input or output: `dtype` is None for a type that is no image or vector, a side None where it may vary.

    `shape` is None where the file does not say how many sides there are.
    """

    name: str
    dtype: DTypeLike | None
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        sides = "?" if self.shape is None else " x ".join(str(side or "n") for side in self.shape[:8])
        return f"{self.label} ({sides})"

    @property
    def label(self) -> str:
        """The name for a message of one line: it is whatever the file says."""
        return (self.name if self.name.isprintable() else repr(self.name))[:80]


@dataclass(frozen=True)
class Signature:
    """The inputs that must be given, the outputs, and whether an image's output depends on the others in its batch."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    mixes_batch: bool


def read_signature(path: Path) -> Signature:
    """Raises EncoderError for a file that is missing, too long or damaged."""
    with reading(path) as model:
        parts = [part for graph in _contents(model, GRAPH) for part in fields(graph)]
        inputs, outputs = ([_value(value) for field, value in parts if field == kind] for kind in (INPUT, OUTPUT))
        stored = {_initializer(field, tensor) for field, tensor in parts if field in (INITIALIZER, SPARSE)}
        nodes = [node for field, node in parts if field == NODE]
        nodes += [node for function in _contents(model, FUNCTION) for node in _contents(function, NODE_OF_FUNCTION)]
        operators = {bytes(_last(node, 4)) for node in nodes}
    if not inputs or not outputs:
        raise EncoderError(f"{path} is no usable ONNX file (it has no graph with an input and an output)")
    # Old exporters list the weights among the inputs.
    required = tuple(value for value in inputs if value.name not in stored)
    return Signature(required, tuple(outputs), not operators.isdisjoint(PER_BATCH))


def _initializer(field: int, tensor: Buffer) -> str:
    """The name of a tensor; of a sparse one, it is the name of its values."""
    return _text(_last(_last(tensor, 1) if field == SPARSE else tensor, 8))


def _value(message: Buffer) -> Value:
    """A ValueInfoProto; only a tensor has a shape."""
    tensor = list(entries(_last(_last(message, 2), 1)))
    kind = next((value for field, value in reversed(tensor) if field == 1 and isinstance(value, int)), 0)
    shapes = [value for field, value in tensor if field == 2 and not isinstance(value, int)]
    shape = tuple(_side(side) for field, side in fields(shapes[-1]) if field == 1) if shapes else None
    return Value(_text(_last(message, 1)), TYPES.get(kind), shape)


def _side(message: Buffer) -> int | None:
    """A dimension; a name, a zero or a negative number is one that may vary."""
    numbers = [value for field, value in entries(message) if field == 1 and isinstance(value, int)]
    return numbers[-1] if numbers and 0 < numbers[-1] < 2**31 else None


def _last(message: Buffer, field: int) -> Buffer:
    """The content of a field; as in protobuf, the last one counts. Empty where there is none."""
    return next(reversed(list(_contents(message, field))), memoryview(b""))


def _contents(message: Buffer, field: int) -> Iterator[Buffer]:
    return (value for number, value in fields(message) if number == field)


def _text(message: Buffer) -> str:
    return bytes(message).decode("utf-8")
