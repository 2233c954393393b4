"""What a collection holds at one moment: the rows that are searched, and the way from a row to its picture."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.errors import CollectionError, ImageError, QueryError, SourceError
from lookalike.images import decode as images
from lookalike.images.remote import Remote, is_remote
from lookalike.images.sources import Folder, Source, TextList, open_source
from lookalike.index.ann import FILE, FOLDER, open_candidates, stamp
from lookalike.search.searcher import Nearest, Stored
from lookalike.storage.filters import select
from lookalike.storage.manifest import CACHE
from lookalike.storage.store import Item, Store
from lookalike.types import Encoder, Ids, Scores, Vectors

KEPT_SELECTIONS = 16
"""Filters whose rows are remembered: a service asks the same ones again, and one takes a byte and a bit a row."""
K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values that were asked for last, at most so many; for several threads."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of a key; made where it is not there, perhaps by two threads at once, of which one's is kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        # Not inside the lock: it takes long, and others need not wait.
        made = make()
        with self._lock:
            kept = self._values.setdefault(key, made)
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return kept


class Origins:
    """The sources of a collection: from an item to its file or bytes, and from a file to its key."""

    def __init__(self, store: Store) -> None:
        self._base = store.path
        told = store.sources()
        self._places = {id_: (self.locate(location), prefix) for id_, location, prefix in told}
        self._remote = {id_: Remote(location) for id_, location, _ in told if is_remote(location)}
        self._opened: dict[int, Source] = {}

    def locate(self, location: str) -> Path:
        """Where a source lies now; it is kept relative to a collection that lies inside it."""
        return Path(os.path.normpath(self._base / location))

    def read(self, item: Item) -> bytes:
        """The bytes of an item's file; raises ImageError."""
        return self._source(item).read(self._inner(item))

    def path(self, item: Item) -> Path | None:
        """The file of an item; None for a member of an archive, for a URL, and where its source is lost."""
        if item.source not in self._places:
            return None
        try:
            return self._source(item).path(self._inner(item))
        except ImageError:
            return self._places[item.source][0] / self._inner(item)

    def keys(self, path: Path) -> list[str]:
        """Under which keys this file would be found."""
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
        if item.source not in self._opened:
            try:
                self._opened[item.source] = open_source(self._places[item.source][0])
            except SourceError as error:
                raise ImageError(str(error)) from error
        return self._opened[item.source]


class StoredGallery:
    """The committed rows of a collection; meets `types.Gallery` and `query.Known`."""

    def __init__(self, store: Store, encoder: Callable[[], Encoder] | None = None) -> None:
        """`encoder` gives the one that made the vectors; only re-rankers that look at patches ask for it."""
        self._store, self._load_encoder = store, encoder
        self._recall: float | None = None
        self._filters: tuple[str, ...] = ()
        self._narrowed: Recent[tuple[str, ...], Nearest] = Recent(KEPT_SELECTIONS)
        self._origins = cache(partial(Origins, store))
        self._index_file = store.path / FOLDER / FILE
        with store.snapshot():
            self.version, self._index_stamp = store.version, stamp(self._index_file)
            rows, removed = store.count_rows(), store.removed_rows()
        if len(store.vectors) < rows:
            way = f"run `lookalike verify {store.path} --repair`"
            raise CollectionError(f"{store.path} holds {len(store.vectors)} of {rows} vectors; {way}")
        open_index = partial(open_candidates, store.path, store.header.id, rows, store.digest)
        self._nearest = Nearest(Stored(store.vectors, rows, open_index), _live(rows, removed))

    @property
    def is_newest(self) -> bool:
        """Whether nothing was committed since, and the index is still the same one."""
        return self.version == self._store.version and self._index_stamp == stamp(self._index_file)

    def where(self, expression: str) -> "StoredGallery":
        """Only the rows for which `expression` holds (see `filters`); raises QueryError."""
        view = copy(self)
        view._filters = (*self._filters, expression)
        view._nearest = self._narrowed.get(view._filters, partial(_narrowed, self._nearest, expression, self._store))
        return view

    def without(self, rows: Sequence[int]) -> "StoredGallery":
        """As if these rows were not there."""
        nearest = self._nearest
        live = np.ones(nearest.rows, np.bool_) if nearest.live is None else nearest.live.copy()
        live[np.asarray(rows, np.int64)] = False
        view = copy(self)
        view._nearest, view._narrowed = replace(nearest, live=live), Recent(KEPT_SELECTIONS)
        return view

    def aiming(self, recall: float | None) -> "StoredGallery":
        """The same rows, searched for a share of the true nearest: 1 is exact, None as `optimize` would have it."""
        if recall is not None and not 0 < recall <= 1:
            raise QueryError(f"recall {recall:g} must be above 0 and at most 1")
        if recall == self._recall:
            return self
        view = copy(self)
        view._recall = recall
        return view

    def holds(self, row: int) -> bool:
        """Whether a row is among those that are searched."""
        live = self._nearest.live
        return 0 <= row < self._nearest.rows and (live is None or bool(live[row]))

    def __len__(self) -> int:
        return self._nearest.count

    @property
    def origins(self) -> Origins:
        """Where the images come from."""
        return self._origins()

    @property
    def store(self) -> Store:
        """The files behind it."""
        return self._store

    @property
    def encoder(self) -> Encoder | None:
        """The encoder that made the vectors, where it is known."""
        return self._load_encoder() if self._load_encoder else None

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self._store.header.dim

    def vectors(self, ids: Ids) -> Vectors:
        """The stored unit rows (len(ids), dim)."""
        return self._store.vectors.rows(ids)

    def search(self, vectors: Vectors, k: int) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and rows, best first; -1 pads."""
        return self._nearest.search(vectors, k, self._recall)

    def sample(self, count: int) -> Ids:
        """At most `count` random rows that count, the same ones every time."""
        live = self._nearest.live
        some: Any = np.flatnonzero(live) if live is not None else self._nearest.rows
        chosen = np.random.default_rng(0).choice(some, min(count, len(self)), replace=False)
        return np.asarray(chosen, np.int64)

    def item(self, row: int) -> Item:
        """The catalog's entry of a row."""
        return self._store.item(row)

    def found(self, row: int) -> Item:
        """The entry of a result; raises CollectionError where it or its vector is not what was stored."""
        item = self._store.intact_item(row)
        if item is None:
            way = f"run `lookalike verify {self._store.path} --repair`"
            raise CollectionError(f"{self._store.path}: row {row} ({self.item(row).key}) is damaged; {way}")
        return item

    def live_items(self) -> Iterator[Item]:
        """All items that count, in the order of their rows."""
        return self._store.live_items()

    def content(self, row: int) -> str:
        """The SHA-256 of a row's image file, as hexadecimal digits."""
        return self._store.item(row).sha256

    @property
    def cache_dir(self) -> Path:
        """Where re-rankers keep what they computed of the images; may be deleted at any time."""
        return self._store.path / CACHE

    def image(self, row: int) -> Image:
        """The upright picture of a row at full size; raises ImageError where it is gone."""
        return images.decode(self.read(row)).image

    def read(self, row: int) -> bytes:
        """The image file of a row; raises ImageError."""
        return self.origins.read(self.item(row))

    def path(self, row: int) -> Path | None:
        """The file of a row; None for a member of an archive and for a URL."""
        return self.origins.path(self.item(row))

    def row(self, key: str) -> int | None:
        """The row of a key."""
        item = self._store.live_item(key)
        return item.row if item else None

    def rows_of_file(self, path: Path) -> list[int]:
        """The rows of this very file."""
        rows = [self.row(key) for key in self.origins.keys(path)]
        return list(dict.fromkeys(row for row in rows if row is not None))

    def rows_of_content(self, sha256: str) -> list[int]:
        """The rows with these bytes."""
        return [item.row for item in self._store.items_of_content(sha256) if not item.removed]


def _narrowed(nearest: Nearest, expression: str, store: Store) -> Nearest:
    """Of the rows that `nearest` searches, only those for which `expression` holds."""
    chosen = select(expression, store, nearest.rows)
    return replace(nearest, live=chosen if nearest.live is None else chosen & nearest.live, where=expression)


def _live(rows: int, removed: Ids) -> NDArray[np.bool_] | None:
    """Which rows count; None where all do."""
    if not len(removed):
        return None
    live = np.ones(rows, np.bool_)
    live[removed[removed < rows]] = False
    return live


def prefix_for(source: Source, taken: Sequence[str], is_first: bool) -> str:
    """The first source of a collection has bare keys; each later one puts its name before them."""
    if is_first:
        return ""
    name = (source.location.resolve().name if isinstance(source, Folder | TextList) else source.location.name) or "root"
    prefix, number = f"{name}/", 2
    while prefix in taken:
        prefix, number = f"{name}-{number}/", number + 1
    return prefix
