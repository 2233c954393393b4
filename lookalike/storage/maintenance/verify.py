"""A collection to what is wrong with it: every file against its checksums; and repair, which loses the rows hit."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.encoders import whitening
from lookalike.encoders.whitened import fingerprint
from lookalike.errors import CollectionError, EngineError
from lookalike.index import ann as approximate
from lookalike.storage import manifest as header
from lookalike.storage.catalog import CATALOG, COVERED, ITEM, SCHEMA, Catalog, from_blob
from lookalike.storage.maintenance.recovery import SIDE_TABLES, salvage
from lookalike.storage.maintenance.whiten import INNER, WHITENING
from lookalike.storage.manifest import Header
from lookalike.storage.sqlite import connect, crc, reading
from lookalike.storage.store import sole_writer
from lookalike.storage.vectors import RowPlace, RowStore, open_rows

BLOCK = 4096


@dataclass(frozen=True)
class Damage:
    """What `verify` found: rows whose vector or catalog entry does not match its checksum, and what else is wrong."""

    rows: tuple[tuple[int, str], ...]
    faults: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.rows or self.faults)


def verify(path: Path, repair: bool = False) -> Damage:
    """Compare everything in the folder of a collection with its checksums; with `repair`, mend what can be mended.

    Repair restores collection.json and the whitening from the copies in the catalog, throws a damaged index away, and
    takes the rows out that were hit, for the next `index` to embed again. Raises CollectionError where the collection
    cannot be told at all, from neither collection.json nor the catalog.
    """
    if not path.is_dir():
        raise CollectionError(f"{path}: no such collection")
    if not repair:
        return _verified(path, False)
    with suppress(sqlite3.Error):
        reading(path / CATALOG).close()  # rolls back what a crash left, for which it takes the lock itself
    with sole_writer(path):
        return _verified(path, True)


def _verified(path: Path, repair: bool) -> Damage:
    faults: list[str] = []
    told = _header(path, faults, repair)
    broken = _structure(path)
    faults += broken
    rows: list[tuple[int, str]] = []
    if broken and repair:
        with closing(open_rows(RowPlace(path, told.dim, told.dtype), told.engine)) as vectors:
            rows += salvage(path, told, _held(vectors))
    if not broken or repair:
        rows += _rows(path, told, faults, repair)
        faults += _tables(path, repair)
        faults += _lost_sources(path)
        faults += _whitening(path, told, repair)
    faults += approximate.damage(path, repair)
    return Damage(tuple(rows), tuple(faults))


def _header(path: Path, faults: list[str], repair: bool) -> Header:
    """collection.json, or its copy in the catalog."""
    copy = _copied(path)
    try:
        told = header.read_header(path)
    except CollectionError as error:
        if copy is None:
            raise
        faults.append(str(error).partition("; ")[0])
        told = header.parse(copy, path)
        if repair:
            header.write_header(path, told)
    return told


def _copied(path: Path) -> bytes | None:
    try:
        with closing(reading(path / CATALOG)) as opened:
            found = opened.execute("SELECT name, value, crc FROM facts WHERE name = 'header'").fetchone()
    except sqlite3.Error:
        return None
    return found[1].encode() if found and crc(*found[:2]) == found[2] else None


def _structure(path: Path) -> list[str]:
    """What SQLite itself and the schema say about the catalog."""
    if not (path / CATALOG).is_file():
        return [f"{CATALOG} is missing"]
    try:
        with closing(reading(path / CATALOG)) as opened:
            faults = [f"{CATALOG}: {line}" for (line,) in opened.execute("PRAGMA integrity_check(20)") if line != "ok"]
            schema = {sql for (sql,) in opened.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
            if schema != set(SCHEMA):
                faults.append(f"{CATALOG}: its tables are not as they were made")
            count, last = opened.execute("SELECT COUNT(*), MAX(row) FROM items").fetchone()
            if last is not None and count != last + 1:
                faults.append(f"{CATALOG}: rows are missing")
    except sqlite3.Error as error:
        return [f"{CATALOG}: {error}"]
    return faults


def _rows(path: Path, told: Header, faults: list[str], repair: bool) -> list[tuple[int, str]]:
    """Every row against its two checksums; marked as damaged with `repair`."""
    with (
        closing(open_rows(RowPlace(path, told.dim, told.dtype), told.engine)) as vectors,
        closing(reading(path / CATALOG)) as opened,
    ):
        # In this order, and no row beyond: whoever writes meanwhile has more vectors there before it has more rows.
        rows = int(opened.execute("SELECT COALESCE(MAX(row) + 1, 0) FROM items").fetchone()[0])
        held = _held(vectors)
        if held < rows:
            faults.append(f"the vectors hold {held} of {rows} rows")
        damaged = list(_damaged(opened, vectors, rows, held))
    if repair and (damaged or held < rows):
        with closing(open_rows(RowPlace(path, told.dim, told.dtype), told.engine)) as vectors:
            vectors.flush(rows)
        with closing(Catalog(path)) as opened_to_write, opened_to_write.database.through_writer():
            opened_to_write.database.execute("BEGIN IMMEDIATE")
            opened_to_write.remove([row for row, _ in damaged], "damaged")
            opened_to_write.database.execute("COMMIT")
    return damaged


def _held(vectors: RowStore) -> int:
    try:
        return len(vectors)
    except EngineError:
        # A server that is away has lost nothing; a repair must not take its rows for damaged.
        raise
    except CollectionError:
        return 0


def _damaged(opened: sqlite3.Connection, vectors: RowStore, rows: int, held: int) -> Iterator[tuple[int, str]]:
    sql = f"SELECT {ITEM}, crc FROM items WHERE row >= ? AND row < ? ORDER BY row"  # noqa: S608 - a constant
    for start in range(0, rows, BLOCK):
        found = vectors.checksums(start, min(start + BLOCK, rows, held)) if start < held else []
        for values in opened.execute(sql, (start, min(start + BLOCK, rows))):
            row, mark, vector_crc = values[0], values[8], values[9]
            at = row - start
            if crc(*values[:-1]) == values[-1]:
                is_whole = mark == 3 or (at < len(found) and found[at] == vector_crc)
            else:
                is_whole = False
            if not is_whole:
                yield row, _name(values[2])


def _name(key: Any) -> str:
    return from_blob(key) if isinstance(key, bytes) else ascii(key)


def _tables(path: Path, repair: bool) -> list[str]:
    """The tables beside the items; with `repair` their damaged rows go."""
    faults = []
    with closing((connect if repair else reading)(path / CATALOG)) as opened:
        for table in SIDE_TABLES:
            wrong = f"FROM {table} WHERE crc IS NOT crc({COVERED[table]})"
            count = opened.execute(f"SELECT COUNT(*) {wrong}").fetchone()[0]
            if count:
                faults.append(f"{CATALOG}: {count} entries of {table} do not match their checksums")
                if repair:
                    opened.execute(f"DELETE {wrong}")
        # Those of a column that was just deleted too: the next new column might be given its number.
        lost = 'FROM meta WHERE "column" NOT IN (SELECT id FROM columns)'
        count = opened.execute(f"SELECT COUNT(*) {lost}").fetchone()[0]
        if count:
            faults.append(f"{CATALOG}: {count} entries of meta are of a column that is lost")
            if repair:
                opened.execute(f"DELETE {lost}")
    return faults


def _lost_sources(path: Path) -> list[str]:
    """Images that can be searched, but whose files are not found: no copy says where they lie."""
    with closing(reading(path / CATALOG)) as opened:
        known = {id_ for (id_,) in opened.execute("SELECT id FROM sources")}
        used = {source for (source,) in opened.execute("SELECT DISTINCT source FROM items WHERE removed = 0")}
        # The first source that is ever indexed has this number, and its keys nothing before them.
        way = "index their folder again" if not known and used == {1} else "index again with --rebuild"
        images = "SELECT COUNT(*), key FROM items WHERE removed = 0 AND source = ?"
        found = [opened.execute(images, (source,)).fetchone() for source in sorted(used - known)]
    return [f"{CATALOG}: {count} images, as {_name(key)}, are of a source that is lost; {way}" for count, key in found]


def _whitening(path: Path, told: Header, repair: bool) -> list[str]:
    """The whitening, which the collection's fingerprint covers, and its copy."""
    with closing(reading(path / CATALOG)) as opened:
        found = opened.execute("SELECT value FROM facts WHERE name = ?", (WHITENING,)).fetchone()
        inner = opened.execute("SELECT value FROM facts WHERE name = ?", (INNER,)).fetchone()
    if found is None:
        return []
    try:
        learned = whitening.load(path)
        if learned and inner and fingerprint(str(inner[0]), learned) == told.fingerprint:
            return []
        reason = "does not match the collection's fingerprint" if learned else "is missing"
    except CollectionError as error:
        reason = str(error).partition("; ")[0]
    if repair:
        draft = path / f"{whitening.FILE}.new"
        draft.write_bytes(found[0])
        draft.replace(path / whitening.FILE)
    return [f"{whitening.FILE}: {reason}"]
