"""A collection on disk: a catalog (SQLite) and the vectors (one flat file, memory-mapped), kept in step.

Catalog row = vector row = FAISS position. Vectors are written and flushed before the rows that name them are committed,
so a crash leaves at most surplus vectors, which the next writer overwrites.
"""

import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from lookalike.errors import CollectionError, CollectionLocked
from lookalike.types import Ids, Vectors

FORMAT = 1
# `removed`: 0 is live, 1 gone from its source, 2 taken out by hand, 3 damaged and not to be used for anything.
SCHEMA = """
CREATE TABLE sources (id INTEGER PRIMARY KEY, location BLOB NOT NULL UNIQUE, prefix BLOB NOT NULL);
CREATE TABLE items (
    row INTEGER PRIMARY KEY, source INTEGER NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, sha256 BLOB NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    checksum INTEGER NOT NULL, removed INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX items_key ON items (key) WHERE removed = 0;
CREATE INDEX items_sha256 ON items (sha256);
CREATE INDEX items_removed ON items (key) WHERE removed > 0;
CREATE TABLE skipped (key BLOB PRIMARY KEY, source INTEGER NOT NULL, reason TEXT NOT NULL);
"""
ITEM = "row, source, key, size, mtime_ns, sha256, width, height, checksum, removed"


@dataclass(frozen=True)
class Header:
    """What never changes in the life of a collection; `encoder` is the name that `load_encoder` takes."""

    encoder: str
    fingerprint: str
    dim: int
    dtype: str = "float32"
    format: int = FORMAT


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


@dataclass(frozen=True)
class Damage:
    """What `verify` found: rows whose vector or catalog entry does not match its checksum, and what else is wrong."""

    rows: tuple[tuple[int, str], ...]
    faults: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.rows or self.faults)


def to_blob(key: str) -> bytes:
    """A key as it is stored: names that are not UTF-8 keep their bytes."""
    return key.encode("utf-8", "surrogateescape")


def from_blob(blob: bytes) -> str:
    """The inverse of `to_blob`."""
    return blob.decode("utf-8", "surrogateescape")


def checksum(item: Item, vector: NDArray[np.float32]) -> int:
    """CRC-32 over the vector and every field that a search or the next run relies on, except what renaming changes."""
    fields = f"{item.row} {item.sha256} {item.width} {item.height}".encode()
    return zlib.crc32(np.ascontiguousarray(vector, "<f4").tobytes(), zlib.crc32(fields))


def is_collection(path: Path) -> bool:
    """Whether a collection lies in this folder."""
    return (path / "collection.json").is_file()


def create(path: Path, header: Header) -> "Store":
    """Make an empty collection in `path`; collection.json is written last, so a half-made one is none."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "vectors.f32").write_bytes(b"")
        (path / "catalog.sqlite").unlink(missing_ok=True)
        catalog = sqlite3.connect(path / "catalog.sqlite")
        catalog.executescript(SCHEMA)
        catalog.close()
        draft = path / "collection.json.new"
        draft.write_text(json.dumps(asdict(header), indent=2) + "\n", encoding="utf-8")
        draft.replace(path / "collection.json")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CollectionError(f"{path}: cannot make a collection here ({reason}); use --collection DIR") from error
    except sqlite3.Error as error:
        raise CollectionError(f"{path}: cannot make a collection here ({error}); use --collection DIR") from error
    return Store(path)


def read_header(path: Path) -> Header:
    """collection.json, checked; raises CollectionError."""
    try:
        values = json.loads((path / "collection.json").read_text(encoding="utf-8"))
        header = Header(**{name: values[name] for name in ("encoder", "fingerprint", "dim", "dtype", "format")})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CollectionError(f"{path}/collection.json cannot be read; index again with --rebuild") from error
    if header.format != FORMAT:
        raise CollectionError(
            f"{path} has format {header.format}, this version reads {FORMAT}; update lookalike or use --rebuild"
        )
    if not isinstance(header.dim, int) or not 0 < header.dim <= 1_000_000 or header.dtype != "float32":
        raise CollectionError(f"{path}/collection.json is damaged (dim {header.dim!r}); index again with --rebuild")
    return header


class Store:
    """An open collection. Any number of readers, in any process; one writer at a time, inside `writing()`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = read_header(path)
        self._lock = threading.RLock()
        self._catalog = self._connect()
        self._file: IO[bytes] | None = None
        self._count = 0

    def close(self) -> None:
        """Let go of the files."""
        self._catalog.close()

    def _connect(self) -> sqlite3.Connection:
        database = self.path / "catalog.sqlite"
        if not database.is_file():
            raise CollectionError(f"{self.path}: catalog.sqlite is missing; index again with --rebuild")
        try:
            catalog = sqlite3.connect(database, check_same_thread=False, isolation_level=None, timeout=10)
            catalog.execute("PRAGMA synchronous = FULL")
            # An open transaction must not lock readers out before it commits.
            catalog.execute("PRAGMA cache_spill = OFF")
            catalog.execute("SELECT 1 FROM items LIMIT 1")
        except sqlite3.Error as error:
            raise CollectionError(f"{database} is damaged ({error}); index again with --rebuild") from error
        return catalog

    def _query(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._catalog.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise CollectionError(f"{self.path}/catalog.sqlite: {error}; run `lookalike verify`") from error

    def _number(self, sql: str, values: Sequence[object] = ()) -> int:
        return int(self._query(sql, values)[0][0])

    # Reading

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several reads of one committed state."""
        with self._lock:
            began = not self._catalog.in_transaction
            if began:
                self._query("BEGIN")
            try:
                yield
            finally:
                if began:
                    self._query("COMMIT")

    @property
    def version(self) -> int:
        """Changes whenever another process has committed."""
        return self._number("PRAGMA data_version")

    def rows(self) -> int:
        """How many rows there are, removed ones included."""
        return self._number("SELECT COALESCE(MAX(row) + 1, 0) FROM items")

    def removed_rows(self) -> Ids:
        """The rows that are marked removed."""
        return np.array([row for (row,) in self._query("SELECT row FROM items WHERE removed > 0")], np.int64)

    def map_vectors(self, rows: int) -> Vectors:
        """The first `rows` vectors (rows, dim), memory-mapped and read-only."""
        path, dim = self.path / "vectors.f32", self.header.dim
        try:
            held = path.stat().st_size // (4 * dim)
        except OSError as error:
            raise CollectionError(f"{path} is missing; index again with --rebuild") from error
        if held < rows:
            raise CollectionError(f"{path} holds {held} of {rows} vectors; run `lookalike verify {self.path} --repair`")
        if not rows:
            return np.empty((0, dim), np.float32)
        return np.memmap(path, np.float32, "r", shape=(rows, dim))

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
        sql = "SELECT 1 FROM items WHERE removed = 2 AND key = ? AND size = ? AND mtime_ns = ?"
        return bool(self._query(sql, (to_blob(key), size, mtime_ns)))

    def items_of_content(self, sha256: str) -> list[Item]:
        """Items with this content, live ones first; removed ones still have their vector."""
        return self._items("WHERE sha256 = ? AND removed < 3 ORDER BY removed, row", (bytes.fromhex(sha256),))

    def live_items(self) -> Iterator[Item]:
        """All items that count, in the order of their rows; a block of them is held at a time."""
        last = -1
        while block := self._items("WHERE row > ? AND removed = 0 ORDER BY row LIMIT 4096", (last,)):
            yield from block
            last = block[-1].row

    def _items(self, where: str, values: Sequence[object]) -> list[Item]:
        rows = self._query(f"SELECT {ITEM} FROM items {where}", values)  # noqa: S608 - `where` is a constant of this file
        return [_item(row) for row in rows]

    def sources(self) -> list[tuple[int, str, str]]:
        """(id, location, prefix) of every source that was indexed."""
        rows = self._query("SELECT id, location, prefix FROM sources ORDER BY id")
        return [(id_, from_blob(place), from_blob(prefix)) for id_, place, prefix in rows]

    def skipped(self) -> list[tuple[str, str]]:
        """(key, reason) of what could not be used at the last run."""
        rows = self._query("SELECT key, reason FROM skipped ORDER BY key")
        return [(from_blob(key), reason) for key, reason in rows]

    def damage(self) -> Damage:
        """Compare every row with its checksum, and the two files with each other."""
        faults = [str(line) for (line,) in self._query("PRAGMA integrity_check") if line != "ok"]
        rows, held = self.rows(), (self.path / "vectors.f32").stat().st_size // (4 * self.header.dim)
        if held < rows:
            faults.append(f"vectors.f32 holds {held} of {rows} vectors")
        vectors, damaged = self.map_vectors(min(rows, held)), []
        for values in self._blocks():
            item, stored = _item(values), values[8]
            if item.row >= held or checksum(item, vectors[item.row]) != stored:
                damaged.append((item.row, item.key))
        return Damage(tuple(damaged), tuple(faults))

    def _blocks(self) -> Iterator[tuple[Any, ...]]:
        last: object = -1
        sql = f"SELECT {ITEM} FROM items WHERE row > ? AND removed < 3 ORDER BY row LIMIT 4096"  # noqa: S608
        while block := self._query(sql, (last,)):
            yield from block
            last = block[-1][0]

    # Writing

    @contextmanager
    def writing(self) -> Iterator["Store"]:
        """The right to write; raises CollectionLocked at once where another process has it.

        Leaving commits; an exception rolls back what `commit` has not yet made safe.
        """
        lock = FileLock(self.path / "writer.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise CollectionLocked(f"{self.path} is being written to by another process; try again later") from error
        except OSError as error:
            raise CollectionError(f"{self.path} cannot be written to ({(error.strerror or '').lower()})") from error
        try:
            self._count = self.rows()
            self._file = (self.path / "vectors.f32").open("r+b", buffering=0)
            self._execute("BEGIN IMMEDIATE")
            yield self
            self.commit()
        finally:
            if self._catalog.in_transaction:
                self._catalog.rollback()
            if self._file is not None:
                self._file.close()
                self._file = None
            lock.release()

    def commit(self) -> None:
        """Make everything so far safe: vectors to disk first, then the rows that name them."""
        assert self._file is not None, "inside writing()"
        try:
            # What an interrupted run left behind the last committed row.
            self._file.truncate(self._count * 4 * self.header.dim)
            os.fsync(self._file.fileno())
        except OSError as error:
            raise CollectionError(f"{self.path}/vectors.f32: {(error.strerror or str(error)).lower()}") from error
        # Ctrl-C may have struck between these two, and what is here is called again then.
        if self._catalog.in_transaction:
            self._execute("COMMIT")
        self._execute("BEGIN IMMEDIATE")

    def add(self, item: Item, vector: NDArray[np.float32]) -> int:
        """Append one item (its `row` is given here) and its vector (dim,); a live item of that key is replaced."""
        assert self._file is not None, "inside writing()"
        row, size = self._count, 4 * self.header.dim
        data = np.ascontiguousarray(vector, np.float32).tobytes()
        assert len(data) == size, f"a vector of {self.header.dim} numbers"
        try:
            self._file.seek(row * size)
            if self._file.write(data) != size:
                raise CollectionError(f"{self.path}/vectors.f32: disk full")
        except OSError as error:
            raise CollectionError(f"{self.path}/vectors.f32: {(error.strerror or str(error)).lower()}") from error
        self._execute("UPDATE items SET removed = 1 WHERE key = ? AND removed = 0", (to_blob(item.key),))
        numbered = replace(item, row=row)
        # Counted before its row is written: an interrupt in between leaves a surplus vector, never a row without one.
        self._count += 1
        self._execute(
            f"INSERT INTO items ({ITEM}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",  # noqa: S608
            (
                *(row, item.source, to_blob(item.key), item.size, item.mtime_ns, bytes.fromhex(item.sha256)),
                *(item.width, item.height, checksum(numbered, vector)),
            ),
        )
        return row

    def vector(self, row: int) -> NDArray[np.float32]:
        """One stored vector (dim,), also of a row that is not committed yet."""
        size = 4 * self.header.dim
        if self._file is None:
            return np.array(self.map_vectors(row + 1)[row])
        self._file.seek(row * size)
        return np.frombuffer(self._file.read(size), np.float32)

    def rename(self, row: int, key: str, size: int, mtime_ns: int) -> None:
        """The same content under another name, or with other times."""
        values = (to_blob(key), size, mtime_ns, row)
        self._execute("UPDATE items SET key = ?, size = ?, mtime_ns = ? WHERE row = ?", values)

    def remove(self, rows: Sequence[int], why: Literal["gone", "by hand", "damaged"] = "gone") -> None:
        """Mark rows removed; but for damaged ones, their content can come back without being embedded again."""
        mark = {"gone": 1, "by hand": 2, "damaged": 3}[why]
        for row in rows:
            self._execute("UPDATE items SET removed = ? WHERE row = ?", (mark, int(row)))

    def relocate(self, path: Path) -> None:
        """Say where the sources lie as seen from `path`, before the collection is moved there."""
        for id_, location, _ in self.sources():
            place = Path(os.path.normpath(self.path / location))
            if path.resolve().is_relative_to(place):
                relative = os.path.relpath(place, path.resolve())
                self._execute("UPDATE sources SET location = ? WHERE id = ?", (to_blob(relative), id_))

    def rows_of_source(self, source: int) -> Iterator[tuple[int, str]]:
        """(row, key) of the live items of one source."""
        for row, key in self._query("SELECT row, key FROM items WHERE source = ? AND removed = 0", (source,)):
            yield row, from_blob(key)

    def add_source(self, location: str, prefix: str) -> int:
        """Remember where images come from, and give its id."""
        self._execute("INSERT INTO sources (location, prefix) VALUES (?, ?)", (to_blob(location), to_blob(prefix)))
        return self._number("SELECT last_insert_rowid()")

    def clear_skipped(self, source: int) -> None:
        """Forget what was skipped of one source, before it is read again."""
        self._execute("DELETE FROM skipped WHERE source = ?", (source,))

    def add_skipped(self, source: int, key: str, reason: str) -> None:
        """Note why a file could not be used."""
        self._execute("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)", (to_blob(key), source, reason))

    def _execute(self, sql: str, values: Sequence[object] = ()) -> None:
        with self._lock:
            try:
                self._catalog.execute(sql, values)
            except sqlite3.Error as error:
                raise CollectionError(f"{self.path}/catalog.sqlite: {error}") from error


def _item(values: tuple[Any, ...]) -> Item:
    row, source, key, size, mtime_ns, sha256, width, height, _, removed = values
    try:
        return Item(row, source, from_blob(key), size, mtime_ns, sha256.hex(), width, height, bool(removed))
    except (AttributeError, TypeError) as error:
        raise CollectionError(f"row {row} of the catalog is damaged; index again with --rebuild") from error
