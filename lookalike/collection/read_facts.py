"""The files of a collection to what they say of themselves, for images that were indexed before that was read.

Sidecars are looked at again where they have changed.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

from lookalike.collection.follow_sidecars import Sidecars
from lookalike.errors import ImageError
from lookalike.images.decode import decode
from lookalike.images.facts import PhotoFacts
from lookalike.images.sources import Source, Tar
from lookalike.storage import photo_facts
from lookalike.storage.origins import Origins
from lookalike.storage.store import Item, Store
from lookalike.types import Progress
from lookalike.utils.cores import cores

BLOCK = 64
"""Files between two commits."""
LISTED = 256
"""Images whose sidecars are looked up at once."""
SMALLEST = 16
"""Pixels: a JPEG is decoded at an eighth of its size; only its head is of interest."""


@dataclass(frozen=True)
class FactsReport:
    """How many contents were read, of how many the file is gone, changed or damaged, and how many sidecars changed."""

    read: int
    unreadable: int
    sidecars: int = 0


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


def read_sidecars(store: Store, sources: Sequence[tuple[Source, int, str]]) -> int:
    """Follow the sidecars of the images in these sources, inside `store.writing()`; how many have changed."""
    followed, changed = Sidecars(store.catalog), 0
    for source, _, prefix in sources:
        # A tar has none, and would have to be read as a whole.
        entries = iter(()) if isinstance(source, Tar) else source.entries()
        while block := list(islice(entries, LISTED)):
            changed += followed.follow([prefix + entry.key for entry in block], block)
    return changed


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
