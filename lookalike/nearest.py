"""Queries to the nearest rows that count: by the index and exactly beside it, or exactly, or by an engine."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.approximate import LEAST_SHARE, Candidates, Setting, ranked, rescore
from lookalike.index import ExactIndex, best, empty, merged
from lookalike.types import Ids, Scores, Vectors
from lookalike.vectors import RowStore, SearchingRows, VectorFile

FEW = 20_000
"""With so few rows that count, looking at all of them is as quick as any index."""
WHOLE = 8
"""Where more than one row in this many is wanted, an index saves nothing."""


@dataclass(frozen=True)
class Nearest:
    """Search over the first `rows` rows of `source` for which `live` holds (None: all); scores are always cosines.

    `candidates()` gives the index over all rows, where there is one.
    """

    source: RowStore
    rows: int
    live: NDArray[np.bool_] | None
    candidates: Callable[[], Candidates | None]
    where: str | None = None
    """The filter that `live` is of, in words: an engine has its own way to meet it."""
    count: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", self.rows if self.live is None else int(np.count_nonzero(self.live)))

    @cached_property
    def _engine(self) -> SearchingRows | None:
        # Asking a Protocol takes as long as a search.
        return self.source if isinstance(self.source, SearchingRows) else None

    @cached_property
    def exact(self) -> ExactIndex:
        """All rows that count."""
        return ExactIndex(self.source, self.live, self.rows)

    def search(self, vectors: Vectors, k: int, recall: float | None = None) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and rows, best first; -1 pads.

        With an index, `recall` of the true nearest are found, or `approximate.DEFAULT_RECALL`; 1 is exact.
        """
        vectors = np.ascontiguousarray(vectors, np.float32)
        k = max(1, min(k, self.rows))
        if self._engine is not None:
            _, ids = self._engine.search(vectors, k, self.rows, self.live, recall, self.where)
            return merged([(self._scores(vectors, ids), ids)], k)
        found = self._index if self.count > FEW and (recall or 0) < 1 else None
        setting = None if found is None else found.built.setting(recall)
        if found is None or setting is None or k * WHOLE > self.count or found.share < LEAST_SHARE:
            return self.exact.search(vectors, k)
        return self._approximate(vectors, k, found, setting)

    @cached_property
    def _index(self) -> Candidates | None:
        whole = self.candidates()
        return None if whole is None else whole.among(self.live)

    def _approximate(self, vectors: Vectors, k: int, found: Candidates, setting: Setting) -> tuple[Scores, Ids]:
        ids = found.find(vectors, k, setting)
        if len(ids) == 1 and self._mapped is not None and self.rows == found.built.rows and found.is_full(ids):
            return ranked(vectors[0], ids[0], self._mapped, k)
        scores = self._scores(vectors, ids)
        if self.rows > found.built.rows:
            scores, ids = merged([(scores, ids), self._since.search(vectors, k)], k)
        else:
            scores, ids = best(scores, ids, k)
        # An inverted file may know fewer rows that count than are wanted, though the collection has them.
        wanted = min(k, self.count)
        short = np.flatnonzero(ids[:, wanted - 1] < 0) if ids.shape[1] >= wanted else np.arange(len(ids))
        if len(short):
            ids, scores = _as_wide(ids, k, -1), _as_wide(scores, k, -1.0)
            scores[short], ids[short] = self.exact.search(vectors[short], k)
        return scores, ids

    @cached_property
    def _since(self) -> "Beside":
        assert self._index is not None, "searched beside an index"
        return Beside(self.source, self._counting(np.arange(self._index.built.rows, self.rows)))

    def _counting(self, ids: Ids) -> Ids:
        return ids if self.live is None else ids[self.live[ids]]

    def _scores(self, vectors: Vectors, ids: Ids) -> Scores:
        return rescore(vectors, ids, self.source.rows, self._mapped)

    @cached_property
    def _mapped(self) -> Vectors | None:
        whole = isinstance(self.source, VectorFile) and self.source.dtype == "float32"
        return self.source.block(0, self.rows) if whole else None


def _as_wide(found: NDArray[Any], k: int, filler: float) -> NDArray[Any]:
    """(m, n) with n up to k columns to (m, k)."""
    missing = k - found.shape[1]
    return np.pad(found, ((0, 0), (0, missing)), constant_values=filler) if missing > 0 else found


class Beside:
    """Rows that an index does not hold, searched exactly. A few are kept in memory, many are read where they lie."""

    KEPT = 4096

    def __init__(self, source: RowStore, ids: Ids) -> None:
        self._ids, self._source = ids, source
        self._few = ExactIndex(source.rows(ids)) if len(ids) <= self.KEPT else None

    def search(self, vectors: Vectors, k: int) -> tuple[Scores, Ids]:
        """As `ExactIndex.search`, with row numbers of the collection."""
        if not len(self._ids):
            return empty(len(vectors), 1)
        if self._few is not None:
            scores, at = self._few.search(vectors, k)
            return scores, np.where(at >= 0, self._ids[np.maximum(at, 0)], -1)
        first, last = int(self._ids[0]), int(self._ids[-1]) + 1
        live = np.zeros(last - first, np.bool_)
        live[self._ids - first] = True
        scores, at = ExactIndex(Behind(self._source, first), live, last - first).search(vectors, k)
        return scores, np.where(at >= 0, at + first, -1)


@dataclass(frozen=True)
class Behind:
    """The rows of a source from `first` on, as `index.Blocks`."""

    source: RowStore
    first: int

    @property
    def dtype(self) -> str:
        """As the source has it."""
        return self.source.dtype

    def block(self, start: int, stop: int) -> Vectors:
        """Consecutive rows."""
        return self.source.block(self.first + start, self.first + stop)

    def rows(self, ids: Ids) -> Vectors:
        """Some rows."""
        return self.source.rows(ids + self.first)
