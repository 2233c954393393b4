"""A few images, evenly from all over a collection."""

import numpy as np

from lookalike.collection.collection import Collection
from lookalike.storage.catalog import Item

TRIES = 20
"""Rows that are tried in each part of the collection, where the first may be removed."""


def sample(collection: Collection, count: int) -> list[Item]:
    """At most `count` live items, evenly spread over the rows; no list of all of them is made."""
    # Read once: another store may take its place at any moment.
    store = collection.store
    with store.catalog.snapshot():
        rows = store.catalog.count_rows()
        places = np.unique(np.linspace(0, max(0, rows - 1), min(count, max(1, rows))).astype(int))
        ends = [*places[1:].tolist(), rows]
        items: list[Item] = []
        for start, end in zip(places.tolist(), ends, strict=True):
            for row in range(start, min(end, start + TRIES)):
                item = store.catalog.item(row)
                if not item.removed:
                    items.append(item)
                    break
    return items
