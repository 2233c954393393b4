"""Rows of one collection copied behind the rows of another: what `compact`, `merge` and `whiten` are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lookalike.errors import CollectionError
from lookalike.storage.catalog import StoredEntry, from_blob
from lookalike.storage.fence import GENERATIONS, SUPERSEDED, WRITER
from lookalike.storage.sqlite import crc
from lookalike.storage.store import Store
from lookalike.types import Ids, Progress, Vectors
from lookalike.utils.text import command

OF_ITS_OWN = ("header", GENERATIONS, WRITER, SUPERSEDED)
"""Facts of the header and of the engine."""
DAMAGED = 3
"""The mark of a row that is never used again."""
COMMIT_EVERY = 64
"""Blocks; the journal and the pages of one transaction stay small."""


@dataclass(frozen=True)
class RowChanges:
    """How rows are changed while they are copied; by default they are copied as they are, without the removed ones.

    `apply` changes the vectors (n, dim). `key(source, key)` gives the new key; None leaves the row out. `sources` and
    `columns` map old numbers to new ones. `former` is a collection to take vectors from, and what gives the rows there
    of a block of entries: where that is -1, the new row is marked as damaged.
    """

    apply: Callable[[Vectors], Vectors] | None = None
    with_removed: bool = False
    sources: dict[int, int] | None = None
    key: Callable[[int, bytes], bytes | None] = lambda _, key: key
    columns: dict[int, int] | None = None
    former: "tuple[Store, Callable[[Sequence[StoredEntry]], Ids]] | None" = None


def copy_rows(old: Store, new: Store, changes: RowChanges = RowChanges(), progress: Progress | None = None) -> int:
    """Copy the rows of `old`, inside `new.writing()`; how many were read.

    Raises CollectionError at the first row that is damaged.
    """
    done, total = 0, old.catalog.count_rows()
    for number, block in enumerate(old.catalog.entries(changes.with_removed), 1):
        copy_block(old, new, changes, block)
        done += len(block)
        if number % COMMIT_EVERY == 0:
            new.commit()
        if progress:
            progress(block[-1][0] + 1, total)
    return done


def copy_block(old: Store, new: Store, changes: RowChanges, block: Sequence[StoredEntry]) -> None:
    """Copy the rows of one block: vectors, catalog entries and metadata."""
    rows = np.array([entry[0] for entry in block], np.int64)
    _refuse_damaged(old, block, rows)
    renamed = [(changes.key(entry[1], entry[2]), entry) for entry in block]
    is_copied = np.array([key is not None for key, _ in renamed])
    block = [(entry[0], entry[1], key, *entry[3:]) for key, entry in renamed if key is not None]
    rows = rows[is_copied]
    if not block:
        return
    first = new.count()
    if changes.former:
        block, vector_crcs = _copy_former(new, *changes.former, block, first)
    else:
        vector_crcs = _copy_vectors(old, new, changes, rows, first)
    sources = changes.sources or {}
    new.append_entries(
        [
            (sources.get(entry[1], entry[1]), *entry[2:9], vector_crc)
            for entry, vector_crc in zip(block, vector_crcs, strict=True)
        ]
    )
    _copy_metadata(old, new, changes, rows, first)


def _copy_vectors(old: Store, new: Store, changes: RowChanges, rows: Ids, first: int) -> list[int]:
    if changes.apply is None:
        return new.vectors.copy(first, old.vectors, rows)
    return new.vectors.append(first, changes.apply(old.vectors.rows(rows)))


def _copy_former(
    new: Store, former: Store, rows_in: Callable[[Sequence[StoredEntry]], Ids], block: Sequence[StoredEntry], first: int
) -> tuple[list[StoredEntry], list[int]]:
    """Copy the vectors of a block from another collection: the entries, marked where it has none, and checksums."""
    rows = rows_in(block)
    if not former.count():
        vector_crcs = new.vectors.append(first, np.eye(1, new.header.dim, dtype=np.float32).repeat(len(block), 0))
    else:
        vector_crcs = new.vectors.copy(first, former.vectors, np.maximum(rows, 0))
    marks = np.where(rows < 0, DAMAGED, [entry[8] for entry in block]).tolist()
    marked = [(*entry[:8], mark, *entry[9:]) for mark, entry in zip(marks, block, strict=True)]
    return marked, vector_crcs


def _copy_metadata(old: Store, new: Store, changes: RowChanges, rows: Ids, first: int) -> None:
    numbers = {row: first + offset for offset, row in enumerate(rows.tolist())}
    columns = changes.columns or {}
    for row, column, value in old.catalog.values_between(int(rows[0]), int(rows[-1])):
        if row in numbers:
            new.catalog.put("meta", numbers[row], columns.get(column, column), value)


def _refuse_damaged(old: Store, block: Sequence[StoredEntry], rows: Ids) -> None:
    """A copy would give a damaged row a checksum that is right."""
    checksums = old.vectors.checksums(int(rows[0]), int(rows[-1]) + 1)
    for entry in block:
        *values, stored = entry
        is_damaged = crc(*values) != stored or checksums[entry[0] - int(rows[0])] != entry[9]
        if is_damaged and entry[8] != DAMAGED:
            raise CollectionError(
                f"{old.path}: row {entry[0]} ({from_blob(bytes(entry[2]))}) is damaged; "
                f"run `{command('verify', old.path, '--repair')}` first"
            )


def copy_tables(old: Store, new: Store, tables: Sequence[str]) -> None:
    """Copy whole tables beside the items as they are, but not what each collection has of its own."""
    for table in tables:
        for values in old.catalog.table(table):
            if table != "facts" or values[0] not in OF_ITS_OWN:
                new.catalog.put(table, *values, verb="INSERT OR REPLACE")
