"""The sources of a collection: from an item to its file or bytes, and from a file to its key."""

import os
from collections.abc import Sequence
from pathlib import Path

from lookalike.errors import ImageError, SourceError
from lookalike.images.remote import Remote, is_remote
from lookalike.images.sources import Folder, Source, TextList, open_source
from lookalike.storage.catalog import HasCatalog
from lookalike.storage.store import Item


class Origins:
    """Where the items of an open collection come from."""

    def __init__(self, store: HasCatalog) -> None:
        self._base = store.path
        sources = store.catalog.sources()
        self._places = {id_: (self.locate(location), prefix) for id_, location, prefix in sources}
        self._remote = {id_: Remote(location) for id_, location, _ in sources if is_remote(location)}
        self._sources: dict[int, Source] = {}

    def locate(self, location: str) -> Path:
        """Where a source is now; its location is relative where the collection lies inside it."""
        return Path(os.path.normpath(self._base / location))

    def read(self, item: Item) -> bytes:
        """The bytes of an item's file; raises ImageError."""
        return self._source(item).read(self._inner(item))

    def path(self, item: Item) -> Path | None:
        """The file of an item; None for a member of an archive, a URL, and an item whose source is lost."""
        if item.source not in self._places:
            return None
        try:
            return self._source(item).path(self._inner(item))
        except ImageError:
            return self._places[item.source][0] / self._inner(item)

    def keys(self, path: Path) -> list[str]:
        """The keys that this file has in the sources that contain it."""
        keys = []
        for location, prefix in self._places.values():
            for candidate in dict.fromkeys((path.absolute(), path.resolve())):
                base = location if location.is_dir() else location.parent
                for root in dict.fromkeys((base, base.resolve())):
                    if candidate.is_relative_to(root):
                        keys.append(prefix + candidate.relative_to(root).as_posix())
        return keys

    def _inner(self, item: Item) -> str:
        return item.key.removeprefix(self._places[item.source][1])

    def _source(self, item: Item) -> Source | Remote:
        if item.source not in self._places:
            raise ImageError("where it lies is lost; run `lookalike verify`")
        if item.source in self._remote:
            return self._remote[item.source]
        if item.source not in self._sources:
            try:
                self._sources[item.source] = open_source(self._places[item.source][0])
            except SourceError as error:
                raise ImageError(str(error)) from error
        return self._sources[item.source]


def location_of(collection: Path, place: Path) -> str:
    """The location of a source as it is stored: relative where the collection lies inside it, and moves with it."""
    own = collection.resolve()
    return os.path.relpath(place, own) if own.is_relative_to(place) else str(place)


def prefix_for(source: Source, taken: Sequence[str], is_first: bool) -> str:
    """What a source puts before its keys: nothing for the first source of a collection, its name for later ones."""
    if is_first:
        return ""
    name = (source.location.resolve().name if isinstance(source, Folder | TextList) else source.location.name) or "root"
    prefix, number = f"{name}/", 2
    while prefix in taken:
        prefix, number = f"{name}-{number}/", number + 1
    return prefix
