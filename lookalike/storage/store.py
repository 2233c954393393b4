"""A collection on disk: a catalog (SQLite) and the vectors (one flat file, memory-mapped), kept in step.

Catalog row = vector row = FAISS position. Vectors are written and flushed before the rows that name them are committed,
so a crash leaves at most surplus vectors, which the next writer overwrites.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from lookalike.errors import CollectionError, CollectionLocked
from lookalike.storage import catalog
from lookalike.storage import manifest as header
from lookalike.storage.catalog import ITEM, Catalog, Item, from_blob, to_blob
from lookalike.storage.manifest import FORMAT, Header, is_collection, read_header
from lookalike.storage.sqlite import AT_ONCE, LOCK, crc
from lookalike.storage.vectors import DTYPES, RowStore, SearchingRows, VectorFile, create_rows, open_rows
from lookalike.types import Vectors

__all__ = ["FORMAT", "Header", "Item", "Store", "create", "from_blob", "is_collection", "read_header", "to_blob"]

CatalogEntry = tuple[Any, ...]
"""source, key, size, mtime_ns, sha256, width, height, removed, vector_crc: a row of the catalog without its number."""


def create(path: Path, wanted: Header) -> "Store":
    """Make an empty collection in `path`; collection.json is written last, so a half-made one is none.

    Raises CollectionLocked where another process was quicker: encoders take their time between looking and making.
    """
    header.refuse_remains(path)
    _refuse_second(path)
    made = header.fresh(wanted)
    if made.engine is not None:
        # The server first: where it refuses, nothing is left here.
        create_rows(made.engine, made.id, made.encoder, made.fingerprint, made.dim)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with sole_writer(path):
            _refuse_second(path)
            _make(path, made)
    except CollectionLocked:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CollectionError(f"{path}: cannot make a collection here ({reason}); use --collection DIR") from error
    except (sqlite3.Error, CollectionError) as error:
        raise CollectionError(f"{path}: cannot make a collection here ({error}); use --collection DIR") from error
    return Store(path)


def _refuse_second(path: Path) -> None:
    if is_collection(path):
        raise CollectionLocked(f"{path} was made by another process in the meantime; run the same command again")


def _make(path: Path, made: Header) -> None:
    if made.engine is None:
        (path / DTYPES[made.dtype][0]).write_bytes(b"")
    catalog.make(path)
    opened = Catalog(path)
    with closing(opened), opened.through_writer():
        opened.put("facts", "header", made.to_text())
    header.write_header(path, made)
    sync_folder(path)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable; a file system without that (Windows) does it by itself."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """The lock of a collection; CollectionLocked where another process has it."""
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise CollectionLocked(f"{path} is being written to by another process; try again later") from error
    except OSError as error:
        raise CollectionError(f"{path} cannot be written to ({(error.strerror or '').lower()})") from error
    try:
        yield
    finally:
        lock.release()


class Store(Catalog):
    """An open collection. Any number of readers, in any process; one writer at a time, inside `writing()`."""

    def __init__(self, path: Path) -> None:
        self.path, before = path, None
        # Header, catalog and vectors are opened one after the other: none of them may be of a collection that another
        # one takes the place of meanwhile. What is open stays what it is.
        while before != self._on_disk():
            if before is not None:
                self.close()
            before = self._on_disk()
            self._open()
        self._count = 0
        self._writing = False

    def _open(self) -> None:
        self.header = read_header(self.path)
        super().__init__(self.path)
        self.vectors: RowStore = open_rows(self.path, self.header.dim, self.header.dtype, self.header.engine)
        if isinstance(self.vectors, SearchingRows):
            self.vectors.describe = self.described
        else:
            # Where they are missing, using them says so.
            with suppress(CollectionError):
                len(self.vectors)

    def close(self) -> None:
        """Let go of the files."""
        super().close()
        self.vectors.close()

    def vector(self, row: int) -> NDArray[np.float32]:
        """One stored vector (dim,), also of a row that is not committed yet."""
        return np.asarray(self.vectors.rows(np.array([row]))[0], np.float32)

    def is_intact(self, row: int) -> bool:
        """Whether the catalog's entry of a row and, where it lies in a file, its vector match their checksums."""
        return self.intact_item(row) is not None

    def intact_item(self, row: int) -> Item | None:
        """The item in a row, where its entry and its vector match their checksums."""
        found = self.query(f"SELECT {ITEM}, crc FROM items WHERE row = ?", (row,))  # noqa: S608 - a constant
        if not found or crc(*found[0][:-1]) != found[0][-1]:
            return None
        vectors = self.vectors
        is_whole = not isinstance(vectors, VectorFile) or (
            len(vectors) > row and vectors.checksums(row, row + 1) == [found[0][-2]]
        )
        return catalog.to_item(found[0]) if is_whole else None

    def digest(self, rows: int) -> int:
        """A checksum of the checksums of some of the first `rows` vectors: whether they are those that one knew."""
        some = np.unique(np.linspace(0, rows - 1, 64).astype(np.int64)).tolist() if rows else []
        found = [self.query("SELECT vector_crc FROM items WHERE row = ?", (row,)) for row in some]
        return crc(*(row[0][0] if row else -1 for row in found))

    # Writing

    @contextmanager
    def locked(self) -> Iterator["Store"]:
        """The right to write or to replace the collection; CollectionLocked where another process has it."""
        with sole_writer(self.path):
            if self.replaced:
                raise CollectionError(f"{self.path} was replaced by another process; open it again")
            yield self

    @contextmanager
    def writing(self) -> Iterator["Store"]:
        """The right to write; raises CollectionLocked at once where another process has it.

        Leaving commits; an exception rolls back what `commit` has not yet made safe.
        """
        with self.locked(), self.through_writer():
            try:
                self._count = self.count_rows()
                self._writing = True
                self.execute("BEGIN IMMEDIATE")
                yield self
                self.commit()
                if isinstance(self.vectors, SearchingRows):
                    self.vectors.settle()
            finally:
                self._writing = False
                self.vectors.release()

    def count(self) -> int:
        """How many rows there are, those of this transaction included."""
        return self._count if self._writing else self.count_rows()

    def commit(self) -> None:
        """Make everything so far safe: vectors to disk first, then the rows that name them."""
        assert self._writing, "inside writing()"
        self.vectors.flush(self._count)
        # Ctrl-C may have struck between these two, and what is here is called again then.
        if self._catalog.in_transaction:
            self.execute("COMMIT")
        self.execute("BEGIN IMMEDIATE")

    def add(self, item: Item, vector: NDArray[np.float32]) -> int:
        """Append one item (its `row` is given here) and its vector (dim,); a live item of that key is replaced."""
        return self.add_many([item], np.atleast_2d(np.asarray(vector, np.float32)))

    def add_many(self, items: Sequence[Item], vectors: Vectors, new_keys: bool = False) -> int:
        """As `add`, of several items of different keys and their vectors (n, dim); the row of the first.

        With `new_keys` none of the keys is in the collection, which is then not looked up.
        """
        vector_crcs = self.vectors.append(self._count, vectors)
        if not new_keys:
            for row, item in enumerate(items, self._count):
                self._replace(item.key, row)
        return self.append_entries(
            [
                (
                    *(item.source, to_blob(item.key), item.size, item.mtime_ns, bytes.fromhex(item.sha256)),
                    *(item.width, item.height, 0, vector_crc),
                )
                for item, vector_crc in zip(items, vector_crcs, strict=True)
            ]
        )

    def append_entries(self, entries: Sequence[CatalogEntry]) -> int:
        """The catalog's half of `add_many`: what `ITEM` names behind the row, for vectors that lie in place already."""
        assert self._writing, "inside writing()"
        first = self._count
        rows = [(row, *entry, crc(row, *entry)) for row, entry in enumerate(entries, first)]
        marks = ", ".join("?" * 11)
        # Counted before they are written: an interrupt in between leaves surplus vectors, never a row without one.
        self._count += len(rows)
        self.execute_many(f"INSERT INTO items ({ITEM}, crc) VALUES ({marks})", rows)  # noqa: S608 - constants
        return first

    def _replace(self, key: str, row: int) -> None:
        """Mark the live item of this key removed; its metadata is the new row's from now on."""
        old = self.live_item(key)
        if old:
            self.remove([old.row])
            for column, value in self.query('SELECT "column", value FROM meta WHERE row = ?', (old.row,)):
                self.put("meta", row, column, value)

    def described(self, rows: Sequence[int]) -> list[tuple[str, str, dict[str, Any]]]:
        """Key, SHA-256 and columns of some rows, in their order: what an engine's own filters can ask for."""
        found: dict[int, tuple[str, str, dict[str, Any]]] = {}
        names = dict(self.query("SELECT id, name FROM columns"))
        for start in range(0, len(rows), AT_ONCE):
            part = [int(row) for row in rows[start : start + AT_ONCE]]
            marks = ", ".join("?" * len(part))
            for row, key, sha256 in self.query(f"SELECT row, key, sha256 FROM items WHERE row IN ({marks})", part):  # noqa: S608
                found[row] = (from_blob(key), sha256.hex(), {})
            sql = f'SELECT row, "column", value FROM meta WHERE row IN ({marks})'  # noqa: S608 - question marks
            for row, column, value in self.query(sql, part) if names else []:
                found[row][2][names[column]] = value
        return [found[int(row)] for row in rows]

    def rename(self, row: int, key: str, size: int, mtime_ns: int) -> None:
        """As the catalog's; an engine learns the new key."""
        super().rename(row, key, size, mtime_ns)
        self._touch(row)

    def put(self, table: str, *values: object, verb: str = "INSERT") -> None:
        """As the catalog's; an engine learns of new columns."""
        super().put(table, *values, verb=verb)
        if table == "meta":
            self._touch(int(str(values[0])))

    def _touch(self, row: int) -> None:
        if isinstance(self.vectors, SearchingRows):
            self.vectors.touch([row])

    def relocate(self, path: Path) -> None:
        """Say where the sources lie as seen from `path`, before the collection is moved there."""
        for id_, location, prefix in self.sources():
            place = Path(os.path.normpath(self.path.resolve() / location))
            inside = path.resolve().is_relative_to(place)
            relative = os.path.relpath(place, path.resolve()) if inside else str(place)
            if relative != location:
                self.put("sources", id_, to_blob(relative), to_blob(prefix), verb="INSERT OR REPLACE")
