"""Stored vectors to a structure that finds the nearest: FAISS, exact."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lookalike.types import Ids, Scores, Vectors

Metric = Literal["cosine", "l2"]


class ExactIndex:
    """Exhaustive search over rows as they lie on disk; nothing is copied, and removed rows are never returned.

    `vectors` (n, dim) float32, C-contiguous, may be memory-mapped; `live` (n,) bool or None where all rows count.
    """

    def __init__(self, vectors: Vectors, live: NDArray[np.bool_] | None = None) -> None:
        self._vectors = vectors
        self._bits = None if live is None else np.packbits(live, bitorder="little")
        self._count = len(vectors) if live is None else int(live.sum())

    def __len__(self) -> int:
        """The number of rows that can be found."""
        return self._count

    def search(self, vectors: Vectors, k: int) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and row numbers, best first; -1 pads where there are fewer rows."""
        return self.search_by(vectors, k, "cosine")

    def search_by(self, vectors: Vectors, k: int, metric: Metric) -> tuple[Scores, Ids]:
        """As `search`; with `l2` the first array holds squared Euclidean distances, lower is better (IndexFlatL2)."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        k = max(1, min(k, len(self._vectors)))
        scores = np.empty((len(vectors), k), np.float32)
        ids = np.empty((len(vectors), k), np.int64)
        if not self._count or not len(vectors):
            scores.fill(-1 if metric == "cosine" else np.inf)
            ids.fill(-1)
            return scores, ids
        import faiss

        # The arrays as they lie, instead of an IndexFlat, which would copy them.
        function: Any = faiss.knn_inner_product if metric == "cosine" else faiss.knn_L2sqr
        pointer = faiss.swig_ptr
        sizes = (self._vectors.shape[1], len(vectors), len(self._vectors), k)
        extra: tuple[Any, ...] = () if metric == "cosine" else (None,)
        function(
            pointer(vectors), pointer(self._vectors), *sizes, pointer(scores), pointer(ids), *extra, self._selector()
        )
        if metric == "cosine":
            # A unit row against itself may come out as 1.0000001.
            np.clip(scores, -1, 1, out=scores)
        return scores, ids

    def _selector(self) -> Any:
        if self._bits is None:
            return None
        import faiss

        return faiss.IDSelectorBitmap(len(self._bits) * 8, faiss.swig_ptr(self._bits))
