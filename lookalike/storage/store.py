"""A collection on disk: a catalog (SQLite) and the vectors (one flat file, memory-mapped), kept in step.

Catalog row = vector row = FAISS position. Vectors are written and flushed before the rows that name them are committed,
so a crash leaves at most surplus vectors, which the next writer overwrites.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import CollectionError, CollectionLocked, EngineError
from lookalike.storage import catalog, fence
from lookalike.storage.catalog import CATALOG, Catalog, CatalogEntry, Item, from_blob, to_blob
from lookalike.storage.manifest import (
    FORMAT,
    Header,
    is_collection,
    read_header,
    refuse_remains,
    with_new_id,
    write_header,
)
from lookalike.storage.sqlite import LOCK, crc, identity
from lookalike.storage.vectors import DTYPES, RowPlace, RowStore, create_rows, open_rows
from lookalike.types import Vectors
from lookalike.utils.files import link_in, reason, sync_folder

__all__ = ["FORMAT", "Header", "Item", "Store", "create", "from_blob", "is_collection", "read_header", "to_blob"]


def create(path: Path, settings: Header) -> "Store":
    """Make an empty collection in `path`, with an id of its own; collection.json is written last.

    Raises CollectionLocked where another process made one first: loading an encoder takes a while.
    """
    refuse_remains(path)
    _refuse_second(path)
    header = with_new_id(settings)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if header.engine is not None:
            header = _made_in_engine(path, header, header.engine)
        with sole_writer(path):
            _refuse_second(path)
            _make(path, header)
        (path / fence.CLAIM).unlink(missing_ok=True)
    except (CollectionLocked, EngineError):
        raise
    except OSError as error:
        raise CollectionError(
            f"{path}: cannot make a collection here ({reason(error)}); use --collection DIR"
        ) from error
    except (sqlite3.Error, CollectionError) as error:
        raise CollectionError(f"{path}: cannot make a collection here ({error}); use --collection DIR") from error
    return Store(path)


def _made_in_engine(path: Path, header: Header, engine: str) -> Header:
    """Make the engine's side first, so that a refusal leaves no collection; the header, with the id that it has there.

    The id is written here before, or nobody could tell later whose an empty collection in the engine is.
    """
    claimed = fence.claimed(path)
    if claimed is not None and claimed.uri == engine:
        header = replace(header, id=claimed.owner)
    else:
        fence.claim(path, header)
    create_rows(engine, header.id, header.encoder, header.fingerprint, header.dim, header.dtype)
    return header


def _refuse_second(path: Path) -> None:
    if is_collection(path):
        raise CollectionLocked(f"{path} was made by another process in the meantime; run the same command again")


def _make(path: Path, header: Header) -> None:
    if header.engine is None:
        (path / DTYPES[header.dtype][0]).write_bytes(b"")
    catalog.make(path)
    with closing(Catalog(path)) as empty, empty.database.through_writer():
        empty.put("facts", "header", header.to_text())
    write_header(path, header)
    sync_folder(path)


def refuse_links(path: Path) -> None:
    """Raise CollectionError for a collection with a symbolic link in it: nothing is written through one."""
    if link := link_in(path):
        raise CollectionError(f"{link}: a symbolic link, and a collection is not written to through links; remove it")


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """The lock of a collection; CollectionLocked where another process has it.

    Raises CollectionError for a collection with a symbolic link in it: nothing is written through one.
    """
    from filelock import FileLock, Timeout

    refuse_links(path)
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise CollectionLocked(f"{path} is being written to by another process; try again later") from error
    except OSError as error:
        raise CollectionError(f"{path} cannot be written to ({reason(error)})") from error
    try:
        yield
    finally:
        lock.release()


class Store:
    """An open collection. Any number of readers in any process; a single writer at a time, inside `writing()`."""

    def __init__(self, path: Path) -> None:
        self.path, before = path, None
        # Header, catalog and vectors are opened one after the other, and must be of the same collection, which another
        # process may replace meanwhile. What is open stays as it is.
        while before != identity(path / CATALOG):
            if before is not None:
                self.close()
            before = identity(path / CATALOG)
            self._open()
        self._count = 0
        self._writing = False

    def _open(self) -> None:
        self.header = read_header(self.path)
        self.catalog = Catalog(self.path, lambda row: self.vectors.touch([row]), self._mark)
        place = RowPlace(self.path, self.header.dim, self.header.dtype, self.catalog.described, self.catalog.removed_of)
        self.vectors: RowStore = open_rows(place, self.header.engine)

    def _mark(self, rows: Sequence[int]) -> None:
        self.vectors.mark(rows)

    def close(self) -> None:
        """Close the files."""
        self.catalog.close()
        self.vectors.close()

    @property
    def replaced(self) -> bool:
        """Whether another collection has taken the place of this one since it was opened (a rebuild, `compact`)."""
        return self.catalog.database.replaced

    def vector(self, row: int) -> NDArray[np.float32]:
        """A stored vector (dim,), also of a row that is not committed yet."""
        return np.asarray(self.vectors.rows(np.array([row]))[0], np.float32)

    def intact_item(self, row: int) -> Item | None:
        """The item in a row; None where its entry or its vector does not match its checksum."""
        entry = self.catalog.checked(row)
        return entry[0] if entry and self.vectors.matches(row, entry[1]) else None

    def intact_contents(self, contents: Sequence[str]) -> list[Item]:
        """The intact items of some contents, live ones first; a copy of a damaged vector would get a right checksum."""
        items = self.catalog.checked_contents(contents)
        return [item for item, checksum in items if self.vectors.matches(item.row, checksum)]

    def digest(self, rows: int) -> int:
        """A checksum of the checksums of 64 of the first `rows` vectors, to recognise them by."""
        sample = np.unique(np.linspace(0, rows - 1, 64).astype(np.int64)).tolist() if rows else []
        return crc(*self.catalog.vector_crcs(sample))

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
        with self.locked(), self.catalog.database.through_writer():
            try:
                self._count = self.catalog.count_rows()
                self._writing = True
                self.catalog.database.begin()
                fence.begin(self.path, self.catalog, self.vectors)
                fence.sweep(self.catalog)
                yield self
                self.commit()
                self.vectors.settle()
            finally:
                self._writing = False
                self.vectors.release()

    def count(self) -> int:
        """How many rows there are, those of the open transaction included."""
        return self._count if self._writing else self.catalog.count_rows()

    def commit(self) -> None:
        """Make all changes so far durable: vectors to disk first, then the rows that name them."""
        assert self._writing, "inside writing()"
        self.vectors.flush(self._count)
        self.catalog.database.commit()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """All changes of this block, or none of them where an exception strikes; a second one may leave some."""
        try:
            with self.catalog.database.whole():
                yield
        except BaseException:
            # Asked and not remembered: Ctrl-C may also strike when all was written, or when it is rolled back.
            self._count = self.catalog.count_rows()
            raise

    def add(self, item: Item, vector: NDArray[np.float32]) -> int:
        """Append an item and its vector (dim,), and replace a live item of that key; its row. `item.row` is ignored."""
        return self.add_many([item], np.atleast_2d(np.asarray(vector, np.float32)))

    def add_many(self, items: Sequence[Item], vectors: Vectors, new_keys: bool = False) -> int:
        """As `add`, for several items of different keys and their vectors (n, dim); the row of the first.

        `new_keys` says that none of the keys is in the collection, and saves looking them up.
        """
        vector_crcs = self.vectors.append(self._count, vectors)
        if not new_keys:
            for row, item in enumerate(items, self._count):
                self._replace(item.key, row)
        return self.append_entries([_entry(item, vector) for item, vector in zip(items, vector_crcs, strict=True)])

    def append(self, items: Sequence[Item], vectors: Sequence[NDArray[np.float32] | int]) -> int:
        """As `add_many`, of items whose keys no other live item has, and perhaps removed; the row of the first.

        A number in place of a vector is the row whose vector is copied.
        """
        vector_crcs: list[int] = []
        for is_row, run in groupby(vectors, lambda vector: isinstance(vector, int)):
            # A copy may be of a row before it in this very list.
            for block in ([self.vector(cast("int", row))] for row in run) if is_row else [list(run)]:
                vector_crcs += self.vectors.append(self._count + len(vector_crcs), np.stack(cast("Any", block)))
        return self.append_entries([_entry(item, vector) for item, vector in zip(items, vector_crcs, strict=True)])

    def append_entries(self, entries: Sequence[CatalogEntry]) -> int:
        """The catalog's half of `add_many`, for vectors that are written already; the row of the first."""
        assert self._writing, "inside writing()"
        first = self._count
        # Counted before they are written: an interrupt in between leaves surplus vectors, never a row without a vector.
        self._count += len(entries)
        self.catalog.append(first, entries)
        return first

    def _replace(self, key: str, row: int) -> None:
        """Mark the live item of this key removed, and copy its metadata to the new row."""
        old = self.catalog.live_item(key)
        if old:
            self.catalog.remove([old.row])
            self.catalog.inherit({old.row: row})

    def relocate(self, path: Path) -> None:
        """Rewrite the locations of the sources as seen from `path`, before the collection is moved there."""
        for id_, location, prefix in self.catalog.sources():
            place = Path(os.path.normpath(self.path.resolve() / location))
            is_inside = path.resolve().is_relative_to(place)
            relative = os.path.relpath(place, path.resolve()) if is_inside else str(place)
            if relative != location:
                self.catalog.put("sources", id_, to_blob(relative), to_blob(prefix), verb="INSERT OR REPLACE")


def _entry(item: Item, vector_crc: int) -> CatalogEntry:
    return (
        *(item.source, to_blob(item.key), item.size, item.mtime_ns, bytes.fromhex(item.sha256)),
        *(item.width, item.height, int(item.removed), vector_crc),
    )
