"""A collection to the same collection without the rows that were removed, made beside it and put in its place."""

from dataclasses import dataclass, replace
from pathlib import Path

from lookalike.storage import kept_columns, photo_facts, taken_out
from lookalike.storage.copy_rows import copy_rows, copy_tables
from lookalike.storage.store import Store
from lookalike.storage.swap import made_beside
from lookalike.types import Progress

SUFFIX = "compact"


@dataclass(frozen=True)
class Compaction:
    """How many rows were dropped, and the bytes of the collection before and after."""

    removed: int
    before: int
    after: int


def compact(
    old: Store, dtype: str | None = None, progress: Progress | None = None, engine: str | None = None
) -> Compaction:
    """Drop the rows of removed images, and store vectors as `dtype` from then on where that is given.

    May be interrupted at any moment: the old collection is in its place until the exchange, and readers that have it
    open keep reading it. Its index is dropped, since rows get new numbers. Rows in an engine are copied to the new
    collection `engine` (a URI), and deleted in the old one unless another folder has written there since. Raises
    CollectionError where a row is damaged, or where the disk has no room for the copy; EngineError for a `dtype` that
    the engine does not keep.
    """
    removed, before = len(old.catalog.removed_rows()), size(old.path)
    header = replace(old.header, dtype=dtype or old.header.dtype, engine=engine)
    with old.locked():
        made_beside(old, SUFFIX, header, lambda new: _copy(old, new, progress))
    return Compaction(removed, before, size(old.path))


def _copy(old: Store, new: Store, progress: Progress | None) -> None:
    copy_tables(old, new, ("facts", "sources", "dismissed", "skipped", "columns"))
    copy_rows(old, new, progress=progress)
    kept_columns.clear(new)
    kept_columns.keep(old, new)
    taken_out.remember(old, new)
    photo_facts.prune(new)


def size(path: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
