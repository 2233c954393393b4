"""A block of images against a collection: looked up at once, changed in memory, and written at once."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lookalike.images.facts import PhotoFacts
from lookalike.storage import photo_facts
from lookalike.storage.store import Item, Store


class Block:
    """The live items of some keys and the intact items of some contents, as the changes of this block leave them.

    `write` writes the changes; the store must be open for writing, and nothing else may write to it in between.
    """

    def __init__(self, store: Store, keys: Sequence[str], contents: Sequence[str]) -> None:
        self._store, self._first = store, store.count()
        self._live = store.catalog.live_items_of(keys)
        self._contents: dict[str, dict[int, Item]] = {sha256: {} for sha256 in contents}
        for item in store.intact_contents(contents):
            self._contents[item.sha256][item.row] = item
        self._new: list[Item] = []
        self._vectors: list[NDArray[np.float32] | int] = []
        self._gone: list[int] = []
        self._renamed: list[tuple[int, str, int, int]] = []
        self._heirs: list[tuple[int, int]] = []
        self._skipped: list[tuple[int, str, str]] = []
        self._facts: dict[str, PhotoFacts] = {}

    def live_item(self, key: str) -> Item | None:
        """The item of one of the keys, unless it was removed."""
        return self._live.get(key)

    def items_of_content(self, sha256: str) -> list[Item]:
        """The intact items of one of the contents, live ones first."""
        return sorted(self._contents[sha256].values(), key=lambda item: (item.removed, item.row))

    def skip(self, source: int, key: str, reason: str) -> None:
        """Record why a file could not be used."""
        self._skipped.append((source, key, reason))

    def describe(self, sha256: str, facts: PhotoFacts) -> None:
        """Keep what a content says of itself."""
        self._facts[sha256] = facts

    def rename(self, item: Item, key: str, size: int, mtime_ns: int) -> None:
        """Give an item another key, size and time."""
        self._live.pop(item.key, None)
        renamed = replace(item, key=key, size=size, mtime_ns=mtime_ns)
        self._live[key] = renamed
        if not self._put(renamed):
            self._renamed.append((item.row, key, size, mtime_ns))

    def add(self, item: Item, vector: NDArray[np.float32] | int) -> int:
        """Append an item and its vector (dim,), or that of a row, and replace the live item of its key; its row."""
        row = self._first + len(self._new)
        old = self._live.get(item.key)
        if old:
            self._heirs.append((old.row, row))
            if not self._put(replace(old, removed=True)):
                self._gone.append(old.row)
        self._live[item.key] = new = replace(item, row=row)
        self._new.append(new)
        self._vectors.append(vector)
        self._contents[item.sha256][row] = new
        return row

    @property
    def arrivals(self) -> list[Item]:
        """New items of keys that had none."""
        heirs = {row for _, row in self._heirs}
        return [item for item in self._new if item.row not in heirs]

    def _put(self, item: Item) -> bool:
        """Have the changed item of a row; whether the row is one of this block, and not in the catalog yet."""
        known = self._contents.get(item.sha256, {})
        if item.row in known:
            known[item.row] = item
        if item.row < self._first:
            return False
        self._new[item.row - self._first] = item
        return True

    def write(self) -> None:
        """Write all changes, or none where an exception strikes."""
        catalog = self._store.catalog
        with self._store.whole():
            # First, what lets go of a key that others may get.
            catalog.remove(self._gone)
            catalog.rename_many(self._renamed)
            self._store.append(self._new, self._vectors)
            catalog.inherit({old: row for old, row in self._heirs if old < self._first})
            for old, row in self._heirs:
                if old >= self._first:
                    catalog.inherit({old: row})
            catalog.add_skipped_many(self._skipped)
            photo_facts.put(catalog, self._facts)
