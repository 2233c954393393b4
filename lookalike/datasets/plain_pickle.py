"""A pickle of plain containers and numpy arrays to those values, without Python's unpickler.

The revisited ground truth is published as a pickle, and unpickling can run any code. This reads the opcodes as a small
stack machine of its own: it builds dicts, lists, tuples, sets, text, bytes, numbers, None and numpy arrays, scalars and
dtypes, from a table of known names, and calls nothing else. It imports nothing that the file names, so there is nothing
to execute; what it builds is bounded by the length of the file.
"""

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from lookalike.errors import EvaluationError

LARGEST_FILE = 64 * 1024 * 1024
"""The published files have less than one megabyte."""
LONGEST_KEY = 64
"""Bits of a number that is a key."""


@dataclass(frozen=True)
class _Name:
    """A global that the file refers to; never looked up."""

    text: str


class _Array:
    """An array between `_reconstruct` and its state."""

    value: Any = None


class _Dtype:
    """A dtype between its construction and its state."""

    def __init__(self, code: str) -> None:
        self.code = code

    def value(self) -> np.dtype[Any]:
        dtype = np.dtype(self.code)
        if dtype.kind not in "biuf":
            raise _Refused(f"arrays of {dtype}")
        return dtype


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """Something that is not plain data."""


_MARK = object()
# numpy 2 renamed its private modules; both spellings are found in published files.
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric", "numpy")
_NUMPY = ("_reconstruct", "scalar", "_frombuffer", "ndarray", "dtype")
# Early protocols have no instruction for these, and call their constructors.
_BUILTINS = ("bytes", "bytearray", "set", "frozenset")
_NAMES = frozenset(
    [f"{module} {name}" for module in _MODULES for name in _NUMPY]
    + [f"{module} {name}" for module in ("__builtin__", "builtins") for name in _BUILTINS]
    + ["_codecs encode"]
)


def load(path: Path) -> Any:
    """The value in the pickle at `path`; raises EvaluationError, naming what was refused."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise EvaluationError(f"{path}: {size:,} bytes, over the limit of {LARGEST_FILE:,} for a ground truth")
        data = path.read_bytes()
    except OSError as error:
        raise EvaluationError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    try:
        return loads(data)
    except EvaluationError as error:
        raise EvaluationError(f"{path}: {error}") from error


def loads(data: bytes) -> Any:
    """The value in `data`; raises EvaluationError for anything but plain containers and numpy arrays."""
    try:
        return _Machine(2 * len(data)).run(data)
    except _Refused as error:
        raise EvaluationError(f"refused: the pickle holds {error}, a ground truth is plain data") from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise EvaluationError(f"not a readable pickle ({' '.join(str(error).split())[:80]})") from error


class _Machine:
    """The stack and the memo; one method or table row for each opcode that plain data needs."""

    def __init__(self, budget: int) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        # What calls may copy in all, in bytes: a few bytes of file can ask for a copy of something long over and over.
        self.budget = budget

    def run(self, data: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(data):
            name, value = opcode.name, cast(Any, argument)
            if name == "STOP":
                if isinstance(self.stack[-1], _Name | _Dtype) or self.stack[-1] is _MARK:
                    raise _Refused("no value")
                return _finished(self.stack.pop())
            if name in _IGNORED:
                continue
            if name in _PUSHED:
                self.stack.append(_PUSHED[name](value))
            elif name in _BUILT:
                _BUILT[name](self)
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                self.memo[value] = self.stack[-1]
            elif name == "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                self.stack.append(self.memo[value])
            elif name == "GLOBAL":
                self.stack.append(_global(value))
            else:
                raise _Refused(f"the instruction {name}")
        raise ValueError("it ends before its STOP")

    def since_mark(self) -> list[Any]:
        """Pop everything above the last mark, and the mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("no mark")
        items = [_finished(item) for item in self.stack[at + 1 :]]
        del self.stack[at:]
        return items

    def take(self, count: int) -> list[Any]:
        """Pop the last `count`, oldest first."""
        items = [_finished(self.stack.pop()) for _ in range(count)]
        return items[::-1]

    def top(self, kind: type) -> Any:
        """The last value, which must be a container of this kind."""
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"expected a {kind.__name__}")
        return self.stack[-1]

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise _Refused("a call of something that is not a known name")
        self.spend(arguments)
        self.stack.append(_call(function.text, arguments))

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        self.spend(state)
        if isinstance(target, _Array):
            target.value = _array(*state[1:])
        elif isinstance(target, _Dtype):
            if not isinstance(state[1], str) or state[1] not in "<>|=" or state[3] is not None:
                raise _Refused("a structured dtype")
            target.code = f"{state[1]}{target.code.lstrip('<>|=')}"
        else:
            raise _Refused("an object with state")

    def spend(self, arguments: tuple[Any, ...]) -> None:
        """Account for a copy of everything long in `arguments`."""
        self.budget -= sum(len(one) for one in arguments if isinstance(one, str | bytes | bytearray | list))
        if self.budget < 0:
            raise _Refused("more copies of its contents than its length explains")

    def extend(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def members(self, items: list[Any]) -> None:
        self.top(set).update(items)

    def dict_of(self, pairs: list[Any]) -> None:
        self.stack.append({})
        self.items(pairs)

    def items(self, pairs: list[Any]) -> None:
        self.top(dict).update(zip(_keys(pairs[::2]), pairs[1::2], strict=True))


def _frozen(machine: _Machine, kind: Callable[[list[Any]], Any], items: list[Any]) -> None:
    machine.stack.append(kind(items))


_IGNORED = frozenset({"PROTO", "FRAME"})
_PUSHED: dict[str, Callable[[Any], Any]] = {
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "MARK": lambda _: _MARK,
    "EMPTY_LIST": lambda _: [],
    "EMPTY_DICT": lambda _: {},
    "EMPTY_TUPLE": lambda _: (),
    "EMPTY_SET": lambda _: set(),
} | dict.fromkeys(
    (
        "INT LONG BININT BININT1 BININT2 LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
        "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
    ).split(),
    lambda argument: argument,
)
_BUILT: dict[str, Callable[[_Machine], Any]] = {
    "POP": lambda machine: machine.stack.pop(),
    "POP_MARK": lambda machine: machine.since_mark(),
    "DUP": lambda machine: machine.stack.append(machine.stack[-1]),
    "TUPLE": lambda machine: _frozen(machine, tuple, machine.since_mark()),
    "TUPLE1": lambda machine: _frozen(machine, tuple, machine.take(1)),
    "TUPLE2": lambda machine: _frozen(machine, tuple, machine.take(2)),
    "TUPLE3": lambda machine: _frozen(machine, tuple, machine.take(3)),
    "LIST": lambda machine: _frozen(machine, list, machine.since_mark()),
    "FROZENSET": lambda machine: _frozen(machine, frozenset, _keys(machine.since_mark())),
    "DICT": lambda machine: machine.dict_of(machine.since_mark()),
    "APPEND": lambda machine: machine.extend(machine.take(1)),
    "APPENDS": lambda machine: machine.extend(machine.since_mark()),
    "ADDITEMS": lambda machine: machine.members(_keys(machine.since_mark())),
    "SETITEM": lambda machine: machine.items(machine.take(2)),
    "SETITEMS": lambda machine: machine.items(machine.since_mark()),
    "STACK_GLOBAL": lambda machine: _frozen(machine, lambda pair: _global(" ".join(pair)), machine.take(2)),
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}


def _keys(values: list[Any]) -> list[Any]:
    """Dict keys and members of sets: nothing nested, whose hash could take longer than the file is long."""
    if not all(value is None or isinstance(value, str | bytes | int | float) for value in values):
        raise _Refused("a key that is not text or a number")
    # Numbers a multiple of 2 ** 61 - 1 apart have one hash, and a table of these takes hours.
    if any(isinstance(value, int) and value.bit_length() > LONGEST_KEY for value in values):
        raise _Refused("a key that is a huge number")
    return values


def _finished(value: Any) -> Any:
    """A value as it is kept in a container: an array in the making is its array."""
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array without its state")
        return value.value
    return value


def _global(text: str) -> _Name:
    if text not in _NAMES:
        raise _Refused(f"the name {text.replace(' ', '.')[:80]!r}")
    return _Name(text)


def _call(function: str, arguments: tuple[Any, ...]) -> Any:
    """What the few known functions make of their arguments, done here and not by them."""
    name = function.split()[1]
    if name == "encode" and len(arguments) == 2 and arguments[1] in ("latin1", "latin-1"):
        return arguments[0].encode("latin1")
    if name in _BUILTINS:
        return _builtin(name, arguments)
    if name == "dtype" and isinstance(arguments[0], str):
        return _Dtype(arguments[0])
    if name == "_reconstruct":
        return _Array()
    if name == "_frombuffer":
        buffer, dtype, shape, order = arguments
        return _array(shape, dtype, order == "F", buffer)
    if name == "scalar":
        dtype, buffer = arguments
        return _array((), dtype, False, buffer)[()]
    raise _Refused(f"a call of {function.replace(' ', '.')}")


def _builtin(name: str, arguments: tuple[Any, ...]) -> Any:
    if not arguments:
        return {"bytes": b"", "bytearray": b"", "set": set(), "frozenset": frozenset()}[name]
    if name == "bytearray" and isinstance(arguments[0], bytes):
        return arguments[0]
    if name in ("set", "frozenset") and isinstance(arguments[0], list):
        return set(_keys(arguments[0])) if name == "set" else frozenset(_keys(arguments[0]))
    raise _Refused(f"a call of {name}")


def _array(shape: Any, dtype: Any, fortran: Any, data: Any) -> Any:
    if isinstance(data, str):  # Python 2 wrote its bytes as text.
        data = data.encode("latin1")
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
        raise _Refused("an array of objects")
    kind = dtype.value()
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError("an array's shape must be whole numbers")
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"an array of {shape} {kind} cannot have {len(data)} bytes")
    return np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")
