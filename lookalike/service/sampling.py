"""A few images, evenly from all over a gallery."""

import numpy as np

from lookalike.search.searched import SearchedGallery
from lookalike.storage.store import Item

TRIES = 20
"""Rows that are tried in each part of the collection, where the first may be removed."""


def sample(gallery: SearchedGallery, count: int) -> list[Item]:
    """At most `count` live items, evenly spread over the rows; no list of all of them is made."""
    with gallery.snapshot():
        rows = gallery.rows
        places = np.unique(np.linspace(0, max(0, rows - 1), min(count, max(1, rows))).astype(int))
        ends = [*places[1:].tolist(), rows]
        items: list[Item] = []
        for start, end in zip(places.tolist(), ends, strict=True):
            for row in range(start, min(end, start + TRIES)):
                if gallery.holds(row) and not (item := gallery.item(row)).removed:
                    items.append(item)
                    break
    return items
