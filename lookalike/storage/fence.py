"""Which folder may write a collection's rows in an engine: the one that did so last, and no copy or older state of it.

A folder can be copied, or come back from a backup, and its id with it; the rows in the engine are there only once. So
every writer gives the engine a new generation, whose name is in the folder's catalog before. Where the catalog does not
know the engine's generation, another folder has written since.
"""

import json
import logging
import shutil
import uuid
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from lookalike.errors import CollectionError, EngineError
from lookalike.storage.catalog import CATALOG, Catalog
from lookalike.storage.manifest import Header, is_collection, read_header
from lookalike.storage.vectors import RowStore, discard_rows
from lookalike.utils.files import write_whole
from lookalike.utils.text import command

GENERATIONS, WRITER, SUPERSEDED = "engine generations", "engine writer", "engine superseded"
CLAIM = "engine.json"
"""The id of a collection that is being made in an engine; with it an interrupted run goes on, or cleans up."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineRows:
    """A collection's rows in an engine: its URI, the collection's id, and the generations that the folder knows."""

    uri: str
    owner: str
    generations: tuple[str, ...] = ("",)

    def discard(self) -> None:
        """Delete these rows, unless they are another collection's or another folder has written them since."""
        discard_rows(self.uri, self.owner, self.generations)


def begin(path: Path, catalog: Catalog, vectors: RowStore) -> None:
    """Begin a new generation of a writer, inside its transaction; EngineError where the folder is a copy, or older."""
    current = vectors.generation
    if current is None:
        return
    if current not in generations(catalog):
        raise EngineError(
            f"{path}: another folder has written this collection's vectors since; this one is a copy of it, or older: "
            f"`{command('compact', path, '--engine', 'URI')}` gives it vectors of its own"
        )
    name = uuid.uuid4().hex
    # Durable before the engine has it: killed in between, the folder knows both.
    _put(catalog, GENERATIONS, [current, name])
    _put(catalog, WRITER, [_file_number(path)])
    catalog.database.commit()
    vectors.begin(name, current)


def generations(catalog: Catalog) -> tuple[str, ...]:
    """The generations that a folder knows to be its own."""
    return tuple(map(str, _fact(catalog, GENERATIONS) or [""]))


def rows_of(path: Path) -> EngineRows | None:
    """The rows in an engine of the collection, or of the unfinished one, in this folder."""
    if is_collection(path):
        header = read_header(path)
        with closing(Catalog(path)) as catalog:
            return EngineRows(header.engine, header.id, generations(catalog)) if header.engine else None
    return claimed(path)


def claimed(path: Path) -> EngineRows | None:
    """What an interrupted run was making in an engine."""
    try:
        values = json.loads((path / CLAIM).read_bytes())
        return EngineRows(str(values["engine"]), str(values["id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def claim(path: Path, header: Header) -> None:
    """Write what is about to be made in an engine; raises OSError."""
    write_whole(path / CLAIM, json.dumps({"engine": header.engine, "id": header.id}) + "\n")


def discard_draft(draft: Path) -> None:
    """Delete a collection that was never completed, and its rows in an engine. Raises EngineError and keeps it."""
    rows = None
    with suppress(CollectionError):
        rows = rows_of(draft)
    if rows is not None:
        rows.discard()
    shutil.rmtree(draft, ignore_errors=True)


def supersede(old: Catalog, header: Header, new: Catalog) -> None:
    """Write into a new catalog which rows in an engine it replaces; `sweep` deletes them once it has done so.

    Only rows that this very folder wrote: those of an untouched copy are the original's.
    """
    if not header.engine:
        return
    if _fact(old, WRITER) == [_file_number(old.path)]:
        _put(new, SUPERSEDED, [header.engine, header.id, *generations(old)])
    else:
        log.warning("%s stays: this folder has not written it, and may be a copy of the one that has", header.engine)


def sweep(catalog: Catalog) -> None:
    """Delete the rows in an engine that this collection has replaced; an engine that is away keeps them until later."""
    values = _fact(catalog, SUPERSEDED)
    if not values:
        return
    uri, owner, *names = map(str, values)
    try:
        EngineRows(uri, owner, tuple(names)).discard()
    except EngineError as error:
        log.warning("%s; the next run deletes what was replaced there", error)
        return
    catalog.database.execute("DELETE FROM facts WHERE name = ?", (SUPERSEDED,))


def _file_number(path: Path) -> str:
    """The number of the catalog in its file system, which a copy does not share."""
    return str((path / CATALOG).stat().st_ino)


def _put(catalog: Catalog, name: str, values: Sequence[str]) -> None:
    catalog.put("facts", name, json.dumps(list(values)), verb="INSERT OR REPLACE")


def _fact(catalog: Catalog, name: str) -> list[str]:
    rows = catalog.database.query("SELECT value FROM facts WHERE name = ?", (name,))
    try:
        return list(json.loads(rows[0][0])) if rows else []
    except (ValueError, TypeError) as error:
        raise CollectionError(f"{catalog.path}: its note of the engine is damaged; `lookalike verify` it") from error
