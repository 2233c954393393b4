"""A new collection in the place of an old one: two renames, and what an interruption between them leaves behind."""

import shutil
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from lookalike.errors import CollectionError
from lookalike.index.ann import FOLDER
from lookalike.storage import store
from lookalike.storage.catalog import CATALOG
from lookalike.storage.manifest import CACHE, FILE, Header
from lookalike.storage.sqlite import LOCK
from lookalike.storage.store import Store
from lookalike.storage.vectors import DTYPES

SETS = "sets"
"""The folder of a collection that holds its further vector sets, which outlive an exchange."""
NOT_COPIED = {FILE, CATALOG, f"{CATALOG}-journal", LOCK, SETS, FOLDER, CACHE, "salvaged"}
NOT_COPIED |= {name for name, _ in DTYPES.values()}
"""Files that are made anew, or are moved by the exchange, or can be made again."""
MOMENT = 0.2
"""Seconds."""


def beside(path: Path, suffix: str) -> Path:
    """Where something that is made of a collection lies until it is whole."""
    return path.with_name(f"{path.name}.{suffix}")


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


def exchange(path: Path, fresh: Path) -> None:
    """Put `fresh` in the place of `path`, which goes, but for its further vector sets and its cache of the images.

    For a caller that holds the lock of `path`. Readers keep what they have open.
    """
    old = beside(path, "old")
    _bring(old, path)
    shutil.rmtree(old, ignore_errors=True)
    # The new one's lock too: its next writer would put aside under the same name what is cleared away here.
    with store.sole_writer(fresh):
        path.rename(old)
        fresh.rename(path)
        _bring(old, path)
        shutil.rmtree(old, ignore_errors=True)


def _bring(old: Path, path: Path) -> None:
    """Move what outlives an exchange, each unless it is there; whoever does the same at this moment may be quicker."""
    for moved in (old / CACHE, old / SETS, *(old / SETS).glob("*")):
        target = path / moved.relative_to(old)
        if not target.exists():
            with suppress(FileNotFoundError):
                moved.rename(target)


def recover(path: Path) -> None:
    """Finish an exchange that was interrupted: the name is free between two renames, and the sets come after them."""
    old = beside(path, "old")
    # Where the disk cannot be written, or another is quicker, it stays as it is.
    with suppress(OSError):
        if not path.exists() and store.is_collection(old):
            # Whoever is in the middle of it needs a moment; who was killed in it never comes back.
            time.sleep(MOMENT)
            if not path.exists() and store.is_collection(old):
                old.rename(path)
        _bring(old, path)
