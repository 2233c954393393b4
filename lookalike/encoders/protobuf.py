"""An ONNX file, a message of protobuf, to its fields, which are views of the mapped file: nothing is loaded."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lookalike.errors import EncoderError

MOST_BYTES = 2**31 - 1
"""The longest message of protobuf, and so the longest ONNX file; its weights may lie beside it."""
Buffer = memoryview


@contextmanager
def reading(path: Path) -> Iterator[Buffer]:
    """The message in a file; raises EncoderError for one that is missing, too long, or damaged where it is read."""
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise EncoderError(
                f"{path} has {size:,} bytes, over protobuf's limit of {MOST_BYTES:,}; "
                "export it with its weights in a file beside it"
            )
        with path.open("rb") as file:
            yield memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError, IndexError, TypeError, RecursionError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "damaged"
        raise EncoderError(f"{path} is no usable ONNX file ({reason})") from error


def fields(message: Buffer) -> Iterator[tuple[int, Buffer]]:
    """Field numbers and contents of the length-delimited fields; other fields are skipped."""
    return ((field, value) for field, value in entries(message) if not isinstance(value, int))


def entries(message: Buffer) -> Iterator[tuple[int, Buffer | int]]:
    """As `fields`, with the whole numbers among them, each as it is stored: without a sign."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        kind = tag & 7
        if tag < 8:
            raise ValueError("a field without a number")
        if kind == 2:
            length, at = _varint(message, at)
            if at + length > end:
                raise ValueError("a field ends beyond its message")
            yield tag >> 3, message[at : at + length]
            at += length
        elif kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")


def _varint(message: Buffer, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number is too long")
