"""A filter (see `lookalike.storage.filters`) to a condition in SQL that holds for at least the same rows.

The catalog decides which rows a filter selects; the condition only excludes some of the others in advance. What the two
could judge differently (patterns, the order of keys) is left out. Names and values are parameters, never text of the
statement.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from lookalike.storage.filters import SPECIAL, read
from lookalike.storage.photo_facts import NAMES

MOST_VALUES = 1000
SIGNS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


@dataclass(frozen=True)
class Condition:
    """A condition with its parameters, "" for one that holds everywhere; only an `exact` one may be negated."""

    sql: str = ""
    values: tuple[object, ...] = ()
    exact: bool = False

    def __and__(self, other: "Condition") -> "Condition":
        if not self.sql or not other.sql:
            kept = self if self.sql else other
            return Condition(kept.sql, kept.values)
        return self._joined("AND", other)

    def __or__(self, other: "Condition") -> "Condition":
        return self._joined("OR", other) if self.sql and other.sql else Condition()

    def __invert__(self) -> "Condition":
        return Condition(f"NOT {self.sql}", self.values, True) if self.exact else Condition()

    def _joined(self, word: str, other: "Condition") -> "Condition":
        return Condition(f"({self.sql} {word} {other.sql})", (*self.values, *other.values), self.exact and other.exact)


class Fields:
    """The tests of a filter as conditions; meets `filters.Columns`."""

    def key(self, pattern: str) -> Condition:
        """A pattern for keys: exact without wildcards, else the text before the first wildcard."""
        first = SPECIAL.search(pattern)
        if first is None:
            return self.test("key", "=", [pattern])
        start = pattern[: first.start()]
        return Condition("starts_with(key, %s)", (start,)) if start and is_plain(start) else Condition()

    def test(self, name: str, operator: str, values: Sequence[object]) -> Condition:
        """A comparison of the key or of a column."""
        # What images say of themselves is not on the server, and a user's column of that name is not told from it.
        if len(values) > MOST_VALUES or operator == ":" or name in NAMES:
            return Condition()
        if name == "key":
            # Bytes that are no UTF-8 are stored as escapes, so only equality says the same here and in the catalog.
            keys = [str(value) for value in values]
            is_same = operator in ("=", "in") and all(map(is_plain, keys))
            return Condition("(key = ANY(%s))", (keys,), True) if is_same else Condition()
        if not is_plain(name) or not all(is_plain(value) for value in values if isinstance(value, str)):
            return Condition()
        return self._column(name, operator, values)

    def near(self, _: float, __: float, ___: float) -> Condition:
        """A distance: places are not on the server."""
        return Condition()

    @staticmethod
    def _column(name: str, operator: str, values: Sequence[object]) -> Condition:
        if operator == "in":
            sql, parameters = "meta -> %s::text = ANY(%s::jsonb[])", [literal(value) for value in values]
            return Condition(f"coalesce({sql}, false)", (name, parameters), True)
        (value,) = values
        sign = SIGNS[operator]
        if operator in ("=", "!="):
            return Condition(f"coalesce(meta -> %s::text {sign} %s::jsonb, false)", (name, literal(value)), True)
        if isinstance(value, str):
            # Not by the collation of the database: SQLite compares bytes.
            of_kind = f"jsonb_typeof(meta -> %s::text) = 'string' AND (meta ->> %s::text) COLLATE \"C\" {sign} %s"
            return Condition(f"coalesce({of_kind}, false)", (name, name, value), True)
        of_kind = f"jsonb_typeof(meta -> %s::text) = 'number' AND meta -> %s::text {sign} %s::jsonb"
        return Condition(f"coalesce({of_kind}, false)", (name, name, literal(value)), True)


def is_plain(text: str) -> bool:
    """Whether text is stored as it is, and no other text as the same."""
    return "\\" not in text and text == storable(text)


def storable(text: str) -> str:
    """Text as the server stores it; NUL, and bytes that are not UTF-8, are written as escapes."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def literal(value: object) -> str:
    """A number or a text as JSON; an infinite number is one beyond all doubles, for JSON has no other."""
    if isinstance(value, float) and math.isinf(value):
        return "1e400" if value > 0 else "-1e400"
    return json.dumps(storable(value) if isinstance(value, str) else value, ensure_ascii=False)


def document(fields: dict[str, object]) -> str:
    """The columns of a row as a JSON object: numbers and text."""
    pairs = (
        f"{literal(name)}: {literal(value)}"
        for name, value in fields.items()
        if isinstance(value, int | float | str) and value == value  # noqa: PLR0124 - not a NaN
    )
    return "{" + ", ".join(pairs) + "}"


def translate(expression: str) -> Condition:
    """The condition for a filter, empty where there is none; raises QueryError for an invalid filter."""
    return read(expression, Fields())
