"""A filter (see `lookalike.storage.filters`) to an expression of Milvus that holds for at least the same rows.

The catalog decides which rows a filter selects; the server's expression only excludes some of the others in advance.
So conditions that the two could judge differently (a missing value, a pattern, a number as text) are left out.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from lookalike.storage.filters import SPECIAL, read
from lookalike.storage.photo_facts import NAMES

RESERVED = ("id", "key", "sha256", "vector")
"""Fields of the schema; columns of these names cannot be distinguished from them."""
MOST_VALUES = 100
EXACT_INTEGERS = 2**53
"""Larger integers are not exact in JSON, whose numbers are doubles."""


@dataclass(frozen=True)
class Expression:
    """An expression, "" for one that holds everywhere; only an `exact` one may be negated."""

    text: str = ""
    exact: bool = False

    def __and__(self, other: "Expression") -> "Expression":
        if not self.text or not other.text:
            return Expression(self.text or other.text)
        return Expression(f"({self.text}) and ({other.text})", self.exact and other.exact)

    def __or__(self, other: "Expression") -> "Expression":
        if not self.text or not other.text:
            return Expression()
        return Expression(f"({self.text}) or ({other.text})", self.exact and other.exact)

    def __invert__(self) -> "Expression":
        return Expression(f"not ({self.text})", True) if self.exact else Expression()


class Fields:
    """The tests of a filter as expressions of Milvus; meets `filters.Columns`."""

    def key(self, pattern: str) -> Expression:
        """A pattern for keys: exact without wildcards, else the text before the first wildcard."""
        first = SPECIAL.search(pattern)
        if first is None:
            return Expression(f"key == {literal(pattern)}", True)
        # % and _ are wildcards in Milvus, and its versions escape them differently: the text before them is enough.
        start = pattern[: min([first.start(), *(pattern.find(sign) for sign in "%_\\" if sign in pattern)])]
        return Expression(f"key like {literal(start + '%')}") if start and start.isprintable() else Expression()

    def test(self, name: str, operator: str, values: Sequence[object]) -> Expression:
        """A comparison of the key or of a column."""
        if name == "key":
            return self._key(operator, [str(value) for value in values])
        # What images say of themselves is not on the server, and a user's column of that name is not told from it.
        if name in RESERVED or name in NAMES or operator in (":", "!=") or len(values) > MOST_VALUES:
            return Expression()
        if any(isinstance(value, int) and abs(value) > EXACT_INTEGERS for value in values):
            return Expression()
        sign = "==" if operator in ("=", "in") else operator
        return Expression(" or ".join(f"$meta[{literal(name)}] {sign} {literal(value)}" for value in values))

    def near(self, _: float, __: float, ___: float) -> Expression:
        """A distance: places are not on the server."""
        return Expression()

    @staticmethod
    def _key(operator: str, values: list[str]) -> Expression:
        if operator == "in":
            return (
                Expression(f"key in [{', '.join(map(literal, values))}]", True)
                if len(values) <= MOST_VALUES
                else Expression()
            )
        return Expression(f"key {'==' if operator == '=' else operator} {literal(values[0])}", True)


def literal(value: object) -> str:
    """A number or a text as Milvus reads it; quotation marks, backslashes and control characters are escaped."""
    if isinstance(value, str):
        return json.dumps(storable(value), ensure_ascii=False)
    return repr(value)


def storable(key: str) -> str:
    """Text as the server stores it; bytes of a key that are not UTF-8 are written as escapes."""
    return key.encode("utf-8", "backslashreplace").decode("utf-8")


def translate(expression: str) -> str:
    """The server's expression for a filter, "" where there is none; raises QueryError for an invalid filter."""
    return read(expression, Fields()).text
