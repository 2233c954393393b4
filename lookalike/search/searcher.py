"""Queries to the nearest rows that count: by the index and exactly beside it, or exactly, or by an engine."""

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
"""With so few rows that count, looking at all of them is as quick as any index."""
WHOLE = 8
"""Where more than one row in this many is wanted, an index saves nothing."""
FEW_BEHIND = 4096
"""So many rows behind an index, at most, are kept as float32, which saves each search some 4 ms (int8, 768 numbers)."""


@dataclass(frozen=True)
class StoredRows:
    """The first `rows` rows of `source`, and what all searches among them share; `open_index()` is called once."""

    source: RowStore
    rows: int
    open_index: Callable[[], Candidates | None]

    @cached_property
    def index(self) -> Candidates | None:
        """The index over all rows, where there is one."""
        return self.open_index()

    @cached_property
    def mapped(self) -> Vectors | None:
        """All rows where they lie, as float32; None where they would have to be fetched or converted."""
        return self.source.mapped(self.rows)

    @cached_property
    def behind(self) -> Blocks:
        """The rows that the index does not hold."""
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
    """The filter that `live` is of, in words: an engine has its own way to meet it."""
    count: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", self.rows if self.live is None else int(np.count_nonzero(self.live)))

    @property
    def rows(self) -> int:
        """How many there are, those that do not count included."""
        return self.stored.rows

    @cached_property
    def exact(self) -> ExactIndex:
        """All rows that count."""
        return ExactIndex(self.stored.source, self.live, self.rows)

    def search(self, vectors: Vectors, k: int, recall: float | None = None) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and rows, best first; -1 pads.

        With an index, `recall` of the true nearest are found, or `approximate.DEFAULT_RECALL`; 1 is exact.
        """
        vectors = np.ascontiguousarray(vectors, np.float32)
        k = max(1, min(k, self.rows))
        answer = self.stored.source.search(vectors, k, self.rows, self.live, recall, self.where)
        if answer is not None:
            ids = answer[1]
            return merged([(self._scores(vectors, ids), ids)], k)
        found = self._index if self.count > FEW and (recall or 0) < 1 else None
        setting = None if found is None else found.built.setting(recall)
        if found is None or setting is None or k * WHOLE > self.count or found.share < LEAST_SHARE:
            return self.exact.search(vectors, k)
        return self._approximate(vectors, k, found, setting)

    @cached_property
    def _index(self) -> Candidates | None:
        whole = self.stored.index
        return None if whole is None else whole.among(self.live)

    def _approximate(self, vectors: Vectors, k: int, found: Candidates, setting: SearchSetting) -> tuple[Scores, Ids]:
        ids, mapped = found.find(vectors, k, setting), self.stored.mapped
        if len(ids) == 1 and mapped is not None and self.rows == found.built.rows and found.is_full(ids):
            return ranked(vectors[0], ids[0], mapped, k)
        scores = self._scores(vectors, ids)
        if self.rows > found.built.rows:
            scores, ids = merged([(scores, ids), self._behind.search(vectors, k)], k)
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
    def _behind(self) -> ExactIndex:
        assert self._index is not None, "searched beside an index"
        return ExactIndex(self.stored.behind, self.live, self.rows, self._index.built.rows)

    def _scores(self, vectors: Vectors, ids: Ids) -> Scores:
        return rescore(vectors, ids, self.stored.source.rows, self.stored.mapped)


def _as_wide(found: NDArray[Any], k: int, filler: float) -> NDArray[Any]:
    """(m, n) with n up to k columns to (m, k)."""
    missing = k - found.shape[1]
    return np.pad(found, ((0, 0), (0, missing)), constant_values=filler) if missing > 0 else found
