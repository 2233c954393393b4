"""A filter such as `key:beach/* and year >= 2019` to the rows for which it holds.

    expression := term ("or" term)*        term := factor ("and" factor)*        factor := "not" factor | test
    test := "(" expression ")" | "key" ":" pattern | column operator value | column "in" "(" value ("," value)* ")"
            | "near" "(" latitude "," longitude "," distance ")"        distance := number | number "m" | number "km"
    operator := = != < <= > >= :           value := number | "text" | 'text' | word

`:` compares with a pattern, in which * stands for any characters, ? for any single character and [a-z] for a class of
them. Each test is a query to SQLite with its values as parameters; `and`, `or` and `not` combine the masks of the rows
that it returns. A row without a value meets no test of that column. What images say of themselves is tested as columns
are (`fact_tests` says how it compares), unless the user has a column of that name.
"""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import QueryError
from lookalike.storage import fact_tests, photo_facts
from lookalike.storage.catalog import Catalog
from lookalike.storage.sqlite import AT_ONCE
from lookalike.types import Ids

T = TypeVar("T", bound=Any)
T_co = TypeVar("T_co", covariant=True)
RowMask = NDArray[np.bool_]
OPERATORS = ("<=", ">=", "!=", "=", "<", ">", ":")
WORDS = ("and", "or", "not", "in")
DEEPEST = 50
"""Nested brackets and nots: a request from outside must not exhaust the stack."""
LONGEST = 4096
INTEGERS = range(-(2**63), 2**63)
"""Those that SQLite can store."""
TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<sign><=|>=|!=|=|<|>|:|\(|\)|,)|(?P<word>[^\s"'<>=!:(),]+))""",
    re.DOTALL,
)
PATTERN = re.compile(
    r"""\s*(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<bare>[^\s()]+))""", re.DOTALL
)
DISTANCE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?)(m|km|)")
METRES = {"": 1, "m": 1, "km": 1000}
SPECIAL = re.compile(r"[*?\[]")
BAD_BYTES = re.compile("[\udc80-\udcff]")
"""Bytes of a file name that are no UTF-8."""


def select(expression: str, catalog: Catalog, rows: int) -> RowMask:
    """(rows,) bool: the rows for which `expression` holds; raises QueryError where it is not a filter."""
    return read(expression, RowColumns(catalog, rows))


class Columns(Protocol[T_co]):
    """The result of each test of a filter; the results are combined with `&`, `|` and `~`."""

    def key(self, pattern: str) -> T_co:
        """The key against a pattern."""
        ...

    def test(self, name: str, operator: str, values: Sequence[object]) -> T_co:
        """The key or a column against values."""
        ...

    def near(self, latitude: float, longitude: float, metres: float) -> T_co:
        """The place where an image was taken against another."""
        ...


def read(expression: str, columns: Columns[T]) -> T:
    """The combined result of the tests in `expression`; raises QueryError where it is not a filter."""
    if len(expression) > LONGEST:
        raise QueryError(f"a filter of {len(expression):,} letters; at most {LONGEST:,} are read")
    result: T = _Parser(expression, columns).parse()
    return result


@dataclass
class RowColumns:
    """The rows that meet a test, as a mask."""

    catalog: Catalog
    rows: int

    def __post_init__(self) -> None:
        self.numbers = {name: number for number, name in self.catalog.columns()}

    def mask(self, sql: str, values: Sequence[object]) -> RowMask:
        """The rows that a statement returns."""
        return self.mask_of(self.catalog.database.numbers(sql, values))

    def mask_of(self, rows: Ids) -> RowMask:
        """Row numbers as a mask."""
        mask = np.zeros(self.rows, np.bool_)
        mask[rows[(rows >= 0) & (rows < self.rows)]] = True
        return mask

    def key(self, pattern: str) -> RowMask:
        """The key against a pattern."""
        blob = pattern.encode("utf-8", "surrogateescape")
        first = SPECIAL.search(pattern)
        start = blob if first is None else pattern[: first.start()].encode("utf-8", "surrogateescape")
        sql, values = "SELECT row FROM items WHERE removed = 0", []
        if first is None:
            return self.mask(f"{sql} AND key = ?", [blob])
        # The index of keys narrows it to one folder.
        if start:
            sql, values = f"{sql} AND key >= ?", [start]
        if end := after(start):
            sql, values = f"{sql} AND key < ?", [*values, end]
        if pattern[first.start() :] == "*":
            return self.mask(sql, values)
        if BAD_BYTES.search(pattern):
            return self._matching(sql, values, pattern)
        return self.mask(f"{sql} AND CAST(key AS TEXT) GLOB CAST(? AS TEXT)", [*values, blob])

    def _matching(self, sql: str, values: Sequence[object], pattern: str) -> RowMask:
        """Rows of `sql` with a key like `pattern`; to SQLite's GLOB, all bytes that are no UTF-8 are the same."""
        like = re.compile(fnmatch.translate(pattern.replace("[^", "[!")))
        mask = np.zeros(self.rows, np.bool_)
        for row, key in self.catalog.database.query(sql.replace("SELECT row", "SELECT row, key", 1), values):
            if row < self.rows and like.match(bytes(key).decode("utf-8", "surrogateescape")):
                mask[row] = True
        return mask

    def _among(self, sql: str, first: Sequence[object], values: Sequence[object]) -> RowMask:
        """Rows of `sql IN (values)`, each of which is a parameter after those of `first`."""
        mask = np.zeros(self.rows, np.bool_)
        for start in range(0, len(values), AT_ONCE):
            part = values[start : start + AT_ONCE]
            mask |= self.mask(f"{sql} IN ({', '.join('?' * len(part))})", [*first, *part])
        return mask

    def test(self, name: str, operator: str, values: Sequence[object]) -> RowMask:
        """The key or a column against values."""
        if name == "key":
            blobs = [str(value).encode("utf-8", "surrogateescape") for value in values]
            sql = "SELECT row FROM items WHERE removed = 0 AND key"
            return self._among(sql, [], blobs) if operator == "in" else self.mask(f"{sql} {operator} ?", blobs)
        if name not in self.numbers and name in photo_facts.NAMES:
            return self.mask_of(fact_tests.matching(self.catalog, name, operator, values))
        if name not in self.numbers:
            there = ", ".join(["key", *sorted(self.numbers)])
            facts = ", ".join(photo_facts.NAMES)
            raise QueryError(f"{name}: no such column; there are: {there}; and of every image: {facts}")
        number = self.numbers[name]
        sql = 'SELECT row FROM meta WHERE "column" = ? AND'
        if operator == ":":
            pattern = str(values[0]).encode("utf-8", "surrogateescape")
            return self.mask(f"{sql} CAST(value AS TEXT) GLOB CAST(? AS TEXT)", [number, pattern])
        if operator == "in":
            return self._among(f"{sql} value", [number], values)
        if operator in ("<", "<=", ">", ">="):
            # SQLite orders all numbers before all text.
            kind = "('integer', 'real')" if isinstance(values[0], int | float) else "('text')"
            sql += f" typeof(value) IN {kind} AND"
        return self.mask(f"{sql} value {operator} ?", [number, *values])

    def near(self, latitude: float, longitude: float, metres: float) -> RowMask:
        """The place where an image was taken against another."""
        return self.mask_of(fact_tests.near(self.catalog, latitude, longitude, metres))


class Tested(frozenset[str]):
    """The names in a filter; meets `Columns`' results."""

    def __and__(self, other: object) -> "Tested":
        return Tested(self | other) if isinstance(other, Tested) else NotImplemented

    def __invert__(self) -> "Tested":
        return self


class _Names:
    def key(self, _: str) -> Tested:
        return Tested(["key"])

    def test(self, name: str, _: str, __: Sequence[object]) -> Tested:
        return Tested([name])

    def near(self, _: float, __: float, ___: float) -> Tested:
        return Tested(photo_facts.PLACES)


def names(expression: str) -> frozenset[str]:
    """The columns and facts that a filter tests; raises QueryError where it is not a filter."""
    return frozenset(read(expression, _Names()))


def after(prefix: bytes) -> bytes:
    """The first byte string after all that begin with `prefix`; empty where there is none."""
    prefix = prefix.rstrip(b"\xff")
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b""


class _Parser(Generic[T]):
    def __init__(self, text: str, columns: Columns[T]) -> None:
        self._text, self._at, self._columns, self._depth = text, 0, columns, 0

    def parse(self) -> T:
        mask = self._expression()
        if self._peek():
            raise self._wrong("the end")
        return mask

    def _peek(self) -> str:
        match = TOKEN.match(self._text, self._at)
        return match[0].strip() if match else self._text[self._at :].strip()[:1]

    def _next(self) -> str:
        match = TOKEN.match(self._text, self._at)
        if match is None:
            raise self._wrong("a test")
        self._at = match.end()
        return match[0].strip()

    def _wrong(self, expected: str) -> QueryError:
        rest = self._text[self._at :].strip()
        where = f"at {rest[:20]!r}" if rest else "at its end"
        return QueryError(f"filter {self._text!r}: {expected} is wanted {where}, as in: key:beach/* and year >= 2019")

    def _expression(self) -> T:
        mask = self._term()
        while self._peek().lower() == "or":
            self._next()
            mask = mask | self._term()
        return mask

    def _term(self) -> T:
        mask = self._factor()
        while self._peek().lower() == "and":
            self._next()
            mask = mask & self._factor()
        return mask

    def _factor(self) -> T:
        self._depth += 1
        if self._depth > DEEPEST:
            raise QueryError(f"a filter with more than {DEEPEST} brackets inside one another")
        try:
            if self._peek().lower() == "not":
                self._next()
                negated: T = ~self._factor()
                return negated
            if self._peek() == "(":
                self._next()
                mask = self._expression()
                self._expect(")")
                return mask
            return self._test()
        finally:
            self._depth -= 1

    def _expect(self, sign: str) -> None:
        if self._peek() != sign:
            raise self._wrong(repr(sign))
        self._next()

    def _test(self) -> T:
        name = self._peek()
        if not name or name in (*OPERATORS, ")", ",") or name.lower() in WORDS:
            raise self._wrong("a column")
        self._next()
        if name.lower() == "near" and self._peek() == "(":
            return self._near()
        name = _plain(name)
        operator = self._peek().lower()
        if operator not in (*OPERATORS, "in"):
            raise self._wrong(f"one of {' '.join(OPERATORS)} or in")
        self._next()
        if operator == ":":
            return (
                self._columns.key(self._pattern())
                if name == "key"
                else self._columns.test(name, ":", [self._pattern()])
            )
        return self._columns.test(name, operator, self._values(name) if operator == "in" else [self._value(name)])

    def _near(self) -> T:
        parts = self._values("")
        distance = DISTANCE.fullmatch(str(parts[-1]))
        place = [float(part) for part in parts[:-1] if isinstance(part, int | float)]
        is_place = len(parts) == 3 and len(place) == 2 and abs(place[0]) <= 90 and abs(place[1]) <= 180
        if distance is None or not is_place:
            raise QueryError(f"filter {self._text!r}: near is of this form: near(48.8584, 2.2945, 500m)")
        return self._columns.near(place[0], place[1], float(distance[1]) * METRES[distance[2]])

    def _pattern(self) -> str:
        match = PATTERN.match(self._text, self._at)
        if match is None:
            raise self._wrong("a pattern")
        self._at = match.end()
        return match["bare"] if match["bare"] is not None else _plain(match[0].strip())

    def _values(self, name: str) -> list[object]:
        self._expect("(")
        values = [self._value(name)]
        while self._peek() == ",":
            self._next()
            values.append(self._value(name))
        self._expect(")")
        return values

    def _value(self, name: str) -> object:
        token = self._peek()
        if not token or token in (*OPERATORS, "(", ")", ","):
            raise self._wrong("a value")
        self._next()
        return _plain(token) if name == "key" or token[0] in "\"'" else typed(token)


def _plain(token: str) -> str:
    """The text between quotation marks; `\\` keeps the character after it as it is."""
    return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL) if token[:1] in ('"', "'") else token


def typed(text: str) -> int | float | str:
    """A number where SQLite can store it as such, else the text."""
    if re.fullmatch(r"[+-]?\d{1,19}", text) and int(text) in INTEGERS:
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        return float(text)
    return text
