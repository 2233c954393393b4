"""A new collection in the place of an old one: two renames, and recovery after an interruption between them."""

import shutil
import time
from collections.abc import Callable, Container
from contextlib import closing, suppress
from pathlib import Path

from lookalike.errors import CollectionError, EngineError
from lookalike.index.ann import FOLDER
from lookalike.storage import fence, store
from lookalike.storage.catalog import CATALOG, Catalog
from lookalike.storage.manifest import CACHE, FILE, Header
from lookalike.storage.regions import FOLDER as REGIONS
from lookalike.storage.sqlite import LOCK
from lookalike.storage.store import Store
from lookalike.storage.vectors import DTYPES
from lookalike.utils.files import NO_LINK, reason

SETS = "sets"
"""The folder of a collection for its further vector sets, which outlive an exchange."""
FORMER = "former"
"""The folder of an adapted collection with the vectors that it had before, a collection too."""
MOVES = "moves.jsonl"
"""The journal of files that were moved or put into the trash, which outlives an exchange too."""
NOT_COPIED = {FILE, fence.CLAIM, CATALOG, f"{CATALOG}-journal", LOCK, SETS, REGIONS, FOLDER, CACHE, MOVES, "salvaged"}
NOT_COPIED |= {name for name, _ in DTYPES.values()}
"""Files that the new collection has of its own, that `exchange` moves, or that can be made again."""
MOMENT = 0.2
"""Seconds."""


def beside(path: Path, suffix: str) -> Path:
    """Where a draft of a collection, or the collection that was replaced, lies: PATH.suffix; never behind a link."""
    place = path.with_name(f"{path.name}.{suffix}")
    if place.is_symlink():
        raise CollectionError(f"{place}: a symbolic link where a draft of the collection is to be written; remove it")
    return place


def made_beside(
    old: Store, suffix: str, header: Header, fill: Callable[[Store], None], leave: Container[str] = ()
) -> None:
    """Make a collection beside another, filled inside one `writing()`, and put it in its place; all of it or nothing.

    What lies beside the catalog comes along, without the names in `leave`. For callers inside `old.locked()`. Raises
    CollectionError.
    """
    fresh = beside(old.path, suffix)
    fence.discard_draft(fresh)
    try:
        with closing(store.create(fresh, header)) as new:
            with new.writing():
                fill(new)
                fence.supersede(old.catalog, old.header, new.catalog)
            _copy_files(old.path, fresh, leave)
        exchange(old.path, fresh)
        sweep(old.path)
    except OSError as error:
        raise CollectionError(f"{fresh}: cannot be written ({reason(error)}); the collection is as it was") from error
    finally:
        if store.is_collection(old.path):
            # An engine that has gone keeps the rows of the draft, which stays for the next run to clean up.
            with suppress(EngineError):
                fence.discard_draft(fresh)


def _copy_files(path: Path, fresh: Path, leave: Container[str]) -> None:
    """Copy what lies beside the catalog and the vectors: a whitening, a finding about precision; no drafts."""
    for file in path.iterdir():
        if file.is_file() and file.name not in NOT_COPIED and file.name not in leave and file.suffix != ".new":
            shutil.copy2(file, fresh / file.name)
    if FORMER not in leave:
        copy_former(path, fresh)


def copy_former(path: Path, fresh: Path) -> None:
    """The former vectors of an adapted collection for what takes its place; as second names of the files."""
    if (path / FORMER).is_dir() and not (fresh / FORMER).exists():
        shutil.copytree(path / FORMER, fresh / FORMER, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    """Nothing writes to these files any more, so two collections may share them."""
    try:
        Path(target).hardlink_to(source)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copy2(source, target)


def exchange(path: Path, fresh: Path) -> None:
    """Put `fresh` in the place of `path`, which is deleted except for its further vector sets, regions and cache.

    For callers that have the lock of `path`. Readers keep what they have open.
    """
    old = beside(path, "old")
    _bring(old, path)
    shutil.rmtree(old, ignore_errors=True)
    # With the new collection's lock too: its next writer would move to the same name what is deleted here.
    with store.sole_writer(fresh):
        path.rename(old)
        fresh.rename(path)
        _bring(old, path)
        shutil.rmtree(old, ignore_errors=True)


def sweep(path: Path) -> None:
    """Delete the rows in an engine that a collection has replaced; a writer does it where this is interrupted."""
    with closing(Catalog(path)) as catalog, catalog.database.through_writer():
        catalog.database.begin()
        fence.sweep(catalog)
        catalog.database.commit()


def _bring(old: Path, path: Path) -> None:
    """Move what outlives an exchange, unless it exists in `path`; another process may do the same meanwhile."""
    for folder in (old / CACHE, old / MOVES, old / REGIONS, old / SETS, *(old / SETS).glob("*")):
        target = path / folder.relative_to(old)
        if not target.exists():
            with suppress(FileNotFoundError):
                folder.rename(target)


def recover(path: Path) -> None:
    """Finish an interrupted exchange: `path` does not exist between the two renames, and the sets are moved last."""
    old = beside(path, "old")
    # Where the disk cannot be written, or another process does it first, everything stays as it is.
    with suppress(OSError):
        if not path.exists() and store.is_collection(old):
            # A process that is between the renames needs a moment; one that was killed there never goes on.
            time.sleep(MOMENT)
            if not path.exists() and store.is_collection(old):
                old.rename(path)
        _bring(old, path)
