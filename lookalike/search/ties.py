"""Equal rows of several galleries to equal scores: each computes cosines in its own way, by how many rows are left."""

from collections.abc import Callable

import numpy as np

from lookalike.types import Ids, Scores, Vectors

CLOSE = 4e-6
"""Computed in two ways, the cosines of equal rows differ by less: a few dozen roundings of float32."""


def settled(query: Vectors, scores: Scores, ids: Ids, vectors: Callable[[Ids], Vectors]) -> tuple[Scores, Ids]:
    """The same rows (n,), best first, ties by row; those that are nearly equal are scored again, all in one way."""
    rows = np.flatnonzero(_is_doubtful(scores) & (ids >= 0))
    if not len(rows):
        return scores, ids
    scores = scores.copy()
    scores[rows] = np.einsum("ij,j->i", vectors(ids[rows]), query)
    order = np.lexsort((ids, -scores))
    return scores[order], ids[order]


def _is_doubtful(scores: Scores) -> np.ndarray:
    """Those of descending scores (n,) that are nearly, but not exactly, as high as one beside them."""
    gaps = -np.diff(scores, prepend=np.inf)
    runs = np.cumsum(~(gaps <= CLOSE))
    return np.isin(runs, runs[(gaps > 0) & (gaps <= CLOSE)])
