"""What a collection holds at one moment: the rows that are searched, and the way from a row to its picture."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL.Image import Image

from lookalike import images
from lookalike.errors import ImageError, SourceError
from lookalike.index import ExactIndex, Metric
from lookalike.sources import Folder, Source, TextList, open_source
from lookalike.store import Item, Store
from lookalike.types import Encoder, Ids, Scores, Vectors


class Origins:
    """The sources of a collection: from an item to its file or bytes, and from a file to its key."""

    def __init__(self, store: Store) -> None:
        self._base = store.path
        self._places = {id_: (self.locate(location), prefix) for id_, location, prefix in store.sources()}
        self._opened: dict[int, Source] = {}

    def locate(self, location: str) -> Path:
        """Where a source lies now; it is kept relative to a collection that lies inside it."""
        return Path(os.path.normpath(self._base / location))

    def read(self, item: Item) -> bytes:
        """The bytes of an item's file; raises ImageError."""
        return self._source(item).read(self._inner(item))

    def path(self, item: Item) -> Path | None:
        """The file of an item; None for a member of an archive and for a URL."""
        location, _ = self._places[item.source]
        try:
            return self._source(item).path(self._inner(item))
        except ImageError:
            return location / self._inner(item)

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

    def _source(self, item: Item) -> Source:
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
        with store.snapshot():
            self.version = store.version
            rows, removed = store.rows(), store.removed_rows()
        self._vectors = store.map_vectors(rows)
        self._removed, live = removed, None
        if len(removed):
            live = np.ones(rows, np.bool_)
            live[removed[removed < rows]] = False
        self._index = ExactIndex(self._vectors, live)

    def __len__(self) -> int:
        return len(self._index)

    @cached_property
    def origins(self) -> Origins:
        """Where the images come from."""
        return Origins(self._store)

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
        return np.array(self._vectors[np.asarray(ids, np.int64)])

    def search(self, vectors: Vectors, k: int) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and rows, best first; -1 pads."""
        return self._index.search(vectors, k)

    def search_by(self, vectors: Vectors, k: int, metric: Metric) -> tuple[Scores, Ids]:
        """As `search`, by cosine or by squared Euclidean distance."""
        return self._index.search_by(vectors, k, metric)

    def sample(self, count: int) -> Ids:
        """At most `count` random rows that count, the same ones every time."""
        rows = len(self._vectors)
        some = np.random.default_rng(0).permutation(rows)[: count + len(self._removed)].astype(np.int64)
        return some[~np.isin(some, self._removed)][:count]

    def item(self, row: int) -> Item:
        """The catalog's entry of a row."""
        return self._store.item(row)

    def live_items(self) -> Iterator[Item]:
        """All items that count, in the order of their rows."""
        return self._store.live_items()

    def content(self, row: int) -> str:
        """The SHA-256 of a row's image file, as hexadecimal digits."""
        return self._store.item(row).sha256

    @property
    def cache_dir(self) -> Path:
        """Where re-rankers keep what they computed of the images; may be deleted at any time."""
        return self._store.path / "cache"

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


def prefix_for(source: Source, taken: Sequence[str], is_first: bool) -> str:
    """The first source of a collection has bare keys; each later one puts its name before them."""
    if is_first:
        return ""
    name = (source.location.resolve().name if isinstance(source, Folder | TextList) else source.location.name) or "root"
    prefix, number = f"{name}/", 2
    while prefix in taken:
        prefix, number = f"{name}-{number}/", number + 1
    return prefix
