"""A catalog that SQLite finds broken to a new one of all entries that can still be read.

Entries are read as SQLite finds them first; those behind a page that leads nowhere now are looked for in the leaves.
"""

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.storage import catalog
from lookalike.storage.catalog import CATALOG, COVERED, ITEM
from lookalike.storage.maintenance.sqlite_pages import PageRecord, records
from lookalike.storage.manifest import Header
from lookalike.storage.sqlite import connect, crc
from lookalike.storage.store import sync_folder

SIDE_TABLES = tuple(table for table in COVERED if table != "items")
LONGEST = 1 << 40
"""Bytes: a flipped bit in the first page must not make a file of them."""
DAMAGED = 3
"""The mark of a row that is not to be used for anything."""
NUMBERED = type(None)
"""A column that is SQLite's number of the row, which a record does not repeat."""
SHAPES: dict[str, tuple[type, ...]] = {
    "facts": (str, object, int),
    "sources": (NUMBERED, bytes, bytes, int),
    "items": (NUMBERED, int, bytes, int, int, bytes, int, int, int, int, int),
    "dismissed": (bytes, int, int, int),
    "skipped": (bytes, int, str, int),
    "columns": (NUMBERED, str, str, int),
    "meta": (int, int, object, int),
}
"""What tells the records of one table from those of another."""


def salvage(path: Path, told: Header, held: int) -> list[tuple[int, str]]:
    """Put a new catalog in place; the rows that were lost, which are marked as damaged in it.

    `held` is how many vectors there are: what tells how many rows there were where the catalog cannot.
    """
    draft = path / "salvaged"
    copy = draft / "damaged.sqlite"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    catalog.make(draft)
    with closing(connect(draft / CATALOG)) as new, closing(_opened(path, copy)) as old:
        new.execute("BEGIN")
        for table in SIDE_TABLES:
            _fill(new, table, _readable(old, table, copy))
        lost = _items(old, new, copy, _rows(old, held))
        values = ("header", told.to_text())
        new.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (*values, crc(*values)))
        new.execute("COMMIT")
    (path / f"{CATALOG}-journal").unlink(missing_ok=True)
    (draft / CATALOG).replace(path / CATALOG)
    sync_folder(path)
    shutil.rmtree(draft, ignore_errors=True)
    return lost


def _opened(path: Path, copy: Path) -> sqlite3.Connection:
    """A copy of the damaged catalog, as long as its first page says it was: SQLite opens none that was cut."""
    for suffix in ("", "-journal"):
        source = path / f"{CATALOG}{suffix}"
        if source.is_file():
            shutil.copyfile(source, copy.with_name(f"{copy.name}{suffix}"))
    with copy.open("ab") as file, copy.open("rb") as reader:
        first = reader.read(100)
        page = int.from_bytes(first[16:18], "big")
        length = (65536 if page == 1 else page) * int.from_bytes(first[28:32], "big")
        if file.tell() < length < LONGEST:
            file.truncate(length)
    try:
        return connect(copy)
    except sqlite3.Error:
        copy.write_bytes(b"")
        copy.with_name(f"{copy.name}-journal").unlink(missing_ok=True)
        return connect(copy)


def _fill(new: sqlite3.Connection, table: str, entries: Iterable[PageRecord]) -> None:
    marks = ", ".join("?" * (len(COVERED[table].split(",")) + 1))
    # Two entries of one key are what a flipped bit can make of a mark; the first stays.
    sql = f"INSERT OR IGNORE INTO {table} ({COVERED[table]}, crc) VALUES ({marks})"  # noqa: S608 - constants
    new.executemany(sql, entries)


def _readable(old: sqlite3.Connection, table: str, copy: Path) -> Iterator[PageRecord]:
    """Entries that match their checksums; where the table cannot be read on, also those in leaves behind it."""
    try:
        for values in old.execute(f"SELECT {COVERED[table]}, crc FROM {table} NOT INDEXED"):  # noqa: S608 - constants
            if crc(*values[:-1]) == values[-1]:
                yield values
    except sqlite3.Error:
        yield from _loose(copy, table)


def _loose(copy: Path, table: str) -> Iterator[PageRecord]:
    """Entries of a table that match their checksums, wherever in the file they lie."""
    shape = SHAPES[table]
    for rowid, values in records(copy):
        if len(values) == len(shape) and all(map(isinstance, values, shape)):
            entry = (rowid, *values[1:]) if shape[0] is NUMBERED else values
            if crc(*entry[:-1]) == entry[-1]:
                yield entry


def _rows(old: sqlite3.Connection, held: int) -> int:
    """How many rows there were; never less than there are vectors, but for what a crash left behind them."""
    try:
        last = old.execute("SELECT MAX(row) FROM items NOT INDEXED").fetchone()[0]
    except sqlite3.Error:
        return held
    return last + 1 if isinstance(last, int) and 0 <= last < 2 * held + 4096 else held


def _items(old: sqlite3.Connection, new: sqlite3.Connection, copy: Path, rows: int) -> list[tuple[int, str]]:
    """Fill the table of items; the rows that were lost, by number and, where an index still tells it, by key."""
    found = np.zeros(rows, np.bool_)
    _fill(new, "items", _noted(_entries(old, rows), found))
    if not found.all():
        _fill(new, "items", _noted(_loose(copy, "items"), found))
    missing = np.flatnonzero(~found).tolist()
    names = _names(old, found) if missing else {}
    lost = [(row, names.get(row, f"row {row}")) for row in missing]
    placeholders = ((row, 0, catalog.to_blob(name), -1, -1, b"", 0, 0, DAMAGED, 0) for row, name in lost)
    _fill(new, "items", ((*entry, crc(*entry)) for entry in placeholders))
    return lost


def _noted(entries: Iterable[PageRecord], found: NDArray[np.bool_]) -> Iterator[PageRecord]:
    """Those of rows that were not found yet, which they are from then on."""
    for entry in entries:
        if 0 <= entry[0] < len(found) and not found[entry[0]]:
            found[entry[0]] = True
            yield entry


def _entries(old: sqlite3.Connection, rows: int) -> Iterator[PageRecord]:
    """Entries that match their checksums, asked for one by one: a damaged page is passed over."""
    sql = f"SELECT {ITEM}, crc FROM items NOT INDEXED WHERE row = ?"  # noqa: S608 - a constant
    for row in range(rows):
        try:
            values = old.execute(sql, (row,)).fetchone()
        except sqlite3.Error:
            continue
        if values is not None and crc(*values[:-1]) == values[-1]:
            yield values


def _names(old: sqlite3.Connection, found: NDArray[np.bool_]) -> dict[int, str]:
    """Keys of rows that were not found, from the index of keys, as far as it can be read."""
    names = {}
    try:
        for row, key in old.execute("SELECT row, key FROM items INDEXED BY items_key WHERE removed = 0"):
            if 0 <= row < len(found) and not found[row] and isinstance(key, bytes):
                names[row] = catalog.from_blob(key)
    except sqlite3.Error:
        return names
    return names
