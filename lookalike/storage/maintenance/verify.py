"""A collection to what is damaged in it: every file against its checksums; and repair, which drops damaged rows."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.encoders import adaptation, whitening
from lookalike.encoders.whitened import Kind, fingerprint
from lookalike.errors import CollectionError, EngineError
from lookalike.index import ann
from lookalike.storage import fence
from lookalike.storage.catalog import CATALOG, COVERED, ITEM, SCHEMA, Catalog, from_blob
from lookalike.storage.maintenance.adapt import MAP, SOURCE, has_former
from lookalike.storage.maintenance.recovery import SIDE_TABLES, salvage
from lookalike.storage.maintenance.whiten import INNER, WHITENING
from lookalike.storage.manifest import Header, parse, read_header, write_header
from lookalike.storage.regions import FOLDER as REGIONS
from lookalike.storage.regions import folder, has_regions, remove_siblings, spec_of
from lookalike.storage.sqlite import connect, crc, reading
from lookalike.storage.store import sole_writer
from lookalike.storage.swap import FORMER
from lookalike.storage.vectors import RowPlace, RowStore, open_rows
from lookalike.utils.files import write_whole
from lookalike.utils.text import counted

BLOCK = 4096
NAMES = (WHITENING, INNER, MAP, SOURCE)
"""Facts about maps."""


@dataclass(frozen=True)
class Damage:
    """Rows (number, key) whose vector or catalog entry does not match its checksum, and other faults."""

    rows: tuple[tuple[int, str], ...]
    faults: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.rows or self.faults)


def verify(path: Path, repair: bool = False) -> Damage:
    """Compare everything in the folder of a collection with its checksums; with `repair`, repair what can be.

    Repair restores collection.json and the whitening from the copies in the catalog, deletes a damaged index, and
    removes the damaged rows, which the next `index` embeds again. Raises CollectionError where the header can be read
    neither from collection.json nor from the catalog.
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
    header = _header(path, faults, repair)
    structure_faults = _structure(path)
    faults += structure_faults
    rows: list[tuple[int, str]] = []
    if structure_faults and repair:
        with closing(_open_vectors(path, header)) as vectors:
            rows += salvage(path, header, stored_rows(vectors))
    if not structure_faults or repair:
        rows += _rows(path, header, faults, repair)
        faults += _tables(path, repair)
        faults += _lost_sources(path)
        faults += _maps(path, header, repair)
        faults += _former(path, repair)
        faults += _regions(path, repair)
    if repair and rows and spec_of(header) is not None:
        _take_out_siblings(path, [row for row, _ in rows])
    faults += ann.damage(path, repair)
    return Damage(tuple(rows), tuple(faults))


def _open_vectors(path: Path, header: Header) -> RowStore:
    return open_rows(RowPlace(path, header.dim, header.dtype), header.engine)


def _header(path: Path, faults: list[str], repair: bool) -> Header:
    """collection.json, or its copy in the catalog."""
    copy = _header_copy(path)
    try:
        header = read_header(path)
    except CollectionError as error:
        if copy is None:
            raise
        faults.append(str(error).partition("; ")[0])
        header = parse(copy, path)
        if repair:
            write_header(path, header)
    return header


def _header_copy(path: Path) -> bytes | None:
    try:
        with closing(reading(path / CATALOG)) as database:
            fact = database.execute("SELECT name, value, crc FROM facts WHERE name = 'header'").fetchone()
    except sqlite3.Error:
        return None
    return fact[1].encode() if fact and crc(*fact[:2]) == fact[2] else None


def _structure(path: Path) -> list[str]:
    """Faults of the catalog that SQLite finds, and differences from the schema."""
    if not (path / CATALOG).is_file():
        return [f"{CATALOG} is missing"]
    try:
        with closing(reading(path / CATALOG)) as database:
            lines = [line for (line,) in database.execute("PRAGMA integrity_check(20)")]
            faults = [f"{CATALOG}: {line}" for line in lines if line != "ok"]
            schema = {sql for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
            if schema != set(SCHEMA):
                faults.append(f"{CATALOG}: its tables are not as they were made")
            count, last = database.execute("SELECT COUNT(*), MAX(row) FROM items").fetchone()
            if last is not None and count != last + 1:
                faults.append(f"{CATALOG}: rows are missing")
    except sqlite3.Error as error:
        return [f"{CATALOG}: {error}"]
    return faults


def _rows(path: Path, header: Header, faults: list[str], repair: bool) -> list[tuple[int, str]]:
    """The rows that do not match both of their checksums; with `repair` they are marked as damaged."""
    with closing(_open_vectors(path, header)) as vectors, closing(reading(path / CATALOG)) as database:
        # Rows are counted before vectors: a process that writes meanwhile adds vectors before it adds rows.
        rows = int(database.execute("SELECT COALESCE(MAX(row) + 1, 0) FROM items").fetchone()[0])
        count = stored_rows(vectors)
        if count < rows:
            faults.append(f"the vectors hold {count} of {rows} rows")
        damaged = list(_damaged(database, vectors, rows, count))
    if repair and (damaged or count < rows):
        lost = {row for row, _ in damaged}
        with closing(Catalog(path)) as catalog, catalog.database.through_writer():
            place = RowPlace(
                *(path, header.dim, header.dtype),
                removed=lambda rows: {*lost.intersection(rows), *catalog.removed_of(rows)},
            )
            catalog.database.begin()
            with closing(open_rows(place, header.engine)) as vectors:
                fence.begin(path, catalog, vectors)
                vectors.mark(sorted(lost))
                vectors.flush(rows)
            catalog.remove(sorted(lost), "damaged")
            catalog.database.execute("COMMIT")
    return damaged


def stored_rows(vectors: RowStore) -> int:
    """How many rows are stored; 0 where the file cannot be read."""
    try:
        return len(vectors)
    except EngineError:
        # A server that is away has lost nothing; a repair must not take its rows for damaged.
        raise
    except CollectionError:
        return 0


def _damaged(database: sqlite3.Connection, vectors: RowStore, rows: int, count: int) -> Iterator[tuple[int, str]]:
    sql = f"SELECT {ITEM}, crc FROM items WHERE row >= ? AND row < ? ORDER BY row"  # noqa: S608 - a constant
    for start in range(0, rows, BLOCK):
        checksums = vectors.checksums(start, min(start + BLOCK, rows, count)) if start < count else []
        for values in database.execute(sql, (start, min(start + BLOCK, rows))):
            row, mark, vector_crc = values[0], values[8], values[9]
            at = row - start
            if crc(*values[:-1]) == values[-1]:
                is_whole = mark == 3 or (at < len(checksums) and checksums[at] == vector_crc)
            else:
                is_whole = False
            if not is_whole:
                yield row, _name(values[2])


def _name(key: Any) -> str:
    return from_blob(key) if isinstance(key, bytes) else ascii(key)


def _tables(path: Path, repair: bool) -> list[str]:
    """Faults of the tables beside the items; with `repair` their damaged rows are deleted."""
    faults = []
    with closing((connect if repair else reading)(path / CATALOG)) as database:
        for table in SIDE_TABLES:
            wrong = f"FROM {table} WHERE crc IS NOT crc({COVERED[table]})"
            count = database.execute(f"SELECT COUNT(*) {wrong}").fetchone()[0]
            if count:
                kinds = (
                    f"entry of {table} does not match its checksum",
                    f"entries of {table} do not match their checksums",
                )
                faults.append(f"{CATALOG}: {counted(count, *kinds)}")
                if repair:
                    database.execute(f"DELETE {wrong}")
        # Also those of a column that was just deleted: the next new column might get its number.
        lost = 'FROM meta WHERE "column" NOT IN (SELECT id FROM columns)'
        count = database.execute(f"SELECT COUNT(*) {lost}").fetchone()[0]
        if count:
            faults.append(
                f"{CATALOG}: {counted(count, 'entry of meta is', 'entries of meta are')} of a column that is lost"
            )
            if repair:
                database.execute(f"DELETE {lost}")
    return faults


def _lost_sources(path: Path) -> list[str]:
    """Images that can be searched, but whose source is lost, so that their files cannot be located."""
    with closing(reading(path / CATALOG)) as database:
        registered = {id_ for (id_,) in database.execute("SELECT id FROM sources")}
        used = {source for (source,) in database.execute("SELECT DISTINCT source FROM items WHERE removed = 0")}
        # The first source of a collection always has this number, and its keys have no prefix.
        way = "index their folder again" if not registered and used == {1} else "index again with --rebuild"
        images = "SELECT COUNT(*), key FROM items WHERE removed = 0 AND source = ?"
        counts = [database.execute(images, (source,)).fetchone() for source in sorted(used - registered)]
    return [
        f"{CATALOG}: {counted(count, f'image, {_name(key)}, is', f'images, as {_name(key)}, are')} of a source that is "
        f"lost; {way}"
        for count, key in counts
    ]


def _maps(path: Path, header: Header, repair: bool) -> list[str]:
    """The whitening and what `adapt` learned, which the collection's fingerprint covers, and their copies."""
    with closing(reading(path / CATALOG)) as database:
        facts = dict(database.execute("SELECT name, value FROM facts WHERE name IN (?, ?, ?, ?)", NAMES))
    whitened = str(facts.get(SOURCE, header.fingerprint))
    faults = _map(path / whitening.FILE, facts.get(WHITENING), facts.get(INNER), whitened, "whitened", repair)
    return faults + _map(
        path / adaptation.FILE, facts.get(MAP), facts.get(SOURCE), header.fingerprint, "adapted", repair
    )


def _map(file: Path, copy: bytes | None, inner: object, mapped: str, kind: Kind, repair: bool) -> list[str]:
    """The fault of a map, if it has one; `mapped` is the fingerprint of vectors of the fingerprint `inner` after it."""
    if copy is None:
        return []
    try:
        learned = whitening.load(file.parent, file.name)
        if learned and inner and fingerprint(str(inner), learned, kind) == mapped:
            return []
        fault = "does not match the collection's fingerprint" if learned else "is missing"
    except CollectionError as error:
        fault = str(error).partition("; ")[0]
    if repair:
        write_whole(file, copy)
    return [f"{file.name}: {fault}"]


def _former(path: Path, repair: bool) -> list[str]:
    """What is damaged in the vectors of before `adapt`; a repair marks these rows, which `--undo` then leaves out."""
    try:
        if not has_former(path):
            return []
    except CollectionError as error:
        return [str(error).partition("; ")[0]]
    damage = _verified(path / FORMER, repair)
    faults = [f"{FORMER}/{fault}" for fault in damage.faults]
    kinds = "vector of before `adapt` is damaged", "vectors of before `adapt` are damaged"
    return [*faults, *([f"{FORMER}: {counted(len(damage.rows), *kinds)}"] if damage.rows else [])]


def _regions(path: Path, repair: bool) -> list[str]:
    """What is damaged in the regions of a collection; after a repair the next `index` embeds these pictures again."""
    if not has_regions(path):
        return []
    try:
        damage = verify(folder(path), repair)
    except CollectionError as error:
        return [str(error).partition("; ")[0]]
    faults = [f"{REGIONS}/{fault}" for fault in damage.faults]
    kinds = "vector of a part of an image is damaged", "vectors of parts of images are damaged"
    return [*faults, *([f"{REGIONS}: {counted(len(damage.rows), *kinds)}"] if damage.rows else [])]


def _take_out_siblings(path: Path, damaged: Sequence[int]) -> None:
    with closing(Catalog(path)) as catalog, catalog.database.through_writer():
        catalog.database.begin()
        remove_siblings(catalog, damaged)
        catalog.database.commit()
