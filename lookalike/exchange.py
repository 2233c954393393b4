"""A new collection in the place of an old one: two renames, and what an interruption between them leaves behind."""

import shutil
import time
from pathlib import Path

from lookalike import store
from lookalike.header import CACHE

SETS = "sets"
"""The folder of a collection that holds its further vector sets, which outlive an exchange."""
OUTLIVES = (SETS, CACHE)
SUFFIXES = ("new", "whitened", "compact")
"""What is made beside a collection to take its place."""


MOMENT = 0.2
"""Seconds."""


def beside(path: Path, suffix: str) -> Path:
    """Where something that is made of a collection lies until it is whole."""
    return path.with_name(f"{path.name}.{suffix}")


def exchange(path: Path, fresh: Path) -> None:
    """Put `fresh` in the place of `path`, which goes, but for its further vector sets and its cache of the images.

    Readers keep what they have open.
    """
    old = beside(path, "old")
    shutil.rmtree(old, ignore_errors=True)
    for folder in OUTLIVES:
        if (path / folder).is_dir() and not (fresh / folder).exists():
            (path / folder).rename(fresh / folder)
    path.rename(old)
    fresh.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def recover(path: Path) -> None:
    """Finish an exchange that was interrupted: the name is free between two renames, and the sets go before them."""
    old = beside(path, "old")
    if not path.exists() and store.is_collection(old):
        # Whoever is in the middle of it needs a moment; who was killed in it never comes back.
        time.sleep(MOMENT)
        if not path.exists() and store.is_collection(old):
            old.rename(path)
    for moved in (beside(path, suffix) / folder for suffix in SUFFIXES for folder in OUTLIVES):
        if moved.is_dir() and store.is_collection(path) and not (path / moved.name).exists():
            moved.rename(path / moved.name)
