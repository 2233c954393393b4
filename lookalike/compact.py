"""A collection to the same collection without the rows that were removed, made beside it and put in its place."""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from lookalike import store
from lookalike.approximate import FOLDER
from lookalike.catalog import CATALOG
from lookalike.connect import LOCK
from lookalike.errors import CollectionError
from lookalike.exchange import SETS, SUFFIXES, beside, exchange
from lookalike.header import CACHE, FILE, Header
from lookalike.pour import Pour, copy_tables
from lookalike.store import Store
from lookalike.types import Progress
from lookalike.vectors import DTYPES

SUFFIX = "compact"
assert SUFFIX in SUFFIXES, "what an interrupted exchange looks for"
NOT_COPIED = {FILE, CATALOG, f"{CATALOG}-journal", LOCK, SETS, FOLDER, CACHE, "salvaged"}
NOT_COPIED |= {name for name, _ in DTYPES.values()}
"""Files that are made anew, or are moved by the exchange, or can be made again."""


@dataclass(frozen=True)
class Report:
    """How many rows were left behind, and the bytes of the collection before and after."""

    removed: int
    before: int
    after: int


def compact(path: Path, dtype: str | None = None, progress: Progress | None = None) -> Report:
    """Leave removed rows behind, and keep vectors as `dtype` from then on where one is named.

    May be interrupted at any moment: the old collection is in its place until the exchange. Its index goes, since rows
    get new numbers. Raises CollectionError where a row is damaged, or where the disk has no room for the copy.
    """
    with closing(Store(path)) as old:
        if old.header.engine:
            raise CollectionError(f"{path}: its vectors lie in a search server; index again with --rebuild")
        removed, before = len(old.removed_rows()), size(path)
        header = replace(old.header, dtype=dtype or old.header.dtype)
        with old.locked():
            made_beside(old, SUFFIX, header, lambda new: _copy(old, new, progress))
    return Report(removed, before, size(path))


def _copy(old: Store, new: Store, progress: Progress | None) -> None:
    copy_tables(old, new, ("facts", "sources", "dismissed", "skipped", "columns"))
    Pour()(old, new, progress)


def made_beside(old: Store, suffix: str, header: Header, fill: Callable[[Store], None]) -> None:
    """Make a collection beside another, filled inside one `writing()`, and put it in its place; all of it or nothing.

    For a caller that holds `old.locked()`.
    """
    fresh = beside(old.path, suffix)
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        with closing(store.create(fresh, header)) as new:
            with new.writing():
                fill(new)
            _copy_files(old.path, fresh)
        exchange(old.path, fresh)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CollectionError(f"{fresh}: cannot be written ({reason}); the collection is as it was") from error
    finally:
        if store.is_collection(old.path):
            shutil.rmtree(fresh, ignore_errors=True)


def _copy_files(path: Path, fresh: Path) -> None:
    """What lies beside the catalog and the vectors: a whitening, a finding about precision."""
    for file in path.iterdir():
        if file.is_file() and file.name not in NOT_COPIED:
            shutil.copy2(file, fresh / file.name)


def size(path: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
