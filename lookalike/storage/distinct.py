"""Pairs of pictures that a user said are no duplicates of each other, remembered by their content.

They lie in the table of facts, so that every collection of format 2 can have them, and `verify` checks them.
"""

from collections.abc import Iterable

from lookalike.storage.catalog import HasCatalog
from lookalike.storage.store import Store

NAME = "distinct:"
Pair = tuple[str, str]
"""The SHA-256 of two files, the lower one first; twice the same where copies of one file are kept on purpose."""


def pair(a: str, b: str) -> Pair:
    """Two digests in order."""
    return (a, b) if a <= b else (b, a)


def pairs(store: HasCatalog) -> frozenset[Pair]:
    """All pairs that were told apart."""
    rows = store.catalog.database.query("SELECT name FROM facts WHERE name LIKE ?", (f"{NAME}%",))
    named = (name.removeprefix(NAME).split(":") for (name,) in rows)
    return frozenset(pair(*digests) for digests in named if len(digests) == 2)


def add(store: Store, told_apart: Iterable[Pair]) -> None:
    """Remember pairs, inside `store.writing()`."""
    for a, b in told_apart:
        store.catalog.put("facts", f"{NAME}{a}:{b}", "", verb="INSERT OR REPLACE")


def forget(store: Store, told_apart: Iterable[Pair]) -> None:
    """Forget pairs, inside `store.writing()`."""
    for a, b in told_apart:
        store.catalog.database.execute("DELETE FROM facts WHERE name = ?", (f"{NAME}{a}:{b}",))


def carry(old: HasCatalog, new: Store) -> None:
    """Copy all pairs, inside `new.writing()`."""
    add(new, pairs(old))
