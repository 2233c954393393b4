"""A pickle of plain containers and numpy arrays to those values, and nothing else.

The revisited ground truth is published as a pickle. It is read by `utils.plain_pickle`; arrays are made here from bytes
of the file, which bound their size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EvaluationError
from lookalike.utils import plain_pickle
from lookalike.utils.files import reason
from lookalike.utils.plain_pickle import Refused, Unfinished, must_be

LARGEST_FILE = 64 * 1024 * 1024
"""The published files have less than one megabyte."""
MOST_SIDES = 64
ELEMENTS = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 f16".split())
# numpy 2 renamed its private modules; both spellings are found in published files.
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric", "numpy")
_NAMES = dict.fromkeys(_NUMPY, ("_reconstruct", "scalar", "_frombuffer", "ndarray", "dtype"))


@dataclass(slots=True)
class _Dtype(Unfinished):
    """A dtype; the byte order comes with its state."""

    code: str
    order: str = "="


@dataclass(slots=True)
class _Array(Unfinished):
    """An array in the memo; the values come with its state."""

    value: NDArray[Any] | None = None

    def finished(self) -> NDArray[Any]:
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
        return plain_pickle.loads(data, _ARRAYS)
    except plain_pickle.Refused as error:
        raise EvaluationError(f"refused: the pickle holds {error}, a ground truth is plain data") from error
    except plain_pickle.Unreadable as error:
        raise EvaluationError(f"not a readable pickle ({error})") from error


def _with_state(reader: Any, target: Any, state: Any) -> Any:
    reader.spend(state)
    if isinstance(target, _Array):
        target.value = _array(*state[1:])
        return target.value
    if isinstance(target, _Dtype) and state[1] in ("<", ">", "|", "=") and state[2:5] == (None, None, None):
        target.order = state[1]
        return target
    raise Refused("an object with state")


def _array(shape: Any, dtype: Any, fortran: Any, data: Any) -> NDArray[Any]:
    if isinstance(data, str):  # Python 2 wrote its bytes as text.
        data = data.encode("latin1")
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
        raise Refused("an array of objects")
    if dtype.code not in ELEMENTS:
        raise Refused(f"arrays of {dtype.code[:20]!r}")
    if not isinstance(shape, tuple) or len(shape) > MOST_SIDES:
        raise ValueError("an array's shape must be a few numbers")
    if not all(type(side) is int and 0 <= side < 2**63 for side in shape):
        raise ValueError("an array's shape must be whole numbers")
    kind = np.dtype(dtype.order + dtype.code)
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"an array of {shape} {kind} cannot have {len(data)} bytes")
    return np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")


_CALLS: dict[str, Callable[..., Any]] = {
    "dtype": lambda _, code, *_rest: _Dtype(must_be(str, code)),
    "_reconstruct": lambda *_: _Array(),
    "_frombuffer": lambda _, data, dtype, shape, order: _array(shape, dtype, order == "F", data),
    "scalar": lambda _, dtype, data: _array((), dtype, False, data)[()],
}
_ARRAYS = plain_pickle.Dialect(_NAMES, _CALLS, _with_state)
