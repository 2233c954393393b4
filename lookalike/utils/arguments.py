"""Arguments as people write them to what functions take: one item for several, numbers that are numbers."""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from os import PathLike
from typing import Any, TypeVar

from lookalike.errors import QueryError

T = TypeVar("T")


def several(name: str, value: Any, check: Callable[[str, Any], T] | None = None) -> tuple[T, ...]:
    """The items of an argument, each `check`ed; a text, a path or a function is one item. QueryError for what is none.

    Examples
    --------
    >>> several("rerank", "spatial"), several("rerank", ["dba", "spatial"]), several("rerank", None)
    (('spatial',), ('dba', 'spatial'), ())
    """
    items = () if value is None else _items(name, value)
    return items if check is None else tuple(check(name, item) for item in items)


def _items(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes | PathLike) or (callable(value) and not isinstance(value, Iterable)):
        return (value,)
    try:
        return tuple(value)
    except TypeError as error:
        raise QueryError(f"{name} is {shown(value)}: give one, or a list") from error


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
    try:
        result = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        result = math.nan
    if math.isnan(result):
        raise QueryError(f"{name} is {shown(value)}: give a number")
    return result


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


def path(name: str, value: Any) -> Any:
    """A path, as text or as a `Path`; raises QueryError."""
    if not isinstance(value, str | PathLike):
        raise QueryError(f"{name} is {shown(value)}: give a path")
    return value


def one_of(what: str, value: Any, words: Sequence[str]) -> None:
    """Raise QueryError for what is none of the words; `what` begins the sentence, such as "results are sorted by"."""
    if not isinstance(value, str) or value not in words:
        wrong = repr(value) if isinstance(value, str) else shown(value)
        raise QueryError(f"{what} {' or '.join(words)}, not {wrong}")


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
