"""A new collection in the place of an old one: two renames, and what an interruption between them leaves behind."""

import shutil
import time
from pathlib import Path

from lookalike import store

SETS = "sets"
"""The folder of a collection that holds its further vector sets, which outlive an exchange."""
SUFFIXES = ("new", "whitened", "compact")
"""What is made beside a collection to take its place."""


MOMENT = 0.2
"""Seconds."""


def beside(path: Path, suffix: str) -> Path:
    """Where something that is made of a collection lies until it is whole."""
    return path.with_name(f"{path.name}.{suffix}")


def exchange(path: Path, fresh: Path) -> None:
    """Put `fresh` in the place of `path`, which goes, but for its further vector sets; readers keep what they have."""
    old = beside(path, "old")
    shutil.rmtree(old, ignore_errors=True)
    if (path / SETS).is_dir():
        (path / SETS).rename(fresh / SETS)
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
    for suffix in SUFFIXES:
        moved = beside(path, suffix) / SETS
        if moved.is_dir() and store.is_collection(path) and not (path / SETS).exists():
            moved.rename(path / SETS)
