"""Arguments as people write them to what functions take: one item for several, numbers that are numbers."""

import math
import operator
from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any, TypeVar

from lookalike.errors import QueryError

T = TypeVar("T")


def several(name: str, value: Any) -> tuple[Any, ...]:
    """The items of an argument; a text, a path or a function is one item. QueryError for what is neither.

    Examples
    --------
    >>> several("rerank", "spatial"), several("rerank", ["dba", "spatial"]), several("rerank", None)
    (('spatial',), ('dba', 'spatial'), ())
    """
    if value is None:
        return ()
    if isinstance(value, str | bytes | PathLike) or (callable(value) and not isinstance(value, Iterable)):
        return (value,)
    if not isinstance(value, Iterable):
        raise QueryError(f"{name} is {shown(value)}: give one, or a list")
    return tuple(value)


def whole(name: str, value: Any) -> int:
    """A whole number, also one of numpy; raises QueryError for another value, and for text that looks like one."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise QueryError(f"{name} is {shown(value)}: give a whole number")


def number(name: str, value: Any) -> float:
    """A number; raises QueryError for text, for an array and for one that is no number (NaN)."""
    is_number = hasattr(value, "__float__") and not isinstance(value, bool) and not getattr(value, "shape", ())
    result = _float(value) if is_number else None
    if result is None or math.isnan(result):
        raise QueryError(f"{name} is {shown(value)}: give a number")
    return result


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def yes_or_no(name: str, value: Any) -> bool:
    """True or False, also of numpy; raises QueryError."""
    if isinstance(value, bool | int) or type(value).__name__ == "bool":
        return bool(value)
    raise QueryError(f"{name} is {shown(value)}: give True or False")


def text(name: str, value: Any) -> str:
    """A text; raises QueryError."""
    if not isinstance(value, str):
        raise QueryError(f"{name} is {shown(value)}: give text")
    return value


def optional(check: Callable[[str, Any], T], name: str, value: Any) -> T | None:
    """As `check`, where the argument was given."""
    return None if value is None else check(name, value)


def shown(value: Any) -> str:
    """A wrong value for an error of one line: as it is written, cut where it is long, and its type.

    Examples
    --------
    >>> shown("5"), shown(42)
    ("'5' (str)", '42 (int)')
    """
    written = " ".join(repr(value).split())
    return f"{written if len(written) <= 40 else f'{written[:39]}…'} ({type(value).__name__})"
