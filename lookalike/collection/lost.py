"""Images that are gone from a source: deleted on purpose, or away with a disk that is not plugged in."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from lookalike.errors import CollectionError
from lookalike.images.ignore import Rules
from lookalike.images.sources import Folder, Source, open_source
from lookalike.storage.catalog import HasCatalog, Item
from lookalike.storage.origins import Origins
from lookalike.utils.text import counted

FEW = 20
"""A source with fewer images may lose most of them at once; one that yields nothing is asked about all the same."""
BLOCK = 256
"""Images that are looked up at once."""


def is_suspicious(lost: int, had: int, is_empty: bool) -> bool:
    """Whether a source that had so many images is rather away than emptied on purpose."""
    return bool(lost) and (is_empty or (had >= FEW and 2 * lost > had))


def is_gone(source: Source, key: str) -> bool:
    """Whether a file that was not listed is not there, rather than passed over or unreadable.

    An archive or a list does not say why it no longer names an image, so that counts as gone, unless it is ignored.
    """
    if isinstance(getattr(source, "whole", source), Folder):
        return not source.contains(key)
    return not Rules.of(source.ignore).ignores(key)


def refuse_losses(old: HasCatalog, new: HasCatalog, path: Path) -> None:
    """Raise CollectionError where a source lost most of its images between a collection and its rebuild.

    Sources that only one of them has are not compared. An image is not lost where its content has another name now.
    """
    sources = {_place(new, location): (id_, prefix) for id_, location, prefix in new.catalog.sources()}
    for id_, location, prefix in old.catalog.sources():
        place = _place(old, location)
        if place in sources:
            source = open_source(place, new.catalog.ignored(sources[place][0]))
            lost, had = _counts(old, (id_, prefix), new, sources[place], source)
            is_empty = next(new.catalog.rows_of_source(sources[place][0]), None) is None
            if is_suspicious(lost, had, is_empty):
                raise CollectionError(
                    f"{place}: {lost:,} of {counted(had, 'image')} {'is' if lost == 1 else 'are'} gone, and {path} "
                    "stays as it is; bring them back, or rebuild with --allow-removals (Python: allow_removals=True)"
                )


def _place(store: HasCatalog, location: str) -> str:
    return os.path.realpath(Origins(store).locate(location))


def _counts(
    old: HasCatalog, before: tuple[int, str], new: HasCatalog, after: tuple[int, str], source: Source
) -> tuple[int, int]:
    """(lost, had) of a source, which has an id and a prefix in both collections."""
    had = lost = 0
    for items in _items(old, before[0]):
        inner = [item.key.removeprefix(before[1]) for item in items]
        there = new.catalog.live_items_of([after[1] + key for key in inner])
        contents = new.catalog.live_contents([item.sha256 for item in items])
        had += len(items)
        lost += sum(
            after[1] + key not in there and item.sha256 not in contents and is_gone(source, key)
            for item, key in zip(items, inner, strict=True)
        )
    return lost, had


def _items(store: HasCatalog, source: int) -> Iterator[Sequence[Item]]:
    block: list[Item] = []
    for item in store.catalog.live_items():
        if item.source == source:
            block.append(item)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block
