"""A catalog that SQLite finds broken to a new one of all entries that can still be read."""

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from lookalike import catalog
from lookalike.catalog import CATALOG, COVERED, ITEM, crc
from lookalike.header import Header
from lookalike.store import sync_folder

SIDE_TABLES = tuple(table for table in COVERED if table != "items")
LONGEST = 1 << 40
"""Bytes: a flipped bit in the first page must not make a file of them."""
DAMAGED = 3
"""The mark of a row that is not to be used for anything."""


def salvage(path: Path, told: Header, held: int) -> list[tuple[int, str]]:
    """Put a new catalog in place; the rows that were lost, which are marked as damaged in it.

    `held` is how many vectors there are: what tells how many rows there were where the catalog cannot.
    """
    draft = path / "salvaged"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    catalog.make(draft)
    lost: list[tuple[int, str]] = []
    with closing(catalog.connect(draft / CATALOG)) as new, closing(_opened(path, draft / "damaged.sqlite")) as old:
        new.execute("BEGIN")
        for table in SIDE_TABLES:
            _fill(new, table, _readable(old, table))
        _fill(new, "items", _entries(old, _rows(old, held), lost))
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
        return catalog.connect(copy)
    except sqlite3.Error:
        copy.write_bytes(b"")
        copy.with_name(f"{copy.name}-journal").unlink(missing_ok=True)
        return catalog.connect(copy)


def _fill(new: sqlite3.Connection, table: str, entries: Iterable[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * (len(COVERED[table].split(",")) + 1))
    # Two entries of one key are what a flipped bit can make of a mark; the first stays.
    sql = f"INSERT OR IGNORE INTO {table} ({COVERED[table]}, crc) VALUES ({marks})"  # noqa: S608 - constants
    new.executemany(sql, entries)


def _readable(old: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Entries that match their checksums, up to where the table cannot be read on."""
    try:
        for values in old.execute(f"SELECT {COVERED[table]}, crc FROM {table} NOT INDEXED"):  # noqa: S608 - constants
            if crc(*values[:-1]) == values[-1]:
                yield values
    except sqlite3.Error:
        return


def _rows(old: sqlite3.Connection, held: int) -> int:
    """How many rows there were; never less than there are vectors, but for what a crash left behind them."""
    try:
        last = old.execute("SELECT MAX(row) FROM items NOT INDEXED").fetchone()[0]
    except sqlite3.Error:
        return held
    return last + 1 if isinstance(last, int) and 0 <= last < 2 * held + 4096 else held


def _entries(old: sqlite3.Connection, rows: int, lost: list[tuple[int, str]]) -> Iterator[tuple[Any, ...]]:
    sql = f"SELECT {ITEM}, crc FROM items NOT INDEXED WHERE row = ?"  # noqa: S608 - a constant
    for row in range(rows):
        try:
            values = old.execute(sql, (row,)).fetchone()
        except sqlite3.Error:
            values = None
        if values is not None and crc(*values[:-1]) == values[-1]:
            yield values
            continue
        name = catalog.from_blob(values[2]) if values and isinstance(values[2], bytes) else f"row {row}"
        lost.append((row, name))
        entry = (row, 0, catalog.to_blob(name), -1, -1, b"", 0, 0, DAMAGED, 0)
        yield *entry, crc(*entry)
