"""Rows of one collection copied behind the rows of another: what `compact`, `merge` and `whiten` are made of."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lookalike.errors import CollectionError
from lookalike.storage.catalog import COVERED, ITEM, from_blob
from lookalike.storage.sqlite import crc
from lookalike.storage.store import Store
from lookalike.types import Ids, Progress, Vectors

BLOCK = 4096
COMMIT_EVERY = 64
"""Blocks; the journal and the pages of one transaction stay small."""


@dataclass(frozen=True)
class Pour:
    """How rows are changed on their way; without anything they are copied as they are, removed ones left behind."""

    apply: Callable[[Vectors], Vectors] | None = None
    with_removed: bool = False
    sources: dict[int, int] | None = None
    key: Callable[[int, bytes], bytes | None] = lambda _, key: key
    """(source, key) to the new key; None leaves the row behind."""
    columns: dict[int, int] | None = None

    def __call__(self, old: Store, new: Store, progress: Progress | None = None) -> int:
        """Copy, inside `new.writing()`; how many rows. Raises CollectionError at the first row that is damaged."""
        done, total = 0, old.catalog.count_rows()
        for number, block in enumerate(_blocks(old, self.with_removed), 1):
            self._copy(old, new, block)
            done += len(block)
            if number % COMMIT_EVERY == 0:
                new.commit()
            if progress:
                progress(block[-1][0] + 1, total)
        return done

    def _copy(self, old: Store, new: Store, block: Sequence[tuple[Any, ...]]) -> None:
        rows = np.array([entry[0] for entry in block], np.int64)
        _check(old, block, rows)
        named = [(self.key(entry[1], entry[2]), entry) for entry in block]
        kept = np.array([key is not None for key, _ in named])
        block, rows = [(entry[0], entry[1], key, *entry[3:]) for key, entry in named if key is not None], rows[kept]
        if not block:
            return
        first = new.count()
        crcs = self._vectors(old, new, rows, first)
        sources = self.sources or {}
        new.append_entries(
            [(sources.get(e[1], e[1]), *e[2:9], vector_crc) for e, vector_crc in zip(block, crcs, strict=True)]
        )
        self._copy_meta(old, new, rows, first)

    def _vectors(self, old: Store, new: Store, rows: Ids, first: int) -> list[int]:
        if self.apply is None:
            return new.vectors.copy(first, old.vectors, rows)
        return new.vectors.append(first, self.apply(old.vectors.rows(rows)))

    def _copy_meta(self, old: Store, new: Store, rows: Ids, first: int) -> None:
        sql = 'SELECT row, "column", value FROM meta WHERE row BETWEEN ? AND ?'
        numbers = {row: first + at for at, row in enumerate(rows.tolist())}
        columns = self.columns or {}
        for row, column, value in old.catalog.database.query(sql, (int(rows[0]), int(rows[-1]))):
            if row in numbers:
                new.catalog.put("meta", numbers[row], columns.get(column, column), value)


def _blocks(old: Store, with_removed: bool) -> Iterator[list[tuple[Any, ...]]]:
    kept = "" if with_removed else "AND removed = 0"
    sql = f"SELECT {ITEM}, crc FROM items WHERE row > ? {kept} ORDER BY row LIMIT {BLOCK}"  # noqa: S608 - constants
    last = -1
    while block := old.catalog.database.query(sql, (last,)):
        yield block
        last = block[-1][0]


def _check(old: Store, block: Sequence[tuple[Any, ...]], rows: Ids) -> None:
    """A copy would give a damaged row a checksum that is right."""
    found = old.vectors.checksums(int(rows[0]), int(rows[-1]) + 1)
    for entry in block:
        *values, stored = entry
        is_damaged = crc(*values) != stored or found[entry[0] - int(rows[0])] != entry[9]
        if is_damaged and entry[8] != 3:
            raise CollectionError(
                f"{old.path}: row {entry[0]} ({from_blob(bytes(entry[2]))}) is damaged; "
                f"run `lookalike verify {old.path} --repair` first"
            )


def copy_tables(old: Store, new: Store, tables: Sequence[str]) -> None:
    """Whole tables beside the items, as they are."""
    for table in tables:
        for values in old.catalog.database.query(f"SELECT {COVERED[table]} FROM {table}"):  # noqa: S608 - constants of this package
            # Its header is what each collection has of its own.
            if (table, values[0]) != ("facts", "header"):
                new.catalog.put(table, *values, verb="INSERT OR REPLACE")
