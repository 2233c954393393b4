"""The name of an image in somebody's table to the image: as a key, as a path, or spelled a little otherwise."""

import posixpath
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path

from lookalike.storage.origins import Origins
from lookalike.storage.store import Store, to_blob


class Names:
    """Rows by the names that a table gives to images; close it after use.

    A name is a key, a path relative to a source in another spelling (`./x`, `a\\b`), or an absolute path. Where none of
    these is an image, the only key that differs in upper and lower case, or in how accents are composed (NFC, NFD), is.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def row(self, name: str) -> int | None:
        """The row of the live image of a name; None where there is none, or no single one."""
        candidates = list(dict.fromkeys(self._spellings(name)))
        for key in candidates:
            if item := self._store.catalog.live_item(key):
                return item.row
        rows = {row for key in candidates if (row := self._folded_row(key)) is not None}
        return rows.pop() if len(rows) == 1 else None

    def close(self) -> None:
        """Delete the index of spellings, where one was made."""
        if "_folded" in self.__dict__:
            self._folded.close()

    def _spellings(self, name: str) -> Iterator[str]:
        yield name
        for path in dict.fromkeys((name, name.replace("\\", "/"))):
            if Path(path).is_absolute():
                yield from self._origins.keys(Path(path))
            elif path:
                yield posixpath.normpath(path)

    @cached_property
    def _origins(self) -> Origins:
        return Origins(self._store)

    def _folded_row(self, key: str) -> int | None:
        with closing(self._folded.execute("SELECT row FROM names WHERE name = ?", (fold(key),))) as cursor:
            row = cursor.fetchone()
        return None if row is None else row[0]

    @cached_property
    def _folded(self) -> sqlite3.Connection:
        """Keys without case and composition to rows, NULL where two share one; in a temporary file, not in memory."""
        index = sqlite3.connect("", isolation_level=None)
        index.execute("CREATE TABLE names (name BLOB PRIMARY KEY, row INTEGER) WITHOUT ROWID")
        index.execute("BEGIN")
        index.executemany(
            "INSERT INTO names VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET row = NULL",
            ((fold(item.key), item.row) for item in self._store.catalog.live_items()),
        )
        index.execute("COMMIT")
        return index


def fold(key: str) -> bytes:
    """A key without upper and lower case, and with accents composed in one way."""
    return to_blob(unicodedata.normalize("NFC", unicodedata.normalize("NFC", key).casefold()))
