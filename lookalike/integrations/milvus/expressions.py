"""A filter (see `lookalike.storage.filters`) to an expression of Milvus that holds for at least the same rows.

The catalog decides which rows a filter means; the server's expression only spares it from looking at others. So what
the two could see differently (a value that is missing, a pattern, a number as text) is left out, and nothing is lost.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from lookalike.storage.filters import SPECIAL, read

RESERVED = ("id", "key", "sha256", "vector")
"""Fields of the schema, which a column of the same name cannot be told from."""
MOST_VALUES = 100
EXACT_INTEGERS = 2**53
"""JSON's numbers are doubles."""


@dataclass(frozen=True)
class Said:
    """An expression, "" for one that holds everywhere; `exact` where its opposite may be said too."""

    text: str = ""
    exact: bool = False

    def __and__(self, other: "Said") -> "Said":
        if not self.text or not other.text:
            return Said(self.text or other.text)
        return Said(f"({self.text}) and ({other.text})", self.exact and other.exact)

    def __or__(self, other: "Said") -> "Said":
        if not self.text or not other.text:
            return Said()
        return Said(f"({self.text}) or ({other.text})", self.exact and other.exact)

    def __invert__(self) -> "Said":
        return Said(f"not ({self.text})", True) if self.exact else Said()


class Fields:
    """The tests of a filter, as Milvus says them; meets `filters.Columns`."""

    def key(self, pattern: str) -> Said:
        """Of a pattern, the letters before its first sign that stands for others."""
        first = SPECIAL.search(pattern)
        if first is None:
            return Said(f"key == {literal(pattern)}", True)
        # % and _ stand for others in Milvus, whose versions differ in how they are escaped: what is before will do.
        start = pattern[: min([first.start(), *(pattern.find(sign) for sign in "%_\\" if sign in pattern)])]
        return Said(f"key like {literal(start + '%')}") if start and start.isprintable() else Said()

    def test(self, name: str, operator: str, values: Sequence[object]) -> Said:
        """A comparison of the key or of a column."""
        if name == "key":
            return self._key(operator, [str(value) for value in values])
        if name in RESERVED or operator in (":", "!=") or len(values) > MOST_VALUES:
            return Said()
        if any(isinstance(value, int) and abs(value) > EXACT_INTEGERS for value in values):
            return Said()
        sign = "==" if operator in ("=", "in") else operator
        return Said(" or ".join(f"$meta[{literal(name)}] {sign} {literal(value)}" for value in values))

    @staticmethod
    def _key(operator: str, values: list[str]) -> Said:
        if operator == "in":
            return Said(f"key in [{', '.join(map(literal, values))}]", True) if len(values) <= MOST_VALUES else Said()
        return Said(f"key {'==' if operator == '=' else operator} {literal(values[0])}", True)


def literal(value: object) -> str:
    """A number or a text as Milvus reads it; quotation marks, backslashes and control signs are escaped."""
    if isinstance(value, str):
        return json.dumps(storable(value), ensure_ascii=False)
    return repr(value)


def storable(key: str) -> str:
    """Text as the server holds it: a key that is not UTF-8 has its odd bytes written out."""
    return key.encode("utf-8", "backslashreplace").decode("utf-8")


def translate(expression: str) -> str:
    """The server's expression for a filter, "" where it has none; raises QueryError for what is no filter."""
    return read(expression, Fields()).text
