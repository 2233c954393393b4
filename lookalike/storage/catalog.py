"""The catalog of a collection: which image is which row, where it came from, and a checksum of every entry (SQLite)."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lookalike.errors import CollectionError
from lookalike.storage.sqlite import connect, crc, is_left_open, reading
from lookalike.types import Ids

# `removed`: 0 is live, 1 gone from its source, 2 taken out by hand, 3 damaged and not to be used for anything.
# `vector_crc` is of the row of the vector file, `crc` of all other columns, so that renaming need not read the vector.
# `sha256` is empty where the bytes were never seen (imported vectors).
SCHEMA = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE sources (id INTEGER PRIMARY KEY, location BLOB NOT NULL UNIQUE, prefix BLOB NOT NULL, "
    "crc INTEGER NOT NULL)",
    "CREATE TABLE items (row INTEGER PRIMARY KEY, source INTEGER NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL, "
    "mtime_ns INTEGER NOT NULL, sha256 BLOB NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, "
    "removed INTEGER NOT NULL, vector_crc INTEGER NOT NULL, crc INTEGER NOT NULL)",
    "CREATE UNIQUE INDEX items_key ON items (key) WHERE removed = 0",
    "CREATE INDEX items_sha256 ON items (sha256) WHERE sha256 != x''",
    "CREATE INDEX items_source ON items (source) WHERE removed = 0",
    "CREATE INDEX items_removed ON items (row) WHERE removed > 0",
    "CREATE TABLE dismissed (key BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, "
    "crc INTEGER NOT NULL)",
    "CREATE TABLE skipped (key BLOB PRIMARY KEY, source INTEGER NOT NULL, reason TEXT NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE columns (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, type TEXT NOT NULL, "
    "crc INTEGER NOT NULL)",
    'CREATE TABLE meta (row INTEGER NOT NULL, "column" INTEGER NOT NULL, value NOT NULL, crc INTEGER NOT NULL, '
    'PRIMARY KEY (row, "column")) WITHOUT ROWID',
    'CREATE INDEX meta_value ON meta ("column", value)',
)
ITEM = "row, source, key, size, mtime_ns, sha256, width, height, removed, vector_crc"
# What each table's `crc` is of.
COVERED = {
    "facts": "name, value",
    "sources": "id, location, prefix",
    "items": ITEM,
    "dismissed": "key, size, mtime_ns",
    "skipped": "key, source, reason",
    "columns": "id, name, type",
    "meta": 'row, "column", value',
}
CATALOG = "catalog.sqlite"


@dataclass(frozen=True)
class Item:
    """One image of a collection; `source` is the id of where it came from."""

    row: int
    source: int
    key: str
    size: int
    mtime_ns: int
    sha256: str
    width: int
    height: int
    removed: bool = False


def to_blob(key: str) -> bytes:
    """A key as it is stored: names that are not UTF-8 keep their bytes."""
    return key.encode("utf-8", "surrogateescape")


def from_blob(blob: bytes) -> str:
    """The inverse of `to_blob`."""
    return blob.decode("utf-8", "surrogateescape")


def make(path: Path) -> None:
    """An empty catalog in the folder `path`."""
    (path / CATALOG).unlink(missing_ok=True)
    (path / f"{CATALOG}-journal").unlink(missing_ok=True)
    catalog = connect(path / CATALOG)
    for statement in SCHEMA:
        catalog.execute(statement)
    catalog.close()


class Catalog:
    """An open catalog; safe to read from several threads. While it is written to, all of it is one transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._identity = self._on_disk()
        self._reader = self._catalog = self._connect()
        self._connections = 1

    def close(self) -> None:
        """Let go of the file, once no other thread is reading it."""
        with self._lock:
            self._catalog.close()
            self._reader.close()

    @contextmanager
    def through_writer(self) -> Iterator[None]:
        """All through a connection that can write, for who has the lock; what is not committed is rolled back."""
        with self._lock:
            try:
                self._catalog = connect(self.path / CATALOG, "?mode=rw")
            except sqlite3.Error as error:
                raise self._failed(error) from error
        try:
            yield
        finally:
            with self._lock:
                self._catalog.close()
                self._catalog = self._reader

    def _on_disk(self) -> tuple[int, int]:
        try:
            status = (self.path / CATALOG).stat()
        except OSError:
            return (0, 0)
        return status.st_dev, status.st_ino

    @property
    def replaced(self) -> bool:
        """Whether another collection has taken this one's place since it was opened (a rebuild, `compact`)."""
        return self._on_disk() != self._identity

    def _connect(self) -> sqlite3.Connection:
        database = self.path / CATALOG
        if not database.is_file():
            raise CollectionError(f"{self.path}: catalog.sqlite is missing; index again with --rebuild")
        try:
            return reading(database)
        except sqlite3.Error as error:
            way = f"run `lookalike verify {self.path} --repair`, or index again with --rebuild"
            raise CollectionError(f"{database} is damaged ({error}); {way}") from error

    def _ask(
        self, sql: str, values: Sequence[object] = (), through: sqlite3.Connection | None = None
    ) -> sqlite3.Cursor:
        """A statement begun; through a new connection where a crash left a transaction, which is rolled back then.

        Never in the middle of a transaction of this one: what was read in it so far would be of another state.
        """
        try:
            return (through or self._catalog).execute(sql, values)
        except sqlite3.Error as error:
            is_reading = self._catalog is self._reader and not self._catalog.in_transaction
            if not (is_left_open(error) and is_reading) or self.replaced:
                raise
        fresh = self._connect()
        self._reader.close()
        self._reader = self._catalog = fresh
        self._connections += 1
        return self._catalog.execute(sql, values)

    def query(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows that a statement gives; raises CollectionError."""
        with self._lock:
            try:
                return self._ask(sql, values).fetchall()
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def numbers(self, sql: str, values: Sequence[object] = ()) -> Ids:
        """The first column as an array; no list of objects is made, however many there are."""
        with self._lock:
            try:
                return np.fromiter((row for (row,) in self._ask(sql, values)), np.int64)
            except (sqlite3.Error, TypeError, ValueError) as error:
                raise self._failed(error) from error

    def execute(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run one statement inside the writer's transaction; how many rows it changed."""
        with self._lock:
            try:
                return self._catalog.execute(sql, values).rowcount
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def execute_many(self, sql: str, values: Sequence[Sequence[object]]) -> None:
        """One statement for each of several rows."""
        with self._lock:
            try:
                self._catalog.executemany(sql, values)
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def _failed(self, error: Exception) -> CollectionError:
        return CollectionError(f"{self.path}/{CATALOG}: {error}; run `lookalike verify {self.path}`")

    def _number(self, sql: str, values: Sequence[object] = ()) -> int:
        return int(self.query(sql, values)[0][0])

    # Reading

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several reads of one committed state."""
        with self._lock:
            began = not self._catalog.in_transaction
            if began:
                # What a crash left open has to be rolled back before, by another connection: this asks for it.
                self.query("PRAGMA data_version")
                self.query("BEGIN")
            try:
                yield
            finally:
                if began:
                    self.query("COMMIT")

    @property
    def version(self) -> tuple[int, int]:
        """Changes whenever another process has committed."""
        with self._lock:
            try:
                counted = self._ask("PRAGMA data_version", through=self._reader).fetchone()[0]
            except sqlite3.Error as error:
                raise self._failed(error) from error
            # SQLite counts anew for every connection.
            return self._connections, int(counted)

    def count_rows(self) -> int:
        """How many rows there are, removed ones included."""
        return self._number("SELECT COALESCE(MAX(row) + 1, 0) FROM items")

    def removed_rows(self) -> Ids:
        """The rows that are marked removed."""
        return self.numbers("SELECT row FROM items WHERE removed > 0")

    def item(self, row: int) -> Item:
        """The item in this row; raises CollectionError where there is none."""
        found = self._items("WHERE row = ?", (row,))
        if not found:
            raise CollectionError(f"{self.path} has no row {row}")
        return found[0]

    def live_item(self, key: str) -> Item | None:
        """The item of this key, unless it was removed."""
        return next(iter(self._items("WHERE key = ? AND removed = 0", (to_blob(key),))), None)

    def is_dismissed(self, key: str, size: int, mtime_ns: int) -> bool:
        """Whether this very file was taken out by hand."""
        sql = "SELECT 1 FROM dismissed WHERE key = ? AND size = ? AND mtime_ns = ?"
        return bool(self.query(sql, (to_blob(key), size, mtime_ns)))

    def items_of_content(self, sha256: str) -> list[Item]:
        """Items with this content, live ones first; removed ones still have their vector."""
        where = "WHERE sha256 = ? AND sha256 != x'' AND removed < 3 ORDER BY removed, row"
        return self._items(where, (bytes.fromhex(sha256),))

    def live_items(self) -> Iterator[Item]:
        """All items that count, in the order of their rows; a block of them is held at a time."""
        last = -1
        while block := self._items("WHERE row > ? AND removed = 0 ORDER BY row LIMIT 4096", (last,)):
            yield from block
            last = block[-1].row

    def _items(self, where: str, values: Sequence[object]) -> list[Item]:
        rows = self.query(f"SELECT {ITEM} FROM items {where}", values)  # noqa: S608 - `where` is a constant of this file
        return [to_item(row) for row in rows]

    def rows_of_source(self, source: int) -> Iterator[tuple[int, str]]:
        """(row, key) of the live items of one source; a block of them is held at a time."""
        sql, last = (
            "SELECT row, key FROM items WHERE source = ? AND removed = 0 AND row > ? ORDER BY row LIMIT 4096",
            -1,
        )
        while block := self.query(sql, (source, last)):
            yield from ((row, from_blob(key)) for row, key in block)
            last = block[-1][0]

    def rows_under(self, source: int, key: str) -> Iterator[tuple[int, str]]:
        """(row, key) of the live item of a key, and of those in the folder of that name."""
        # Two questions, and +source: else SQLite would go through the whole source.
        sql = "SELECT row, key FROM items WHERE removed = 0 AND +source = ? AND "
        at, first, last = _at_or_in(key)
        found = self.query(f"{sql} key = ?", (source, at))
        for row, blob in found + self.query(f"{sql} key >= ? AND key < ?", (source, first, last)):
            yield row, from_blob(blob)

    def sources(self) -> list[tuple[int, str, str]]:
        """(id, location, prefix) of every source that was indexed."""
        rows = self.query("SELECT id, location, prefix FROM sources ORDER BY id")
        return [(id_, from_blob(place), from_blob(prefix)) for id_, place, prefix in rows]

    def skipped(self) -> list[tuple[str, str]]:
        """(key, reason) of what could not be used at the last run."""
        rows = self.query("SELECT key, reason FROM skipped ORDER BY key")
        return [(from_blob(key), reason) for key, reason in rows]

    # Writing: each is one statement; `Store.writing` makes transactions of them.

    def put(self, table: str, *values: object, verb: str = "INSERT") -> None:
        """One row into a table of `COVERED`, with its checksum."""
        marks = ", ".join("?" * (len(values) + 1))
        sql = f"{verb} INTO {table} ({COVERED[table]}, crc) VALUES ({marks})"
        self.execute(sql, (*values, crc(*values)))

    def rename(self, row: int, key: str, size: int, mtime_ns: int) -> None:
        """The same content under another name, or with other times; a damaged entry keeps its wrong checksum."""
        entry = "crc(row, source, ?1, ?2, ?3, sha256, width, height, removed, vector_crc)"
        changed = f"key = ?1, size = ?2, mtime_ns = ?3, crc = {entry}"
        sql = f"UPDATE items SET {changed} WHERE row = ?4 AND crc = crc({ITEM})"  # noqa: S608 - constants
        self.execute(sql, (to_blob(key), size, mtime_ns, row))

    def remove(self, rows: Sequence[int], why: Literal["gone", "damaged"] = "gone") -> None:
        """Mark rows removed; but for damaged ones, their content can come back without being embedded again."""
        self._mark(rows, {"gone": 1, "damaged": 3}[why])

    def dismiss(self, items: Sequence[Item]) -> None:
        """Mark items taken out by hand; their files stay out until they change."""
        for item in items:
            self.put("dismissed", to_blob(item.key), item.size, item.mtime_ns, verb="INSERT OR REPLACE")
        self._mark([item.row for item in items], 2)

    def _mark(self, rows: Sequence[int], mark: int) -> None:
        covered = ITEM.replace("removed", "?1")
        sql = f"UPDATE items SET removed = ?1, crc = crc({covered}) WHERE row = ?2"  # noqa: S608 - constants
        for row in rows:
            self.execute(sql, (mark, int(row)))

    def add_source(self, location: str, prefix: str) -> int:
        """Remember where images come from, and give its id."""
        id_ = self._number("SELECT COALESCE(MAX(id), 0) + 1 FROM sources")
        self.put("sources", id_, to_blob(location), to_blob(prefix))
        return id_

    def clear_skipped(self, source: int) -> None:
        """Forget what was skipped of one source, before it is read again."""
        self.execute("DELETE FROM skipped WHERE source = ?", (source,))

    def clear_skipped_under(self, key: str) -> None:
        """Forget what was skipped at a key, or in the folder of that name."""
        self.execute("DELETE FROM skipped WHERE key = ? OR (key >= ? AND key < ?)", _at_or_in(key))

    def add_skipped(self, source: int, key: str, reason: str) -> None:
        """Note why a file could not be used."""
        self.put("skipped", to_blob(key), source, reason, verb="INSERT OR REPLACE")


def _at_or_in(key: str) -> tuple[bytes, bytes, bytes]:
    """A key, and the bounds of the keys in a folder of its name: "0" comes behind "/"."""
    blob = to_blob(key)
    return blob, blob + b"/", blob + b"0"


def to_item(values: tuple[Any, ...]) -> Item:
    """A row of the catalog as an Item; raises CollectionError where it is none."""
    row, source, key, size, mtime_ns, sha256, width, height, removed = values[:9]
    try:
        return Item(row, source, from_blob(key), size, mtime_ns, sha256.hex(), width, height, bool(removed))
    except (AttributeError, TypeError) as error:
        raise CollectionError(f"row {row} of the catalog is damaged; run `lookalike verify --repair`") from error
