"""Query vectors to the images with the nearest whole picture or part, and from an image to its best part.

Of a dozen parts the best is nearer to any query than a whole picture is, so parts are calibrated for each query: their
distances, 1 - cosine, are stretched until the best part of a usual image is as far as a usual whole picture. The order
of the parts stays, a part that is the very query keeps its score of 1, and one number compares both.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from lookalike.search.searcher import Nearest
from lookalike.storage.regions import Owners, box_of
from lookalike.storage.store import Store
from lookalike.types import Box, Ids, Ranking, Scores, Vectors
from lookalike.utils.text import command

log = logging.getLogger(__name__)

SAMPLED = 64
"""Images whose parts show what is usual for a query: 4 MiB at 1280 numbers and 13 parts each."""
LEAST = 1e-3
"""The least distance of a usual best part: a collection of copies of the query says nothing."""
SCANNED, MORE = 4, 4
"""Parts that are fetched for each image that is wanted where all are looked at anyway, and by how many times more where
these do not decide. An index is first asked for as many parts as images, which mostly do: whole pictures count too."""
KEPT = 16
"""Filters whose regions are cached, as those whose images are: a byte for each region."""
MARGIN = 1e-5
"""By so much more than the whole picture must a part count to be shown; sums of products differ by a tenth of it."""


@dataclass(frozen=True)
class Sample:
    """Random images as whole pictures (n, dim) and in parts (p, dim), those of image i from `starts[i]` on."""

    whole: Vectors
    parts: Vectors
    starts: Ids

    def stretch(self, vector: Vectors) -> float:
        """By what the distances of parts to a unit vector (dim,) are multiplied: 1 or more."""
        if not len(self.whole):
            return 1.0
        usual = float(np.median(self.whole @ vector))
        best = float(np.median(np.maximum.reduceat(self.parts @ vector, self.starts)))
        return max(1.0, (1 - usual) / max(LEAST, 1 - best))


def _stretched_by(sample: Sample, vector: bytes) -> float:
    return sample.stretch(np.frombuffer(vector, np.float32))


def stretched(cosines: Scores, factors: NDArray[np.float64] | float) -> Scores:
    """Cosines of parts on the scale of whole pictures."""
    return np.asarray(1 - (1 - cosines.astype(np.float64)) * factors, np.float32)


@dataclass(frozen=True)
class BestPart:
    """The row of the part that an image counts with, and its box in pixels of the upright image."""

    row: int
    box: Box
    is_intact: bool = True
    """Whether it matches its checksums."""


@dataclass(frozen=True)
class _Selected:
    """The images of a filter, whose name is `selection`, as a mask, and regions that are left out."""

    selection: Hashable
    damaged: frozenset[int]
    live: NDArray[np.bool_] | None = field(compare=False)


def _of(nearest: Nearest, owners: Owners, selected: _Selected) -> Nearest:
    live = owners.regions_of(selected.live)
    if nearest.live is not None:
        live &= nearest.live
    live[list(selected.damaged)] = False
    return replace(nearest, live=None if live.all() else live, where=None)


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of a state of a collection: `nearest` are all that are live, `images` the pictures themselves."""

    store: Store
    nearest: Nearest
    images: Nearest
    owners: Owners
    damaged: set[int] = field(default_factory=set)
    """Rows that do not match their checksums, as far as searches met them."""
    _of: Callable[[_Selected], Nearest] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_of", lru_cache(KEPT)(partial(_of, self.nearest, self.owners)))

    @cached_property
    def sample(self) -> Sample:
        """The same for all searches of the state."""
        numbers, live = self.owners.of_region, self.nearest.live
        contents = self.owners.contents
        chosen = np.random.default_rng(0).choice(contents, min(SAMPLED, len(contents)), replace=False)
        rows = np.flatnonzero(np.isin(numbers, chosen) & (True if live is None else live))
        rows = rows[np.argsort(numbers[rows], kind="stable")]
        contents, starts = np.unique(numbers[rows], return_index=True)
        images = self.owners.images[self.owners.starts[contents]]
        return Sample(self.images.stored.source.rows(images), self.nearest.stored.source.rows(rows), starts)

    def stretch(self, vector: Vectors) -> float:
        """As `Sample.stretch`, once for each query: its hits need it again."""
        return self._stretch(vector.tobytes())

    @cached_property
    def _stretch(self) -> Callable[[bytes], float]:
        return lru_cache(KEPT)(partial(_stretched_by, self.sample))

    def among(self, images: Nearest, selection: Hashable) -> "RegionView":
        """The regions of the images of a selection, without those that are damaged."""
        return RegionView(self, images, self._of(_Selected(selection, frozenset(self.damaged), images.live)))

    def leave_out(self, rows: Sequence[int]) -> None:
        """Leave damaged rows out of all later views of this state; a line of the log names each."""
        for row in rows:
            if row not in self.damaged:
                self.damaged.add(row)
                way = f"run `{command('verify', self.store.path.parent, '--repair')}`"
                log.warning("region %d (%s) is damaged and is left out; %s", row, self.store.catalog.item(row).key, way)


@dataclass(frozen=True)
class RegionView:
    """Some images with their regions `nearest`; searched together."""

    regions: Regions
    images: Nearest
    nearest: Nearest

    def search(self, vectors: Vectors, k: int, recall: float | None = None) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) scores and rows of images, best first; -1 pads.

        An image counts with its best part, stretched, or as a whole, whichever is nearer. Each is among the first `k`,
        and once no part that was not fetched could be, the result is final: with an exact search it is exact.
        """
        k = max(1, min(k, self.images.rows))
        rankings = [self._nearest(vector, k, recall) for vector in np.ascontiguousarray(vectors, np.float32)]
        scores, ids = np.full((len(rankings), k), -1, np.float32), np.full((len(rankings), k), -1, np.int64)
        for place, ranking in enumerate(rankings):
            scores[place, : len(ranking.ids)], ids[place, : len(ranking.ids)] = ranking.scores, ranking.ids
        return scores, ids

    def _nearest(self, vector: Vectors, k: int, recall: float | None) -> Ranking:
        whole, factor = _searched(self.images, vector, k, recall), self.regions.stretch(vector)
        fetched = k if self.nearest.is_indexed(recall) else SCANNED * k
        while True:
            parts = _searched(self.nearest, vector, fetched, recall)
            scores = stretched(parts.scores, factor)
            ranking = self._merged(whole, parts.ids, scores, k)
            is_full = len(ranking.ids) >= min(k, self.images.count)
            if len(parts.ids) < fetched or (is_full and scores[-1] < ranking.scores[-1]):
                return ranking
            fetched *= MORE

    def _merged(self, whole: Ranking, parts: Ids, scores: Scores, k: int) -> Ranking:
        """The first `k` images by the better of their scores; equal ones by row number."""
        contents, first = np.unique(self.regions.owners.of_region[parts], return_index=True)
        rows, places = self.regions.owners.images_of(contents)
        of_parts = scores[first][places]
        if self.images.live is not None:
            is_live = self.images.live[rows]
            rows, of_parts = rows[is_live], of_parts[is_live]
        ids, values = np.concatenate([whole.ids, rows]), np.concatenate([whole.scores, of_parts])
        order = np.lexsort((ids, -values))
        _, best = np.unique(ids[order], return_index=True)
        order = order[np.sort(best)][:k]
        return Ranking(ids[order], values[order])

    def best(self, vectors: Vectors, rows: Ids) -> dict[int, BestPart]:
        """The part of each image that is nearer to any of the unit rows (m, dim) than the whole image is."""
        parts = [self.regions.owners.parts_of(row, self.nearest.live) for row in rows.tolist()]
        has_any = [bool(len(ids)) for ids in parts]
        rows, ids = rows[has_any], np.concatenate([*parts, np.empty(0, np.int64)])
        if not len(ids):
            return {}
        factors = np.array([self.regions.stretch(vector) for vector in np.ascontiguousarray(vectors, np.float32)])
        values = stretched(self.nearest.stored.source.rows(ids) @ vectors.T, factors).max(axis=1)
        whole = (self.images.stored.source.rows(rows) @ vectors.T).max(axis=1)
        stops = np.cumsum([len(part) for part in parts if len(part)])
        best: dict[int, BestPart] = {}
        for row, score, start, stop in zip(rows.tolist(), whole, [0, *stops[:-1]], stops, strict=True):
            place = start + int(np.argmax(values[start:stop]))
            if values[place] > score + MARGIN:
                best |= self._named(row, int(ids[place]))
        return best

    def _named(self, row: int, part: int) -> dict[int, BestPart]:
        intact = self.regions.store.intact_item(part)
        box = box_of((intact or self.regions.store.catalog.item(part)).key)
        return {row: BestPart(part, box, intact is not None)} if box else {}


def _searched(nearest: Nearest, vector: Vectors, k: int, recall: float | None) -> Ranking:
    scores, ids = nearest.search(vector[None], k, recall)
    is_result = ids[0] >= 0
    return Ranking(ids[0][is_result], scores[0][is_result])
