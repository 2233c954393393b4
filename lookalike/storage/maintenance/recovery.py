"""A catalog that SQLite cannot read in full to a new one of all entries that can still be read.

Entries are first read through SQLite; those that its damaged pages no longer lead to are then searched in the leaves.
"""

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import CollectionError
from lookalike.storage import catalog
from lookalike.storage.catalog import CATALOG, COVERED, ITEM, Catalog
from lookalike.storage.maintenance.sqlite_pages import PageRecord, records
from lookalike.storage.manifest import Header, parse, read_header
from lookalike.storage.sqlite import connect, crc
from lookalike.utils.files import sync_folder

DRAFT = "salvaged"
"""The folder in a collection for what was read of it."""
SIDE_TABLES = tuple(table for table in COVERED if table != "items")
LONGEST = 1 << 40
"""Bytes: a flipped bit in the first page must not make a larger file."""
DAMAGED = 3
"""The value of `removed` for a row that must not be used for anything."""
NUMBERED = type(None)
"""The type of a column that is SQLite's rowid, which a record does not repeat."""
SHAPES: dict[str, tuple[type, ...]] = {
    "facts": (str, object, int),
    "sources": (NUMBERED, bytes, bytes, int),
    "items": (NUMBERED, int, bytes, int, int, bytes, int, int, int, int, int),
    "dismissed": (bytes, int, int, int),
    "skipped": (bytes, int, str, int),
    "columns": (NUMBERED, str, str, int),
    "meta": (int, int, object, int),
}
"""Types of the columns, which distinguish the records of one table from those of another."""


def salvage(path: Path, header: Header, vectors: int) -> list[tuple[int, str]]:
    """Replace the catalog by a new one; returns the lost rows (number, key), which it marks as damaged.

    `vectors` is how many vectors there are: the number of rows, where the catalog does not say it.
    """
    draft, lost = _draft(path, vectors)
    with closing(connect(draft / CATALOG)) as new:
        values = ("header", header.to_text())
        new.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (*values, crc(*values)))
    (path / f"{CATALOG}-journal").unlink(missing_ok=True)
    (draft / CATALOG).replace(path / CATALOG)
    sync_folder(path)
    shutil.rmtree(draft, ignore_errors=True)
    return lost


@dataclass(frozen=True)
class Recovered:
    """What could be read of the collection in `path`: entries, and the header where it is known."""

    path: Path
    catalog: Catalog
    header: Header | None


@contextmanager
def recovered(path: Path) -> Iterator[Recovered]:
    """What a rebuild can take over from a collection that cannot be opened, for whoever has its lock."""
    try:
        draft, _ = _draft(path, None)
        with closing(Catalog(draft)) as entries:
            yield Recovered(path, entries, _known_header(path, entries))
    finally:
        shutil.rmtree(path / DRAFT, ignore_errors=True)


def _known_header(path: Path, entries: Catalog) -> Header | None:
    with suppress(CollectionError):
        return read_header(path)
    with suppress(CollectionError, KeyError):
        return parse(str(entries.facts(["header"])["header"]), path)
    return None


def _draft(path: Path, vectors: int | None) -> tuple[Path, list[tuple[int, str]]]:
    """A folder with a new catalog of all entries that can still be read, and the lost rows (number, key)."""
    draft = path / DRAFT
    copy = draft / "damaged.sqlite"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    catalog.make(draft)
    with closing(connect(draft / CATALOG)) as new, closing(_open_copy(path, copy)) as old:
        new.execute("BEGIN")
        for table in SIDE_TABLES:
            _fill(new, table, _readable(old, table, copy))
        lost = _items(old, new, copy, _count_rows(old, copy, vectors))
        new.execute("COMMIT")
    return draft, lost


def _open_copy(path: Path, copy: Path) -> sqlite3.Connection:
    """A copy of the damaged catalog, as long as its first page says: SQLite does not open a file that was cut."""
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
        # No table of it can be read, and all entries are searched in the leaves.
        return connect(copy.with_name("empty.sqlite"))


def _fill(new: sqlite3.Connection, table: str, entries: Iterable[PageRecord]) -> None:
    marks = ", ".join("?" * (len(COVERED[table].split(",")) + 1))
    # A flipped bit in `removed` can give two live entries with the same key; the first stays.
    sql = f"INSERT OR IGNORE INTO {table} ({COVERED[table]}, crc) VALUES ({marks})"  # noqa: S608 - constants
    new.executemany(sql, entries)


def _readable(old: sqlite3.Connection, table: str, copy: Path) -> Iterator[PageRecord]:
    """Entries that match their checksums; where SQLite cannot read the whole table, also those in the leaves."""
    try:
        for values in old.execute(f"SELECT {COVERED[table]}, crc FROM {table} NOT INDEXED"):  # noqa: S608 - constants
            if crc(*values[:-1]) == values[-1]:
                yield values
    except sqlite3.Error:
        yield from _loose(copy, table)


def _loose(copy: Path, table: str) -> Iterator[PageRecord]:
    """Entries of a table that match their checksums, from all leaves of the file."""
    shape = SHAPES[table]
    for rowid, values in records(copy):
        if len(values) == len(shape) and all(map(isinstance, values, shape)):
            entry = (rowid, *values[1:]) if shape[0] is NUMBERED else values
            if crc(*entry[:-1]) == entry[-1]:
                yield entry


def _count_rows(old: sqlite3.Connection, copy: Path, vectors: int | None) -> int:
    """How many rows there were, by the catalog if that is plausible, else as many as there are vectors.

    Where the vectors are not known, the last row that can be read is the last one; each takes some bytes.
    """
    limit = copy.stat().st_size if vectors is None else 2 * vectors + 4096
    try:
        last = old.execute("SELECT MAX(row) FROM items NOT INDEXED").fetchone()[0]
    except sqlite3.Error:
        last = None
    if isinstance(last, int) and 0 <= last < limit:
        return last + 1
    if vectors is not None:
        return vectors
    return max((entry[0] for entry in _loose(copy, "items") if entry[0] < limit), default=-1) + 1


def _items(old: sqlite3.Connection, new: sqlite3.Connection, copy: Path, rows: int) -> list[tuple[int, str]]:
    """Fill the table of items; returns the lost rows with their keys, where an index still has them."""
    recovered = np.zeros(rows, np.bool_)
    _fill(new, "items", _first_of_each(_entries(old, rows), recovered))
    if not recovered.all():
        _fill(new, "items", _first_of_each(_loose(copy, "items"), recovered))
    missing = np.flatnonzero(~recovered).tolist()
    names = _names(old, recovered) if missing else {}
    lost = [(row, names.get(row, f"row {row}")) for row in missing]
    placeholders = ((row, 0, catalog.to_blob(name), -1, -1, b"", 0, 0, DAMAGED, 0) for row, name in lost)
    _fill(new, "items", ((*entry, crc(*entry)) for entry in placeholders))
    return lost


def _first_of_each(entries: Iterable[PageRecord], recovered: NDArray[np.bool_]) -> Iterator[PageRecord]:
    """The entries of rows that are not `recovered` yet, and marks them so."""
    for entry in entries:
        if 0 <= entry[0] < len(recovered) and not recovered[entry[0]]:
            recovered[entry[0]] = True
            yield entry


def _entries(old: sqlite3.Connection, rows: int) -> Iterator[PageRecord]:
    """Entries that match their checksums, with a query for each row: damaged pages are passed over."""
    sql = f"SELECT {ITEM}, crc FROM items NOT INDEXED WHERE row = ?"  # noqa: S608 - a constant
    for row in range(rows):
        try:
            values = old.execute(sql, (row,)).fetchone()
        except sqlite3.Error:
            continue
        if values is not None and crc(*values[:-1]) == values[-1]:
            yield values


def _names(old: sqlite3.Connection, recovered: NDArray[np.bool_]) -> dict[int, str]:
    """Keys of rows that were not recovered, from the index of keys, as far as it can be read."""
    names = {}
    try:
        for row, key in old.execute("SELECT row, key FROM items INDEXED BY items_key WHERE removed = 0"):
            if 0 <= row < len(recovered) and not recovered[row] and isinstance(key, bytes):
                names[row] = catalog.from_blob(key)
    except sqlite3.Error:
        return names
    return names
