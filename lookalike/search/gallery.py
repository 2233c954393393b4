"""A committed state of a collection: the rows that are searched, and the way from a row to its picture."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.errors import CollectionError
from lookalike.images import decode as images
from lookalike.images.facts import PhotoFacts
from lookalike.index.ann import FILE, FOLDER, open_candidates, stamp
from lookalike.index.exact import cosines_to
from lookalike.search.regions import BestPart, Regions, RegionView
from lookalike.search.results import StoredPicture
from lookalike.search.searcher import Nearest, StoredRows
from lookalike.storage import photo_facts
from lookalike.storage.among import Among, select_among
from lookalike.storage.filters import RowMask, select
from lookalike.storage.manifest import CACHE
from lookalike.storage.origins import Origins
from lookalike.storage.store import Item, Store
from lookalike.types import Encoder, Ids, Opener, Scores, Vectors
from lookalike.utils.text import command

log = logging.getLogger(__name__)

NO_PARTS: Mapping[int, BestPart] = MappingProxyType({})
MISSED = 1000
"""Rows that are looked at where a search returns fewer than there are."""
KEPT_SELECTIONS = 16
"""Filters whose rows are cached: a service uses the same filters again, and each takes 9 bits per row."""


class StoredGallery:
    """The committed rows of a collection; meets `types.Gallery`."""

    def __init__(self, store: Store, encoder: Callable[[], Encoder] | None = None) -> None:
        """`encoder` loads the encoder that made the vectors; only re-rankers by patches need it."""
        self._store, self._load_encoder = store, encoder
        self._recall: float | None = None
        self._regions: RegionView | None = None
        self._damaged: dict[int, str] = {}
        self._origins = cache(partial(Origins, store))
        self._index_file = store.path / FOLDER / FILE
        with store.catalog.snapshot():
            self.version, self._index_stamp = store.catalog.version, stamp(self._index_file)
            rows, removed = store.catalog.count_rows(), store.catalog.removed_rows()
        if len(store.vectors) < rows:
            way = f"run `lookalike verify {store.path} --repair`"
            raise CollectionError(f"{store.path} holds {len(store.vectors)} of {rows} vectors; {way}")
        open_index = partial(open_candidates, store.path, store.header.id, rows, store.digest)
        self._nearest = Nearest(StoredRows(store.vectors, rows, open_index), _live(rows, removed))
        self._narrowed = lru_cache(KEPT_SELECTIONS)(partial(_narrowed, store, self._nearest))

    @property
    def is_newest(self) -> bool:
        """Whether nothing was committed since, and the index has not changed."""
        return self.version == self._store.catalog.version and self._index_stamp == stamp(self._index_file)

    def view(
        self,
        where: str | None = None,
        exclude: frozenset[str] = frozenset(),
        recall: float | None = None,
        among: Among | None = None,
        regions: Regions | None = None,
    ) -> "StoredGallery":
        """A gallery of the rows for which the filter `where` holds, without the keys `exclude`.

        Searches find the share `recall` of the true nearest: 1 is exact, None is the recall that `optimize` aims at.
        `among` says how `where` names the images of this collection among others. With `regions` of this state, an
        image counts with its best part. Raises QueryError where `where` is not a filter.
        """
        view, selection = copy(self), (where, exclude, frozenset(self._damaged), among)
        view._recall, view._nearest = recall, self._narrowed(*selection)
        view._regions = None if regions is None else regions.among(view._nearest, selection)
        return view

    @property
    def nearest(self) -> Nearest:
        """The search among its rows as whole pictures."""
        return self._nearest

    @property
    def counts_parts(self) -> bool:
        """Whether an image counts with its best part."""
        return self._regions is not None

    def best_parts(self, vectors: Vectors, ids: Ids) -> dict[int, BestPart]:
        """The part that each of these images counts with for unit rows (m, dim); none where the whole picture does."""
        return self._regions.best(vectors, ids) if self._regions else {}

    @property
    def damaged(self) -> list[str]:
        """The keys of rows that do not match their checksums, as far as searches met them; views leave them out."""
        return list(self._damaged.values())

    def leave_out(self, rows: Sequence[int], parts: Mapping[int, BestPart] = NO_PARTS) -> None:
        """Leave damaged rows, and parts of rows, out of all later views of this state; a line of the log says so."""
        if self._regions:
            self._regions.regions.leave_out([part.row for part in parts.values()])
        if fresh := [row for row in rows if row not in self._damaged]:
            self._damaged.update((row, self.item(row).key) for row in fresh)
            first = f"row {fresh[0]} ({ascii(self._damaged[fresh[0]])[1:-1]})"
            which = f"{first} is" if len(fresh) == 1 else f"{first} and {len(fresh) - 1:,} more are"
            way = f"run `{command('verify', self._store.path, '--repair')}`"
            log.warning("%s damaged and %s left out; %s", which, which.rpartition(" ")[2], way)

    def holds(self, row: int) -> bool:
        """Whether a row is among those that are searched."""
        live = self._nearest.live
        return 0 <= row < self._nearest.rows and (live is None or bool(live[row]))

    def __len__(self) -> int:
        return self._nearest.count

    @property
    def origins(self) -> Origins:
        """The sources of the images."""
        return self._origins()

    @property
    def store(self) -> Store:
        """The files behind it."""
        return self._store

    @property
    def encoder(self) -> Encoder | None:
        """The encoder that made the vectors; None where there is none to load."""
        return self._load_encoder() if self._load_encoder else None

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self._store.header.dim

    @property
    def stores(self) -> Sequence[Store]:
        """The files behind it, of the collection whose confidence counts first."""
        return (self._store,)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read of items in this block is of one state."""
        with self._store.catalog.snapshot():
            yield

    def facts(self, items: Sequence[Item]) -> dict[str, PhotoFacts]:
        """What is known of the contents (SHA-256) of some items."""
        return photo_facts.of_contents(self._store.catalog, [item.sha256 for item in items])

    @property
    def rows(self) -> int:
        """How many rows there are, searched or not."""
        return self._nearest.rows

    @property
    def live_rows(self) -> Ids:
        """The rows that are searched (n,), ascending."""
        live = self._nearest.live
        return np.arange(self._nearest.rows) if live is None else np.flatnonzero(live)

    def vectors(self, ids: Ids) -> Vectors:
        """The stored unit rows (len(ids), dim)."""
        return self._store.vectors.rows(ids)

    def search(self, vectors: Vectors, k: int) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and rows, best first; -1 pads. For those of parts, see `regions`."""
        scores, ids = (self._regions or self._nearest).search(vectors, k, self._recall)
        found = np.count_nonzero(ids >= 0, axis=1)
        if len(found) and found.min() < min(k, len(self)) and not self._store.header.engine:
            self._leave_out_unscored(ids[found.argmin()])
        return scores, ids

    def _leave_out_unscored(self, ids: Ids) -> None:
        """Leave out the rows whose numbers are none (NaN): no score compares with theirs, so no search returns them."""
        live = np.arange(self._nearest.rows) if self._nearest.live is None else np.flatnonzero(self._nearest.live)
        missed = np.setdiff1d(live, ids)[:MISSED]
        self.leave_out(missed[~np.isfinite(self.vectors(missed)).all(axis=1)].tolist())

    def sample(self, count: int) -> Ids:
        """At most `count` random rows of those that are searched, the same rows every time."""
        live = self._nearest.live
        rows: Any = np.flatnonzero(live) if live is not None else self._nearest.rows
        sample = np.random.default_rng(0).choice(rows, min(count, len(self)), replace=False)
        return np.asarray(sample, np.int64)

    def usual(self, vector: Vectors, without: Ids) -> Scores:
        """Cosines of a unit vector (dim,) to random rows of those that are searched, without some rows.

        The vectors of these rows are kept in memory, and are the same every time.
        """
        ids, vectors, counted = self._nearest.sample
        counted = ~np.isin(ids, without) if counted is None else counted & ~np.isin(ids, without)
        return np.asarray(cosines_to(vector, vectors)[counted], np.float32)

    def item(self, row: int) -> Item:
        """The catalog's entry of a row."""
        return self._store.catalog.item(row)

    def intact_item(self, row: int) -> Item | None:
        """The catalog's entry of a row; None where it or its vector does not match its checksum."""
        return self._store.intact_item(row)

    def live_items(self) -> Iterator[Item]:
        """All live items in the order of their rows."""
        return self._store.catalog.live_items()

    def content(self, row: int) -> str:
        """The SHA-256 of a row's image file, as hexadecimal digits."""
        return self._store.catalog.item(row).sha256

    @property
    def cache_dir(self) -> Path:
        """A folder for features that re-rankers compute of the images; may be deleted at any time."""
        return self._store.path / CACHE

    def image(self, row: int) -> Image:
        """The upright picture of a row at full size; raises ImageError where it is gone."""
        return images.decode(self.read(row)).image

    def reduced(self, row: int, size: int) -> Image:
        """The upright picture of a row, its longest side at most `size`; raises ImageError where it is gone."""
        decoded = images.decode(self.read(row), size=size // images.REDUCING_GAP)
        return images.thumbnail(decoded.image, size)

    def read(self, row: int) -> bytes:
        """The image file of a row; raises ImageError."""
        return self.origins.read(self.item(row))

    def path(self, row: int) -> Path | None:
        """The file of a row; None for a member of an archive and for a URL."""
        return self.origins.path(self.item(row))

    def row(self, key: str) -> int | None:
        """The row of a key."""
        item = self._store.catalog.live_item(key)
        return item.row if item else None

    def path_of(self, item: Item) -> Path | None:
        """As `path`, of an item that was read."""
        return self.origins.path(item)

    def opener(self, item: Item) -> Opener:
        """What decodes the picture of an item that was read, also after the collection was closed."""
        return StoredPicture(self.origins, item)

    def rows_of_file(self, path: Path) -> list[int]:
        """The rows of a file, by the keys that it has in the sources."""
        rows = [self.row(key) for key in self.origins.keys(path)]
        return list(dict.fromkeys(row for row in rows if row is not None))

    def rows_of_content(self, sha256: str) -> list[int]:
        """The rows with these bytes."""
        return [item.row for item in self._store.catalog.items_of_content(sha256) if not item.removed]


def _narrowed(
    store: Store,
    whole: Nearest,
    where: str | None,
    exclude: frozenset[str],
    damaged: frozenset[int],
    among: Among | None,
) -> Nearest:
    """A search among the rows of `whole` for which `where` holds, without the keys `exclude` and the damaged rows."""
    if where is None and not exclude and not damaged:
        return whole
    live = np.ones(whole.rows, np.bool_) if whole.live is None else whole.live.copy()
    if where is not None:
        live &= _selected(where, store, whole.rows, among)
    items = (store.catalog.live_item(key) for key in exclude)
    live[[item.row for item in items if item and item.row < whole.rows]] = False
    live[list(damaged)] = False
    # An engine does not know by which keys, and with which columns, others name its images.
    return replace(whole, live=live, where=where if among is None else None)


def _selected(where: str, store: Store, rows: int, among: Among | None) -> RowMask:
    return select(where, store.catalog, rows) if among is None else select_among(where, store.catalog, rows, among)


def _live(rows: int, removed: Ids) -> NDArray[np.bool_] | None:
    """Which rows are not removed (rows,); None where none is."""
    if not len(removed):
        return None
    live = np.ones(rows, np.bool_)
    live[removed[removed < rows]] = False
    return live
