"""A filter over several collections to the rows of one of them, whose images have longer names there."""

import fnmatch
import operator as signs
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lookalike.storage.catalog import Catalog, from_blob, to_blob
from lookalike.storage.fact_tests import folders
from lookalike.storage.filters import SPECIAL, RowColumns, RowMask, read
from lookalike.storage.photo_facts import FOLDER

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    **{"=": signs.eq, "!=": signs.ne, "<": signs.lt, "<=": signs.le, ">": signs.gt, ">=": signs.ge},
    "in": lambda key, keys: key in keys,
}


@dataclass(frozen=True)
class Among:
    """A collection among several: its keys begin with `prefix`; `columns` are those of all.

    What only others have a column for, no image here has a value of.
    """

    prefix: str
    columns: frozenset[str]


def select_among(expression: str, catalog: Catalog, rows: int, among: Among) -> RowMask:
    """(rows,) bool: the rows for which `expression` holds; raises QueryError where it is not a filter."""
    return read(expression, _Prefixed(catalog, rows, among))


@dataclass
class _Prefixed(RowColumns):
    place: Among

    def key(self, pattern: str) -> RowMask:
        prefix, first = self.place.prefix, SPECIAL.search(pattern)
        start = pattern if first is None else pattern[: first.start()]
        if start.startswith(prefix):
            return super().key(pattern[len(prefix) :])
        if first is None or not prefix.startswith(start):
            return np.zeros(self.rows, np.bool_)
        like = re.compile(fnmatch.translate(pattern.replace("[^", "[!")))
        return self._of_keys(lambda key: like.match(key) is not None)

    def test(self, name: str, operator: str, values: Sequence[object]) -> RowMask:
        if name == "key":
            compare, blobs = COMPARISONS[operator], [to_blob(str(value)) for value in values]
            right = blobs if operator == "in" else blobs[0]
            return self._of_keys(lambda key: compare(to_blob(key), right))
        if name not in self.numbers and name in self.place.columns:
            return np.zeros(self.rows, np.bool_)
        if name == FOLDER and name not in self.numbers:
            return self.mask_of(folders(self.catalog, operator, values, self.place.prefix))
        return super().test(name, operator, values)

    def _of_keys(self, holds: Callable[[str], bool]) -> RowMask:
        items = self.catalog.database.query("SELECT row, key FROM items WHERE removed = 0", [])
        rows = [row for row, key in items if holds(self.place.prefix + from_blob(key))]
        return self.mask_of(np.array(rows, np.int64))
