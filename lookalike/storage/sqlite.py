"""The file of a catalog to a connection: one that writes, for who has the lock, or one that never does."""

import sqlite3
import time
import zlib
from contextlib import closing
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = "writer.lock"
"""Beside the catalog; who holds it may write to a collection, or put another in its place."""
AT_ONCE = 500
"""Values of one statement; SQLite takes 999 on old machines."""
PATIENCE = 20
"""Tenths of a second until a writer has begun."""


def crc(*values: object) -> int:
    """CRC-32 over values and their types; SQLite calls it as `crc(…)`."""
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


def connect(path: Path, uri: str = "") -> sqlite3.Connection:
    """A connection that knows `crc`."""
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

    SQLite looks for a journal by the name of the database. Where another collection has been put under that name since,
    it is the journal of that one's writer, and a connection to the old file that may write would take it for a crashed
    one's: roll it back into the wrong file, and delete it.
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
    """Whether a transaction has to be rolled back that nobody is in."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY


def _rolled_back(path: Path) -> bool:
    """Roll back what a crash left, as the one writer; whether that could be done, by this process or another."""
    try:
        with FileLock(path.parent / LOCK, timeout=0), closing(connect(path, "?mode=rw")) as catalog:
            catalog.execute("SELECT 1 FROM items LIMIT 1")
    except Timeout:
        time.sleep(0.1)  # who has the lock rolls it back
    except (OSError, sqlite3.Error):
        return False
    return True
