"""Pairs of images that a user marked as the same thing or not, kept by their content as `distinct` keeps its pairs.

They lie in the table of facts, so every collection of format 2 can have them, and `verify` checks them.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass

from lookalike.storage.catalog import HasCatalog
from lookalike.storage.distinct import Pair, pair
from lookalike.storage.store import Store

NAME = "marked:"


@dataclass(frozen=True)
class Mark:
    """Whether two contents (SHA-256) show the same thing, and when a user said so (seconds since 1970)."""

    pair: Pair
    same: bool
    at: float


def marks(store: HasCatalog) -> list[Mark]:
    """All marks, the newest first."""
    facts = ((name.removeprefix(NAME).split(":"), text) for name, text in store.catalog.facts_named(NAME))
    read = [mark for digests, text in facts if (mark := _read(digests, text))]
    return sorted(read, key=lambda mark: (-mark.at, mark.pair))


def _read(digests: list[str], text: str) -> Mark | None:
    """A mark; None for what another release wrote in another way."""
    try:
        value = json.loads(text)
        a, b = digests
        return Mark(pair(a, b), bool(value["same"]), float(value["at"]))
    except (ValueError, TypeError, KeyError):
        return None


def put(store: Store, contents: Pair, same: bool) -> None:
    """Remember a mark in place of an earlier one of this pair, inside `store.writing()`."""
    _put(store, [Mark(contents, same, time.time())])


def forget(store: Store, contents: Pair) -> None:
    """Forget the mark of a pair, inside `store.writing()`."""
    store.catalog.forget_facts([f"{NAME}{contents[0]}:{contents[1]}"])


def carry(old: HasCatalog, new: Store) -> None:
    """Copy all marks, inside `new.writing()`; of two of one pair the newer stays."""
    times = {mark.pair: mark.at for mark in marks(new)}
    _put(new, [mark for mark in marks(old) if mark.at > times.get(mark.pair, -1.0)])


def _put(store: Store, given: Iterable[Mark]) -> None:
    rows = [(f"{NAME}{mark.pair[0]}:{mark.pair[1]}", json.dumps({"same": mark.same, "at": mark.at})) for mark in given]
    store.catalog.put_many("facts", rows, verb="INSERT OR REPLACE")
