"""Features of images by the content of their files, in a cache beside a collection with a budget of bytes."""

import logging
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from lookalike.utils.files import link_in

log = logging.getLogger(__name__)

FILE = "features.sqlite"
BUDGET = 512 * 1024 * 1024
"""Bytes: keypoints of some 7,500 images."""
KEPT = 0.9
"""The share of the budget that is still used after the oldest entries were deleted."""
KEEPS: ContextVar[bool] = ContextVar("keeps", default=True)
"""Whether caches are written; where not, what they have is read and everything else is computed again."""
DAY = 86_400
SCHEMA = """
CREATE TABLE IF NOT EXISTS features (
    key BLOB PRIMARY KEY, size INTEGER NOT NULL, used INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL)
"""


@dataclass(frozen=True)
class FeatureCache:
    """Bytes by key in an SQLite file that several processes may use. Damaged entries are never returned.

    A cache that cannot be read or written (a full disk, a read-only folder) behaves like an empty one.
    """

    folder: Path
    budget: int = BUDGET
    name: str = FILE

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The entries of those of `keys` that are in the cache."""
        entries: dict[bytes, bytes] = {}
        stale: list[bytes] = []
        if (self.folder / self.name).exists():
            self._run(lambda file: _read(file, keys, entries, stale))
        if stale and KEEPS.get():
            self._run(lambda file: _touch(file, stale))
        return entries

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Store `entries`; beyond the budget, the least recently used are deleted."""
        if KEEPS.get():
            self._run(lambda file: _write(file, entries, self.budget))

    def _run(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Run `work` in a transaction; an error leaves the cache as it was, or empty if it was damaged."""
        path = self.folder / self.name
        try:
            if not KEEPS.get():
                with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as file:
                    work(file)
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.folder.is_symlink() or link_in(self.folder):
                raise OSError("there is a symbolic link, and nothing is written through links")
            with closing(sqlite3.connect(path, timeout=1)) as file:
                file.execute("PRAGMA synchronous = OFF")  # All of it can be computed again.
                file.execute(SCHEMA)
                with file:
                    work(file)
        except (sqlite3.OperationalError, OSError) as error:
            log.debug("%s: %s", path, error)
        except sqlite3.DatabaseError as error:
            if not KEEPS.get():
                return
            log.warning("%s is damaged and is begun again (%s)", path, error)
            for part in ("", "-journal"):
                path.with_name(self.name + part).unlink(missing_ok=True)


def _read(file: sqlite3.Connection, keys: Iterable[bytes], entries: dict[bytes, bytes], stale: list[bytes]) -> None:
    """Add the undamaged entries of `keys` to `entries`, and to `stale` the keys that were last used on another day.

    `_touch` is a second step because it may fail where reading works: in a read-only folder, or while another process
    writes.
    """
    for key in keys:
        row = file.execute("SELECT data, checksum, used FROM features WHERE key = ?", (key,)).fetchone()
        if row is None:
            continue
        data, checksum, used = row
        if not isinstance(data, bytes) or zlib.crc32(data) != checksum:
            continue  # `put` will replace it.
        entries[key] = data
        if used != _today():
            stale.append(key)


def _touch(file: sqlite3.Connection, keys: Iterable[bytes]) -> None:
    # A day is precise enough to find the oldest, and most reads then need no write.
    file.executemany("UPDATE features SET used = ? WHERE key = ?", [(_today(), key) for key in keys])


def _today() -> int:
    return int(time.time()) // DAY


def _write(file: sqlite3.Connection, entries: Mapping[bytes, bytes], budget: int) -> None:
    kept = {key: data for key, data in entries.items() if len(data) <= budget}
    rows = [(key, len(data), _today(), zlib.crc32(data), data) for key, data in kept.items()]
    file.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", rows)
    (total,) = file.execute("SELECT COALESCE(SUM(size), 0) FROM features").fetchone()
    if total <= budget:
        return
    for key, size in file.execute("SELECT key, size FROM features ORDER BY used, rowid").fetchall():
        file.execute("DELETE FROM features WHERE key = ?", (key,))
        total -= size
        if total <= KEPT * budget:
            return
