"""The files of a collection to what they say of themselves, for images that were indexed before that was read."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from lookalike.errors import ImageError
from lookalike.images.decode import decode
from lookalike.images.facts import PhotoFacts
from lookalike.storage import photo_facts
from lookalike.storage.origins import Origins
from lookalike.storage.store import Item, Store
from lookalike.types import Progress
from lookalike.utils.cores import cores

BLOCK = 64
"""Files between two commits."""
SMALLEST = 16
"""Pixels: a JPEG is decoded at an eighth of its size; only its head is of interest."""


@dataclass(frozen=True)
class FactsReport:
    """How many contents were read, and of how many the file is gone, changed or damaged."""

    read: int
    unreadable: int


def read_facts(store: Store, again: bool = False, progress: Progress | None = None) -> FactsReport:
    """Read the files whose facts are not known, inside `store.writing()`; with `again` all of them."""
    items, read = photo_facts.missing(store.catalog, again), 0
    with ThreadPoolExecutor(cores(), thread_name_prefix="lookalike-facts") as pool:
        for done, block in _blocks(items):
            known = pool.map(partial(_facts, Origins(store)), block)
            facts = {item.sha256: facts for item, facts in zip(block, known, strict=True) if facts}
            photo_facts.put(store.catalog, facts)
            store.commit()
            read += len(facts)
            if progress:
                progress(done, len(items))
    return FactsReport(read, len(items) - read)


def _blocks(items: Sequence[Item]) -> Iterator[tuple[int, Sequence[Item]]]:
    for start in range(0, len(items), BLOCK):
        block = items[start : start + BLOCK]
        yield start + len(block), block


def _facts(origins: Origins, item: Item) -> PhotoFacts | None:
    """The facts of an item's file; None where it is not the one that was indexed."""
    try:
        data = origins.read(item)
        is_same = hashlib.sha256(data).hexdigest() == item.sha256
        return decode(data, size=SMALLEST).facts if is_same else None
    except ImageError:
        return None
