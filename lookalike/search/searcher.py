"""Query vectors to the nearest live rows: by the index with exact search beside it, exactly, or by an engine."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.index.ann import LEAST_SHARE, Candidates, SearchSetting, ranked, rescore
from lookalike.index.exact import Blocks, ExactIndex, InMemory, best, merged
from lookalike.storage.vectors import RowStore
from lookalike.types import Ids, Scores, Vectors

FEW = 20_000
"""With at most so many live rows, exact search is as fast as any index."""
WHOLE = 8
"""Where k is more than one in so many of the rows, an index saves nothing."""
SAMPLED, ENOUGH = 1024, 256
"""Random rows whose cosines show what is usual for a query; a filter that leaves fewer than `ENOUGH` has its own."""
FEW_BEHIND = 4096
"""At most so many rows after those of an index are kept as float32, which saves a search some 4 ms (int8, 768 dim)."""


@dataclass(frozen=True)
class StoredRows:
    """The first `rows` rows of `source`, with what all searches among them share; `open_index()` is called once."""

    source: RowStore
    rows: int
    open_index: Callable[[], Candidates | None]

    @cached_property
    def index(self) -> Candidates | None:
        """The index over all rows; None where there is none."""
        return self.open_index()

    @cached_property
    def mapped(self) -> Vectors | None:
        """All rows as float32 without a copy; None where they would have to be fetched or converted."""
        return self.source.mapped(self.rows)

    @cached_property
    def sample(self) -> tuple[Ids, Vectors]:
        """Random rows, live or not, and their vectors: the same for all searches."""
        ids = np.random.default_rng(0).choice(self.rows, min(SAMPLED, self.rows), replace=False).astype(np.int64)
        return ids, self.source.rows(ids)

    @cached_property
    def behind(self) -> Blocks:
        """The rows after those of the index."""
        assert self.index is not None, "searched beside an index"
        first = self.index.built.rows
        if self.source.dtype == "float32" or self.rows - first > FEW_BEHIND:
            return self.source
        return InMemory(self.source.block(first, self.rows), first)


@dataclass(frozen=True)
class Nearest:
    """Search among the rows of `stored` for which `live` holds (None: all); scores are always cosines."""

    stored: StoredRows
    live: NDArray[np.bool_] | None
    where: str | None = None
    """The filter expression behind `live`: an engine applies it by itself."""
    count: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", self.rows if self.live is None else int(np.count_nonzero(self.live)))

    @property
    def rows(self) -> int:
        """How many rows there are, live or not."""
        return self.stored.rows

    @cached_property
    def exact(self) -> ExactIndex:
        """Exact search among all live rows."""
        return ExactIndex(self.stored.source, self.live, self.rows)

    def search(self, vectors: Vectors, k: int, recall: float | None = None) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and rows, best first; -1 pads.

        An index finds the share `recall` of the true nearest, by default `ann.DEFAULT_RECALL`; 1 is exact.
        """
        vectors = np.ascontiguousarray(vectors, np.float32)
        k = max(1, min(k, self.rows))
        answer = self.stored.source.search(vectors, k, self.rows, self.live, recall, self.where)
        if answer is not None:
            return merged([answer], k)
        index = self._index if self.is_indexed(recall) else None
        setting = None if index is None else index.setting(recall, k)
        if index is None or setting is None or k * WHOLE > self.count or index.share < LEAST_SHARE:
            return self.exact.search(vectors, k)
        return self._approximate(vectors, k, index, setting)

    def is_indexed(self, recall: float | None = None) -> bool:
        """Whether an index answers a search for few results."""
        return self.count > FEW and (recall or 0) < 1 and self._index is not None

    @cached_property
    def sample(self) -> tuple[Ids, Vectors, NDArray[np.bool_] | None]:
        """Random live rows (n,), the same for all searches: ids, vectors, and which of them count (None: all)."""
        ids, vectors = self.stored.sample
        if self.live is None:
            return ids, vectors, None
        counted = self.live[ids]
        if np.count_nonzero(counted) >= min(ENOUGH, self.count):
            return ids, vectors, counted
        few = np.random.default_rng(0).choice(np.flatnonzero(self.live), min(ENOUGH, self.count), replace=False)
        return few, self.stored.source.rows(few), None

    @cached_property
    def _index(self) -> Candidates | None:
        whole = self.stored.index
        return None if whole is None else whole.among(self.live)

    def _approximate(self, vectors: Vectors, k: int, index: Candidates, setting: SearchSetting) -> tuple[Scores, Ids]:
        ids, mapped = index.find(vectors, k, setting), self.stored.mapped
        if mapped is not None:
            self.stored.source.prefetch(ids.ravel())
        if len(ids) == 1 and mapped is not None and self.rows == index.built.rows and index.is_full(ids):
            return ranked(vectors[0], ids[0], mapped, k)
        scores = self._scores(vectors, ids)
        if self.rows > index.built.rows:
            scores, ids = merged([(scores, ids), self._behind.search(vectors, k)], k)
        else:
            scores, ids = best(scores, ids, k)
        # An inverted file may find fewer live rows than k, though the collection has them.
        most = min(k, self.count)
        short = np.flatnonzero(ids[:, most - 1] < 0) if ids.shape[1] >= most else np.arange(len(ids))
        if len(short):
            ids, scores = _as_wide(ids, k, -1), _as_wide(scores, k, -1.0)
            scores[short], ids[short] = self.exact.search(vectors[short], k)
        return scores, ids

    @cached_property
    def _behind(self) -> ExactIndex:
        assert self._index is not None, "searched beside an index"
        return ExactIndex(self.stored.behind, self.live, self.rows, self._index.built.rows)

    def _scores(self, vectors: Vectors, ids: Ids) -> Scores:
        return rescore(vectors, ids, self.stored.source.rows, self.stored.mapped)


def _as_wide(rows: NDArray[Any], k: int, filler: float) -> NDArray[Any]:
    """(m, n) with n up to k columns to (m, k)."""
    missing = k - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, missing)), constant_values=filler) if missing > 0 else rows
