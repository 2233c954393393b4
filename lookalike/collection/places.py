"""Where the images of a collection come from: what is reachable, and sources that are moved or forgotten."""

import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lookalike.errors import CollectionError, ImageError, SourceError
from lookalike.images.remote import is_remote, located
from lookalike.images.sources import Folder, Source, SourceEntry, check_patterns, is_url, open_source
from lookalike.storage.catalog import Item, to_blob
from lookalike.storage.origins import location_of
from lookalike.storage.store import Store
from lookalike.utils.files import reason
from lookalike.utils.text import command

SAMPLE = 32
"""Images that are compared to recognise a folder by."""
SAMPLE_PACKED = 4
"""As SAMPLE, of an archive, which may have to be read from its beginning for each."""
ENOUGH = 0.9
"""The share of a sample that a place must have to be taken for the one where a source was."""


@dataclass(frozen=True)
class IndexedSource:
    """A source of a collection, and how many images it has there.

    `empty` is a place that yields nothing though it had images, as where a disk is mounted; `remote` is a URI, which is
    not asked. `prefix` is what its keys begin with.
    """

    location: str
    state: Literal["reachable", "empty", "unreachable", "remote"]
    images: int
    prefix: str

    def to_json(self) -> dict[str, Any]:
        """Its fields, and whether it is reachable."""
        return {**asdict(self), "reachable": self.state == "reachable"}


def listed(store: Store) -> list[IndexedSource]:
    """The sources of a collection in the order in which they were indexed."""
    sources = []
    for id_, location, prefix in store.catalog.sources():
        images, place = store.catalog.count_live(id_), located(store.path, location)
        sources.append(IndexedSource(place, _state(place, images), images, prefix))
    return sources


def reachable(known: Sequence[tuple[Path, Sequence[str]]]) -> tuple[list[Source | None], dict[Path, str]]:
    """The source of each place, with its patterns, None for one that cannot be read here; and the reasons by place."""
    sources: list[Source | None] = []
    away: dict[Path, str] = {}
    for place, patterns in known:
        check_patterns(patterns)
        try:
            source = open_source(place, patterns)
            if len(known) > 1:
                # A folder may be there and not be listed.
                next(iter(source.entries()), None)
            sources.append(source)
        except (SourceError, OSError) as error:
            sources.append(None)
            away[place] = f"{place}: {reason(error)}" if isinstance(error, OSError) else str(error)
    return sources, away


def nothing_here(away: Mapping[Path, str], folder: Path) -> SourceError:
    """What is raised where a source is away that is needed; `folder` is the name of the collection."""
    why = next(iter(away.values()))
    return SourceError(f"{why}; `{command('sources', folder)}` lists the sources, and moves them")


def _state(place: str, images: int) -> Literal["reachable", "empty", "unreachable", "remote"]:
    if is_remote(place):
        return "remote"
    try:
        is_empty = next(iter(open_source(place).entries()), None) is None
    except (SourceError, OSError):
        return "unreachable"
    return "empty" if is_empty and images else "reachable"


def find(store: Store, name: str) -> tuple[int, str, str] | None:
    """(id, place, prefix) of the source that somebody names by its place; None where there is none."""
    for id_, location, prefix in store.catalog.sources():
        place = located(store.path, location)
        if name in (location, place) or _real(name) == _real(place):
            return id_, place, prefix
    return None


def _real(place: str) -> str:
    return place if is_remote(place) else os.path.realpath(Path(place).expanduser())


def refuse_other(store: Store, old: str, new: Source) -> None:
    """Raise CollectionError where `new` does not hold the images of the source `old`; a sample of them is compared."""
    source = _existing(store, old)
    items = _sample(store, source[0], SAMPLE if isinstance(new, Folder) else SAMPLE_PACKED)
    same = sum(_is_same(new, item, item.key.removeprefix(source[2])) for item in items)
    if same < ENOUGH * len(items):
        raise CollectionError(
            f"{new.location}: {same} of {len(items)} images that were compared are those of {source[1]}; nothing was "
            "changed, and --force (Python: force=True) moves the source all the same"
        )


def _existing(store: Store, name: str) -> tuple[int, str, str]:
    source = find(store, name)
    if source is None:
        places = ", ".join(located(store.path, location) for _, location, _ in store.catalog.sources()) or "none"
        raise CollectionError(f"{name}: no source of {store.path}; there are: {places}")
    return source


def _sample(store: Store, source: int, most: int) -> list[Item]:
    rows = store.catalog.database.numbers("SELECT row FROM items WHERE source = ? AND removed = 0", (source,))
    positions = np.linspace(0, len(rows) - 1, most).astype(np.int64) if len(rows) else rows
    return [store.catalog.item(int(row)) for row in rows[np.unique(positions)]]


def _is_same(source: Source, item: Item, key: str) -> bool:
    """Whether a source has an image: the same bytes, where these are known, else a file of that name."""
    if is_url(key):
        return True
    if not item.sha256:
        return source.contains(key)
    try:
        return hashlib.sha256(source.read(key)).hexdigest() == item.sha256
    except (ImageError, SourceError):
        return False


def move(store: Store, old: str, new: Path) -> None:
    """Let a source lie at `new` from now on, inside `store.writing()`; its images keep their keys and rows."""
    id_, place, prefix = _existing(store, old)
    other = find(store, str(new))
    if other and other[0] != id_:
        raise CollectionError(f"{new} is a source of {store.path} already; forget it before {place} is moved there")
    location = location_of(store.path, new.resolve())
    store.catalog.put("sources", id_, to_blob(location), to_blob(prefix), verb="INSERT OR REPLACE")


def forget(store: Store, name: str) -> int:
    """Drop a source with its images, inside `store.writing()`; how many. Their vectors stay until `compact`."""
    id_, _, _ = _existing(store, name)
    rows = [row for row, _ in store.catalog.rows_of_source(id_)]
    store.catalog.remove(rows)
    store.catalog.forget_source(id_)
    return len(rows)


def refuse_moved(store: Store, sources: Sequence[Source], folder: Path) -> None:
    """Raise CollectionError where a new source holds the images of one that is away: they would all be there twice.

    `folder` is the name of the collection on the command line.
    """
    new = [source for source in sources if find(store, str(source.location)) is None]
    away = [place for place in listed(store) if place.state in ("empty", "unreachable")] if new else []
    for source in new:
        for place in away:
            if place.images and _has_moved(store, place, source):
                words = ["lookalike", "sources", str(folder), "--move", place.location, str(source.location)]
                raise CollectionError(
                    f"{source.location} holds the images of {place.location}, which is not there any more; run "
                    f"`{shlex.join(words)}`, or forget that source first with --forget"
                )


def _has_moved(store: Store, place: IndexedSource, source: Source) -> bool:
    """Whether most of a sample of a source's files are images of the place that is away."""
    id_, _, _ = _existing(store, place.location)
    contents = list(_contents(source))
    live = [[item for item in store.catalog.items_of_content(sha256) if not item.removed] for sha256 in contents]
    return 2 * sum(any(item.source == id_ for item in items) for items in live) > len(contents)


def _contents(source: Source) -> Iterator[str]:
    """The SHA-256 of files from all over a source, or of the first of an archive."""
    count = source.count() if isinstance(source, Folder) else None
    step = max(1, (count or 0) // SAMPLE)
    entries: Iterator[SourceEntry] = islice(source.entries(), 0, step * SAMPLE, step)
    for entry in entries:
        try:
            if not is_url(entry.key):
                yield hashlib.sha256(entry.read()).hexdigest()
        except ImageError:
            continue
