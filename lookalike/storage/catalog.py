"""The catalog of a collection: which image is which row, where it came from, and a checksum of every entry (SQLite)."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from lookalike.errors import CollectionError
from lookalike.storage.sqlite import AT_ONCE, Database, connect, crc
from lookalike.types import Ids

# `removed`: 0 is live, 1 gone from its source, 2 taken out by hand, 3 damaged and not to be used for anything.
# `vector_crc` is of the row of the vector file, `crc` of all other columns, so that renaming need not read the vector.
# `sha256` is empty where the bytes were never read (imported vectors).
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
# The columns that each table's `crc` covers.
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
IGNORE = "ignore:"
"""Before the id of a source: the name of the fact that has its patterns, as JSON."""


CatalogEntry = tuple[Any, ...]
"""source, key, size, mtime_ns, sha256, width, height, removed, vector_crc: a row of the catalog without its number."""
StoredEntry = tuple[Any, ...]
"""The columns of `ITEM`, then the checksum of them that is stored."""
BLOCK = 4096
"""Rows of the catalog that are in memory at once."""


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
    """Named queries of a catalog, and named statements that change it.

    `touched(row)` is called for every row whose key or columns change, `marked(rows)` for rows that are removed.
    """

    def __init__(
        self,
        path: Path,
        touched: Callable[[int], None] = lambda _: None,
        marked: Callable[[Sequence[int]], None] = lambda _: None,
    ) -> None:
        self.path, self._touched, self._marked = path, touched, marked
        self.database = Database(path / CATALOG)

    def close(self) -> None:
        """Close the file, once no other thread is reading it."""
        self.database.close()

    def snapshot(self) -> AbstractContextManager[None]:
        """Several reads of one committed state."""
        return self.database.snapshot()

    @property
    def version(self) -> tuple[int, int]:
        """Changes whenever another process has committed."""
        return self.database.version

    def _number(self, sql: str, values: Sequence[object] = ()) -> int:
        return int(self.database.query(sql, values)[0][0])

    # Reading

    def count_rows(self) -> int:
        """How many rows there are, removed ones included."""
        return self._number("SELECT COALESCE(MAX(row) + 1, 0) FROM items")

    def removed_rows(self) -> Ids:
        """The rows that are marked removed, in no promised order."""
        return self.database.numbers("SELECT row FROM items WHERE removed > 0")

    def item(self, row: int) -> Item:
        """The item in this row; raises CollectionError where there is none."""
        items = self._items("WHERE row = ?", (row,))
        if not items:
            raise CollectionError(f"{self.path} has no row {row}")
        return items[0]

    def live_item(self, key: str) -> Item | None:
        """The item of this key, unless it was removed."""
        return next(iter(self._items("WHERE key = ? AND removed = 0", (to_blob(key),))), None)

    def live_items_of(self, keys: Sequence[str]) -> dict[str, Item]:
        """The live items of some keys, by their keys."""
        items = self._items_among("WHERE key IN ({}) AND removed = 0", [to_blob(key) for key in keys])
        return {item.key: item for item in items}

    def dismissed_of(self, keys: Sequence[str]) -> set[tuple[str, int, int]]:
        """(key, size, mtime_ns) of those of some keys whose files were taken out by hand."""
        sql = "SELECT key, size, mtime_ns FROM dismissed WHERE key IN ({})"
        rows = self.among(sql, [to_blob(key) for key in keys])
        return {(from_blob(key), size, mtime_ns) for key, size, mtime_ns in rows}

    def is_dismissed(self, key: str, size: int, mtime_ns: int) -> bool:
        """Whether the file of this key, size and time was taken out by hand."""
        sql = "SELECT 1 FROM dismissed WHERE key = ? AND size = ? AND mtime_ns = ?"
        return bool(self.database.query(sql, (to_blob(key), size, mtime_ns)))

    def items_of_content(self, sha256: str) -> list[Item]:
        """Items with this content, live ones first; removed ones still have their vector."""
        where = "WHERE sha256 = ? AND sha256 != x'' AND removed < 3 ORDER BY removed, row"
        return self._items(where, (bytes.fromhex(sha256),))

    def checked_contents(self, contents: Sequence[str]) -> list[tuple[Item, int]]:
        """As `items_of_content` for several contents: the items and the checksums of their vectors.

        Those whose entry does not match its own checksum are left out.
        """
        where = "WHERE sha256 IN ({}) AND sha256 != x'' AND removed < 3 ORDER BY removed, row"
        sql = f"SELECT {ITEM}, crc FROM items {where}"  # noqa: S608 - constants
        entries = self.among(sql, [bytes.fromhex(sha256) for sha256 in contents])
        return [(to_item(entry), entry[-2]) for entry in entries if crc(*entry[:-1]) == entry[-1]]

    def live_contents(self, contents: Sequence[str]) -> dict[str, list[int]]:
        """Those of some contents that live items have, and the rows of these."""
        blobs = [bytes.fromhex(sha256) for sha256 in contents if sha256]
        rows: dict[str, list[int]] = {}
        for row, sha256 in self.among("SELECT row, sha256 FROM items WHERE sha256 IN ({}) AND removed = 0", blobs):
            rows.setdefault(sha256.hex(), []).append(row)
        return rows

    def contents_of(self, rows: Sequence[int]) -> dict[int, str]:
        """The SHA-256 of some rows, by their numbers."""
        entries = self.among("SELECT row, sha256 FROM items WHERE row IN ({})", rows)
        return {row: sha256.hex() for row, sha256 in entries}

    def count_live(self, source: int) -> int:
        """How many live items a source has."""
        return self._number("SELECT COUNT(*) FROM items WHERE source = ? AND removed = 0", (source,))

    def live_items(self, first: int = 0) -> Iterator[Item]:
        """All live items from row `first` on, in the order of their rows, read block by block."""
        last = first - 1
        while block := self._items("WHERE row > ? AND removed = 0 ORDER BY row LIMIT 4096", (last,)):
            yield from block
            last = block[-1].row

    def live_items_from(self, row: int, count: int) -> list[Item]:
        """At most `count` live items from a row on."""
        return self._items("WHERE row >= ? AND removed = 0 ORDER BY row LIMIT ?", (row, count))

    def _items(self, where: str, values: Sequence[object]) -> list[Item]:
        rows = self.database.query(f"SELECT {ITEM} FROM items {where}", values)  # noqa: S608 - `where` is a constant of this file
        return [to_item(row) for row in rows]

    def _items_among(self, where: str, values: Sequence[object]) -> list[Item]:
        return [to_item(row) for row in self.among(f"SELECT {ITEM} FROM items {where}", values)]  # noqa: S608 - constants

    def among(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """The rows of a query in which `{}` stands for so many values; each value once, and few at once."""
        values, rows = list(dict.fromkeys(values)), []
        for start in range(0, len(values), AT_ONCE):
            part = values[start : start + AT_ONCE]
            rows += self.database.query(sql.format(", ".join("?" * len(part))), part)
        return rows

    def rows_of_source(self, source: int) -> Iterator[tuple[int, str]]:
        """(row, key) of the live items of a source, read block by block."""
        sql, last = (
            "SELECT row, key FROM items WHERE source = ? AND removed = 0 AND row > ? ORDER BY row LIMIT 4096",
            -1,
        )
        while block := self.database.query(sql, (source, last)):
            yield from ((row, from_blob(key)) for row, key in block)
            last = block[-1][0]

    def rows_under(self, source: int, key: str) -> Iterator[tuple[int, str]]:
        """(row, key) of the live item of a key, and of those in the folder of that name."""
        # Two queries, and +source: else SQLite would go through the whole source.
        sql = "SELECT row, key FROM items WHERE removed = 0 AND +source = ? AND "
        at, first, last = _at_or_in(key)
        file = self.database.query(f"{sql} key = ?", (source, at))
        for row, blob in file + self.database.query(f"{sql} key >= ? AND key < ?", (source, first, last)):
            yield row, from_blob(blob)

    def entries(self, with_removed: bool = False) -> Iterator[list[StoredEntry]]:
        """All rows with their checksums, in blocks in the order of the rows; without `with_removed` the live ones."""
        live = "" if with_removed else "AND removed = 0"
        sql = f"SELECT {ITEM}, crc FROM items WHERE row > ? {live} ORDER BY row LIMIT {BLOCK}"  # noqa: S608 - constants
        last = -1
        while block := self.database.query(sql, (last,)):
            yield block
            last = block[-1][0]

    def table(self, name: str) -> list[tuple[Any, ...]]:
        """Everything in a table of `COVERED` beside the items, without the checksums."""
        return self.database.query(f"SELECT {COVERED[name]} FROM {name}")  # noqa: S608 - constants of this file

    def dismissed(self) -> list[tuple[bytes, int, int]]:
        """(key as a blob, size, mtime_ns) of every file that was taken out by hand."""
        rows = self.database.query("SELECT key, size, mtime_ns FROM dismissed")
        return [(key, size, mtime_ns) for key, size, mtime_ns in rows]

    @property
    def has_dismissed(self) -> bool:
        """Whether any file was taken out by hand."""
        return bool(self.database.query("SELECT 1 FROM dismissed LIMIT 1"))

    def facts(self, names: Sequence[str]) -> dict[str, Any]:
        """The values of those of some facts that there are, and that match their checksums."""
        return _checked(self.among("SELECT name, value, crc FROM facts WHERE name IN ({})", names))

    def facts_named(self, prefix: str) -> Iterator[tuple[str, Any]]:
        """(name, value) of the facts whose names begin so, and that match their checksums, read block by block."""
        # Names go on with digits, which all come before this character.
        last, end = prefix, prefix + "~"
        sql = "SELECT name, value, crc FROM facts WHERE name > ? AND name < ? ORDER BY name LIMIT 4096"
        while block := self.database.query(sql, (last, end)):
            yield from _checked(block).items()
            last = block[-1][0]

    def has_keys_between(self, first: bytes, last: bytes) -> bool:
        """Whether a live item, or a file that was taken out by hand, has a key from `first` to before `last`."""
        question = "SELECT 1 FROM {} WHERE {} key >= ? AND key < ?"
        tables = f"{question.format('items', 'removed = 0 AND')} UNION ALL {question.format('dismissed', '')} LIMIT 1"
        return bool(self.database.query(tables, (first, last, first, last)))

    def sources(self) -> list[tuple[int, str, str]]:
        """(id, location, prefix) of every source that was indexed."""
        rows = self.database.query("SELECT id, location, prefix FROM sources ORDER BY id")
        return [(id_, from_blob(place), from_blob(prefix)) for id_, place, prefix in rows]

    def ignored(self, source: int) -> tuple[str, ...]:
        """The user's patterns of what to pass over in a source."""
        rows = self.database.query("SELECT value FROM facts WHERE name = ?", (f"{IGNORE}{source}",))
        try:
            return tuple(map(str, json.loads(rows[0][0]))) if rows else ()
        except (ValueError, TypeError) as error:
            raise CollectionError(
                f"{self.path}: the patterns of what to ignore are damaged; name them again"
            ) from error

    def skipped(self) -> list[tuple[str, str]]:
        """(key, reason) of every file that the last run could not use."""
        rows = self.database.query("SELECT key, reason FROM skipped ORDER BY key")
        return [(from_blob(key), reason) for key, reason in rows]

    def checked(self, row: int) -> tuple[Item, int] | None:
        """The item in a row and the checksum of its vector; None where the entry does not match its own checksum."""
        entries = self.database.query(f"SELECT {ITEM}, crc FROM items WHERE row = ?", (row,))  # noqa: S608 - a constant
        if not entries or crc(*entries[0][:-1]) != entries[0][-1]:
            return None
        return to_item(entries[0]), entries[0][-2]

    def vector_crcs(self, rows: Sequence[int]) -> list[int]:
        """The checksums of the vectors of some rows, in their order; -1 where there is no such row."""
        answers = [self.database.query("SELECT vector_crc FROM items WHERE row = ?", (row,)) for row in rows]
        return [answer[0][0] if answer else -1 for answer in answers]

    def live_rows(self) -> Ids:
        """The rows that are not removed, in order."""
        return self.database.numbers("SELECT row FROM items WHERE removed = 0 ORDER BY row")

    def described(self, rows: Sequence[int]) -> list[tuple[str, str, dict[str, Any]]]:
        """Key, SHA-256 and columns of some rows, in their order: what an engine's own filters can test."""
        facts: dict[int, tuple[str, str, dict[str, Any]]] = {}
        names = dict(self.columns())
        for start in range(0, len(rows), AT_ONCE):
            part = [int(row) for row in rows[start : start + AT_ONCE]]
            marks = ", ".join("?" * len(part))
            items = self.database.query(f"SELECT row, key, sha256 FROM items WHERE row IN ({marks})", part)  # noqa: S608
            for row, key, sha256 in items:
                facts[row] = (from_blob(key), sha256.hex(), {})
            sql = f'SELECT row, "column", value FROM meta WHERE row IN ({marks})'  # noqa: S608 - question marks
            for row, column, value in self.database.query(sql, part) if names else []:
                facts[row][2][names[column]] = value
        return [facts[int(row)] for row in rows]

    def removed_of(self, rows: Sequence[int]) -> set[int]:
        """Which of some rows are removed."""
        return {row for (row,) in self.among("SELECT row FROM items WHERE removed > 0 AND row IN ({})", list(rows))}

    def columns(self) -> list[tuple[int, str]]:
        """(number, name) of every column of metadata."""
        return [(number, name) for number, name in self.database.query("SELECT id, name FROM columns")]

    def column(self, name: str) -> int | None:
        """The number of a column of metadata; None where there is none of that name."""
        numbers = self.database.query("SELECT id FROM columns WHERE name = ?", (name,))
        return int(numbers[0][0]) if numbers else None

    def count_values(self) -> int:
        """How many values of metadata the live items have."""
        return self._number("SELECT COUNT(*) FROM meta JOIN items USING (row) WHERE removed = 0")

    def values_between(self, first: int, last: int) -> list[tuple[int, int, Any]]:
        """(row, column, value) of the metadata of the rows from `first` to `last`, that one included."""
        sql = 'SELECT row, "column", value FROM meta WHERE row BETWEEN ? AND ?'
        return [(row, column, value) for row, column, value in self.database.query(sql, (first, last))]

    # Writing: each method is one statement; `Store.writing` makes transactions of them.

    def put(self, table: str, *values: object, verb: str = "INSERT") -> None:
        """Write one row of a table of `COVERED`, with its checksum."""
        marks = ", ".join("?" * (len(values) + 1))
        sql = f"{verb} INTO {table} ({COVERED[table]}, crc) VALUES ({marks})"
        self.database.execute(sql, (*values, crc(*values)))
        if table == "meta":
            self._touched(int(str(values[0])))

    def put_many(self, table: str, rows: Sequence[Sequence[object]], verb: str = "INSERT") -> None:
        """As `put`, for several rows of one table."""
        marks = ", ".join("?" * (len(COVERED[table].split(", ")) + 1))
        sql = f"{verb} INTO {table} ({COVERED[table]}, crc) VALUES ({marks})"
        self.database.execute_many(sql, [(*values, crc(*values)) for values in rows])
        for values in rows if table == "meta" else ():
            self._touched(int(str(values[0])))

    def rename(self, row: int, key: str, size: int, mtime_ns: int) -> None:
        """Give a row another key, size and time; a damaged entry keeps its wrong checksum."""
        self.rename_many([(row, key, size, mtime_ns)])

    def rename_many(self, changes: Sequence[tuple[int, str, int, int]]) -> None:
        """As `rename`, one after the other."""
        entry = "crc(row, source, ?1, ?2, ?3, sha256, width, height, removed, vector_crc)"
        changed = f"key = ?1, size = ?2, mtime_ns = ?3, crc = {entry}"
        sql = f"UPDATE items SET {changed} WHERE row = ?4 AND crc = crc({ITEM})"  # noqa: S608 - constants
        self.database.execute_many(sql, [(to_blob(key), size, mtime_ns, row) for row, key, size, mtime_ns in changes])
        for row, *_ in changes:
            self._touched(row)

    def append(self, first: int, entries: Sequence[CatalogEntry]) -> None:
        """Write rows `first`, first + 1, … of the table of items, each with its checksum."""
        rows = [(row, *entry, crc(row, *entry)) for row, entry in enumerate(entries, first)]
        marks = ", ".join("?" * 11)
        self.database.execute_many(f"INSERT INTO items ({ITEM}, crc) VALUES ({marks})", rows)  # noqa: S608 - constants

    def inherit(self, heirs: Mapping[int, int]) -> None:
        """Copy the columns of rows to others: old row to new row."""
        values = self.among('SELECT row, "column", value FROM meta WHERE row IN ({})', list(heirs))
        self.put_many("meta", [(heirs[row], column, value) for row, column, value in values])

    def add_column(self, name: str) -> int:
        """Make a column of metadata; its number."""
        number = self._number("SELECT COALESCE(MAX(id), 0) + 1 FROM columns")
        self.put("columns", number, name, "any")
        return number

    def clear_value(self, row: int, column: int) -> None:
        """Delete the value that a row has in a column."""
        self.database.execute('DELETE FROM meta WHERE row = ? AND "column" = ?', (row, column))
        self._touched(row)

    def remove(self, rows: Sequence[int], why: Literal["gone", "damaged"] = "gone") -> None:
        """Mark rows removed; but for damaged ones, their content can come back without being embedded again."""
        self._mark(rows, {"gone": 1, "damaged": 3}[why])

    def dismiss(self, items: Sequence[Item]) -> None:
        """Mark items as taken out by hand; their files stay out until they change."""
        for item in items:
            self.put("dismissed", to_blob(item.key), item.size, item.mtime_ns, verb="INSERT OR REPLACE")
        self._mark([item.row for item in items], 2)

    def forget_dismissed(self, key: str) -> int:
        """Delete that a file was taken out by hand; how many entries there were."""
        return self.database.execute("DELETE FROM dismissed WHERE key = ?", (to_blob(key),))

    def forget_facts(self, names: Sequence[str]) -> None:
        """Delete facts."""
        self.database.execute_many("DELETE FROM facts WHERE name = ?", [(name,) for name in names])

    def _mark(self, rows: Sequence[int], mark: int) -> None:
        covered = ITEM.replace("removed", "?1")
        sql = f"UPDATE items SET removed = ?1, crc = crc({covered}) WHERE row = ?2"  # noqa: S608 - constants
        self.database.execute_many(sql, [(mark, int(row)) for row in rows])
        self._marked(rows)

    def add_source(self, location: str, prefix: str) -> int:
        """Add a place that images come from; its id."""
        id_ = self._number("SELECT COALESCE(MAX(id), 0) + 1 FROM sources")
        self.put("sources", id_, to_blob(location), to_blob(prefix))
        return id_

    def set_ignored(self, source: int, patterns: Sequence[str]) -> None:
        """Remember the patterns of what to pass over in a source."""
        self.database.execute("DELETE FROM facts WHERE name = ?", (f"{IGNORE}{source}",))
        if patterns:
            self.put("facts", f"{IGNORE}{source}", json.dumps(list(patterns)))

    def clear_ignored(self) -> None:
        """Forget the patterns of all sources, which get other ids."""
        self.database.execute("DELETE FROM facts WHERE name LIKE ?", (f"{IGNORE}%",))

    def forget_source(self, source: int) -> None:
        """Delete a source, what was skipped of it, and what it ignores: its number may be given to another."""
        self.clear_skipped(source)
        self.database.execute("DELETE FROM sources WHERE id = ?", (source,))
        self.set_ignored(source, ())

    def clear_skipped(self, source: int) -> None:
        """Delete what was skipped of a source, before it is read again."""
        self.database.execute("DELETE FROM skipped WHERE source = ?", (source,))

    def clear_skipped_under(self, key: str) -> None:
        """Delete what was skipped at a key, or in the folder of that name."""
        self.database.execute("DELETE FROM skipped WHERE key = ? OR (key >= ? AND key < ?)", _at_or_in(key))

    def add_skipped(self, source: int, key: str, reason: str) -> None:
        """Record why a file could not be used."""
        self.add_skipped_many([(source, key, reason)])

    def add_skipped_many(self, reasons: Sequence[tuple[int, str, str]]) -> None:
        """As `add_skipped`, one after the other."""
        rows = [(to_blob(key), source, reason) for source, key, reason in reasons]
        self.put_many("skipped", rows, verb="INSERT OR REPLACE")


def _checked(rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    return {name: value for name, value, stored in rows if crc(name, value) == stored}


def _at_or_in(key: str) -> tuple[bytes, bytes, bytes]:
    """A key, and the bounds of the keys in a folder of its name: "0" comes after "/"."""
    blob = to_blob(key)
    return blob, blob + b"/", blob + b"0"


def to_item(values: tuple[Any, ...]) -> Item:
    """A row of the catalog as an Item; raises CollectionError where its values are of other types."""
    row, source, key, size, mtime_ns, sha256, width, height, removed = values[:9]
    try:
        return Item(row, source, from_blob(key), size, mtime_ns, sha256.hex(), width, height, bool(removed))
    except (AttributeError, TypeError) as error:
        raise CollectionError(f"row {row} of the catalog is damaged; run `lookalike verify --repair`") from error


class HasCatalog(Protocol):
    """An open collection, or what could be read of a damaged one."""

    @property
    def path(self) -> Path:
        """The folder of the collection."""
        ...

    @property
    def catalog(self) -> Catalog:
        """Its entries."""
        ...
