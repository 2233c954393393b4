"""A pickle of plain containers and numpy arrays to those values, and nothing else.

The revisited ground truth is published as a pickle, and unpickling can run any code. This is Python's own unpickler,
restricted to the instructions of plain data: names come from a table and nothing is imported, only the functions in
`_CALLS` are called, and arrays are made here from bytes of the file. The length of the file bounds what is built.

It is the unpickler in Python and not the one in C, which allocates memory for every length and memo index that a file
claims, and hashes keys before they can be checked.
"""

import io
import math
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EvaluationError
from lookalike.utils.files import reason

LARGEST_FILE = 64 * 1024 * 1024
"""The published files have less than one megabyte."""
LONGEST_KEY = 64
"""Bits of a number that is a key of a dict or a member of a set."""
MOST_NUMBERS = 20_000
"""Keys that are numbers. Their hashes can be made to collide; those of text, which are salted, cannot."""
MOST_ARGUMENTS, MOST_SIDES = 16, 64
ELEMENTS = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 f16".split())
# numpy 2 renamed its private modules; both spellings are found in published files.
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric", "numpy")
_NAMES = dict.fromkeys(_NUMPY, ("_reconstruct", "scalar", "_frombuffer", "ndarray", "dtype")) | {
    "_codecs": ("encode",),
    # Early protocols have no instruction for these, and call their constructors.
    **dict.fromkeys(("__builtin__", "builtins"), ("bytes", "bytearray", "set", "frozenset")),
}


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """Something that is not plain data."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A global that the file refers to; never looked up."""

    text: str


@dataclass(slots=True)
class _Dtype:
    """A dtype; the byte order comes with its state."""

    code: str
    order: str = "="


@dataclass(slots=True)
class _Array:
    """An array in the memo; the values come with its state."""

    value: NDArray[Any] | None = None

    def filled(self) -> NDArray[Any]:
        if self.value is None:
            raise ValueError("an array without its state")
        return self.value


def load(path: Path) -> Any:
    """The value in the pickle at `path`; raises EvaluationError that names what is refused."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise EvaluationError(f"{path}: {size:,} bytes, over the limit of {LARGEST_FILE:,} for a ground truth")
        data = path.read_bytes()
    except OSError as error:
        raise EvaluationError(f"{path}: {reason(error)}") from error
    try:
        return loads(data)
    except EvaluationError as error:
        raise EvaluationError(f"{path}: {error}") from error


def loads(data: bytes) -> Any:
    """The value in `data`; raises EvaluationError for anything but plain containers and numpy arrays."""
    try:
        value = _Unpickler(data).load()
        if isinstance(value, _Name | _Dtype | _Array):
            raise _Refused("no value")
        return value
    except _Refused as error:
        raise EvaluationError(f"refused: the pickle holds {error}, a ground truth is plain data") from error
    except (
        pickle.UnpicklingError, struct.error, EOFError, ValueError, LookupError, TypeError, AttributeError,
        OverflowError, RecursionError,
    ) as error:  # fmt: skip
        cause = " ".join(str(error).split())[:80] or "it ends too early"
        raise EvaluationError(f"not a readable pickle ({cause})") from error


class _Memo(dict[int, Any]):
    """Indexes are keys as well, and can have any length; programs that write pickles count from 0 or 1."""

    jumps = 0

    def __setitem__(self, index: int, value: Any) -> None:
        self.jumps += index > len(self) + 1
        if self.jumps > MOST_NUMBERS:
            raise _Refused("a memo without order")
        super().__setitem__(index, value)

    def __getitem__(self, index: int) -> Any:
        value = super().__getitem__(index)
        return value if not isinstance(value, _Array) else value.filled()


class _Unpickler(pickle._Unpickler):
    """Replaces the instructions that call, set attributes, hash, or trust a length."""

    stack: list[Any]

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.memo = _Memo()
        # The bytes that all calls together may copy: a few bytes of the file can request many copies of a long value.
        self.budget, self.numbers = 2 * len(data), 0

    def find_class(self, module: str, name: str) -> _Name:
        if name not in _NAMES.get(module, ()):
            raise _Refused(f"the name {f'{module}.{name}'[:80]!r}")
        return _Name(name)

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name):
            raise _Refused("a call of something that is not a known name")
        self.spend(arguments)
        try:
            self.stack.append(_CALLS[function.text](self, *arguments))
        except (TypeError, KeyError) as error:
            raise _Refused(f"a call of {function.text}") from error

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        self.spend(state)
        if isinstance(target, _Array):
            target.value = self.stack[-1] = _array(*state[1:])
        elif isinstance(target, _Dtype) and state[1] in ("<", ">", "|", "=") and state[2:5] == (None, None, None):
            target.order = state[1]
        else:
            raise _Refused("an object with state")

    def spend(self, values: Any) -> None:
        """Subtract the lengths of a tuple of arguments from the budget."""
        if not isinstance(values, tuple) or len(values) > MOST_ARGUMENTS:
            raise ValueError("expected a tuple of a few arguments")
        self.budget -= sum(len(value) for value in values if isinstance(value, str | bytes | list))
        if self.budget < 0:
            raise _Refused("more copies of its contents than its length explains")

    def keys(self, values: list[Any]) -> list[Any]:
        """Check keys of dicts and members of sets; nested keys are refused, as hashing them can take very long."""
        if not all(value is None or isinstance(value, str | bytes | int | float) for value in values):
            raise _Refused("a key that is not text or a number")
        # Numbers that differ by a multiple of 2 ** 61 - 1 have the same hash, and a table of these takes hours.
        if any(isinstance(value, int) and value.bit_length() > LONGEST_KEY for value in values):
            raise _Refused("a key that is a huge number")
        self.numbers += sum(isinstance(value, int | float) for value in values)
        if self.numbers > MOST_NUMBERS:
            raise _Refused(f"more than {MOST_NUMBERS:,} keys that are numbers")
        return values


def _refuse(_: Any) -> None:
    raise _Refused("an instruction that plain data does not need")


def _hashing(opcode: bytes, keys: slice) -> Callable[[Any], None]:
    """The standard instruction, after a check of the keys at these places of the stack."""
    load = pickle._Unpickler.dispatch[opcode[0]]

    def checked(reader: Any) -> None:
        reader.keys(reader.stack[keys])
        load(reader)

    return checked


_STANDARD = """
    PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT LONG BININT BININT1 BININT2 LONG1 LONG4
    FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_LIST EMPTY_DICT EMPTY_TUPLE EMPTY_SET TUPLE TUPLE1 TUPLE2 TUPLE3 LIST
    APPEND APPENDS PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL
"""
_INSTRUCTIONS: dict[bytes, Callable[[Any], None]] = {
    pickle.REDUCE: _Unpickler.reduce,
    pickle.BUILD: _Unpickler.build,
    # The instruction for bytearrays allocates memory before it reads the bytes.
    pickle.BYTEARRAY8: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],
    pickle.SETITEM: _hashing(pickle.SETITEM, slice(-2, -1)),
    pickle.SETITEMS: _hashing(pickle.SETITEMS, slice(0, None, 2)),
    pickle.DICT: _hashing(pickle.DICT, slice(0, None, 2)),
    pickle.ADDITEMS: _hashing(pickle.ADDITEMS, slice(None)),
    pickle.FROZENSET: _hashing(pickle.FROZENSET, slice(None)),
}
_Unpickler.dispatch = (
    dict.fromkeys(range(256), _refuse)
    | {code: pickle._Unpickler.dispatch[code] for code in (getattr(pickle, name)[0] for name in _STANDARD.split())}
    | {opcode[0]: load for opcode, load in _INSTRUCTIONS.items()}
)


def _is(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}")
    return value


_LATIN = dict.fromkeys(("latin1", "latin-1"), "latin1")
_CALLS: dict[str, Callable[..., Any]] = {
    "encode": lambda _, text, encoding: _is(str, text).encode(_LATIN[_is(str, encoding)]),
    "bytes": lambda _: b"",
    "bytearray": lambda _, data=b"": _is(bytes, data),
    "set": lambda reader, *items: set(reader.keys(_is(list, *items) if items else [])),
    "frozenset": lambda reader, *items: frozenset(reader.keys(_is(list, *items) if items else [])),
    "dtype": lambda _, code, *_rest: _Dtype(_is(str, code)),
    "_reconstruct": lambda *_: _Array(),
    "_frombuffer": lambda _, data, dtype, shape, order: _array(shape, dtype, order == "F", data),
    "scalar": lambda _, dtype, data: _array((), dtype, False, data)[()],
}


def _array(shape: Any, dtype: Any, fortran: Any, data: Any) -> NDArray[Any]:
    if isinstance(data, str):  # Python 2 wrote its bytes as text.
        data = data.encode("latin1")
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
        raise _Refused("an array of objects")
    if dtype.code not in ELEMENTS:
        raise _Refused(f"arrays of {dtype.code[:20]!r}")
    if not isinstance(shape, tuple) or len(shape) > MOST_SIDES:
        raise ValueError("an array's shape must be a few numbers")
    if not all(type(side) is int and 0 <= side < 2**63 for side in shape):
        raise ValueError("an array's shape must be whole numbers")
    kind = np.dtype(dtype.order + dtype.code)
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"an array of {shape} {kind} cannot have {len(data)} bytes")
    return np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")
