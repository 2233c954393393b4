"""The file of a catalog to connections: a writing one for whoever has the lock, and a reading one."""

import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.errors import CollectionError
from lookalike.types import Ids
from lookalike.utils.files import link_in
from lookalike.utils.text import command

LOCK = "writer.lock"
"""Beside the catalog; whoever has it may write to a collection, or put another in its place."""
AT_ONCE = 500
"""Parameters of a statement; old versions of SQLite take 999."""
PATIENCE = 20
"""Attempts, a tenth of a second apart, until a writer has rolled back what a crash left."""


def crc(*values: object) -> int:
    """CRC-32 over values and their types; SQLite calls it as `crc(…)`."""
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


def identity(file: Path) -> tuple[int, int]:
    """Device and inode of the file under a name, which another process may replace; (0, 0) where there is none."""
    try:
        status = file.stat()
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino


def connect(path: Path, uri: str = "") -> sqlite3.Connection:
    """A connection with the SQL function `crc`."""
    catalog = sqlite3.connect(
        f"{path.resolve().as_uri()}{uri}", uri=True, check_same_thread=False, isolation_level=None, timeout=10
    )
    catalog.create_function("crc", -1, crc, deterministic=True)
    catalog.execute("PRAGMA synchronous = FULL")
    # An open transaction must not lock readers out before it commits.
    catalog.execute("PRAGMA cache_spill = OFF")
    return catalog


def reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; a transaction that a crash left open is rolled back first. Raises sqlite3.Error.

    SQLite finds a journal by the name of the database. Where another collection has been put under that name, the
    journal belongs to its writer. A writing connection to the old file would take it for a journal that a crash left,
    roll it back into the wrong file, and delete it.
    """
    for _ in range(PATIENCE):
        try:
            return _reading(path)
        except sqlite3.OperationalError as error:
            if not is_left_open(error) or not _rolled_back(path):
                raise
    return _reading(path)


def _reading(path: Path) -> sqlite3.Connection:
    catalog = connect(path, "?mode=ro")
    try:
        catalog.execute("SELECT 1 FROM items LIMIT 1")
    except sqlite3.Error:
        catalog.close()
        raise
    return catalog


def is_left_open(error: Exception) -> bool:
    """Whether an error says that a crash left a transaction, which has to be rolled back first."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY


def _rolled_back(path: Path) -> bool:
    """Roll back what a crash left, with the writer's lock; whether this process or another could do so."""
    from filelock import FileLock, Timeout

    if link_in(path.parent):
        return False
    try:
        with FileLock(path.parent / LOCK, timeout=0), closing(connect(path, "?mode=rw")) as catalog:
            # Not of a table of ours: what is rolled back may be the transaction that made it.
            catalog.execute("SELECT 1 FROM sqlite_master LIMIT 1")
    except Timeout:
        time.sleep(0.1)  # whoever has the lock rolls it back
    except (OSError, sqlite3.Error):
        return False
    return True


class Database:
    """An open catalog file; safe to read from several threads. In `through_writer`, all reads see the transaction."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._identity = identity(file)
        self._reader = self._connection = self._connect()
        self._connections = 1

    def close(self) -> None:
        """Close the file, once no other thread is reading it."""
        with self._lock:
            self._connection.close()
            self._reader.close()

    @contextmanager
    def through_writer(self) -> Iterator[None]:
        """Use a writing connection for everything, for whoever has the lock; what is not committed is rolled back."""
        with self._lock:
            try:
                self._connection = connect(self._file, "?mode=rw")
            except sqlite3.Error as error:
                raise self._failed(error) from error
        try:
            yield
        finally:
            with self._lock:
                self._connection.close()
                self._connection = self._reader

    @property
    def replaced(self) -> bool:
        """Whether another collection has taken the place of this one since it was opened (a rebuild, `compact`)."""
        return identity(self._file) != self._identity

    def _connect(self) -> sqlite3.Connection:
        if not self._file.is_file():
            raise CollectionError(f"{self._file.parent}: catalog.sqlite is missing; index again with --rebuild")
        try:
            return reading(self._file)
        except sqlite3.Error as error:
            way = f"run `{command('verify', self._file.parent, '--repair')}`, or index again with --rebuild"
            raise CollectionError(f"{self._file} is damaged ({error}); {way}") from error

    def _ask(
        self, sql: str, values: Sequence[object] = (), through: sqlite3.Connection | None = None
    ) -> sqlite3.Cursor:
        """Execute a statement; with a new connection where a crash left a transaction, which that rolls back.

        Never inside a transaction of this connection: what it has read so far would be of another state.
        """
        try:
            return (through or self._connection).execute(sql, values)
        except sqlite3.Error as error:
            is_reading = self._connection is self._reader and not self._connection.in_transaction
            if not (is_left_open(error) and is_reading) or self.replaced:
                raise
        fresh = self._connect()
        self._reader.close()
        self._reader = self._connection = fresh
        self._connections += 1
        return self._connection.execute(sql, values)

    def query(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a statement's result; raises CollectionError."""
        with self._lock:
            try:
                return self._ask(sql, values).fetchall()
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def numbers(self, sql: str, values: Sequence[object] = ()) -> Ids:
        """The first column of a statement's result as an array, without a list of Python objects."""
        with self._lock:
            try:
                return np.fromiter((row for (row,) in self._ask(sql, values)), np.int64)
            except (sqlite3.Error, TypeError, ValueError) as error:
                raise self._failed(error) from error

    def execute(self, sql: str, values: Sequence[object] = ()) -> int:
        """Execute a statement inside the writer's transaction; how many rows it changed."""
        with self._lock:
            try:
                return self._connection.execute(sql, values).rowcount
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def execute_many(self, sql: str, values: Sequence[Sequence[object]]) -> None:
        """Execute a statement for each of several rows of values."""
        with self._lock:
            try:
                self._connection.executemany(sql, values)
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def _failed(self, error: Exception) -> CollectionError:
        return CollectionError(f"{self._file}: {error}; run `{command('verify', self._file.parent)}`")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several reads of one committed state."""
        with self._lock:
            began = not self._connection.in_transaction
            if began:
                # A transaction that a crash left must be rolled back before, by another connection: this query does so.
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
                commits = self._ask("PRAGMA data_version", through=self._reader).fetchone()[0]
            except sqlite3.Error as error:
                raise self._failed(error) from error
            # SQLite counts from the start for every connection.
            return self._connections, int(commits)

    def begin(self) -> None:
        """Begin the writer's transaction."""
        self.execute("BEGIN IMMEDIATE")

    @contextmanager
    def whole(self) -> Iterator[None]:
        """All of several changes inside the writer's transaction, or none after an exception such as Ctrl-C."""
        self.execute("SAVEPOINT whole")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK TO whole")
            raise
        finally:
            self.execute("RELEASE whole")

    def commit(self) -> None:
        """End the writer's transaction and begin the next one."""
        # Ctrl-C may have struck between these two statements, and `commit` is called again then.
        if self._connection.in_transaction:
            self.execute("COMMIT")
        self.begin()
