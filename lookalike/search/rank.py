"""A probe to a ranking: the candidates, then re-ranking. Everything that searches comes through here."""

from collections.abc import Sequence

import numpy as np

from lookalike.errors import QueryError
from lookalike.types import Gallery, Probe, Ranking, Reranker
from lookalike.utils.timing import stage


def rank(probe: Probe, gallery: Gallery, k: int, rerankers: Sequence[Reranker] = ()) -> Ranking:
    """The best `k` of the gallery (fewer where it holds fewer), re-ranked by `rerankers` in their order.

    With several probe vectors an item counts with its best cosine to any of them.
    """
    if k < 1:
        raise QueryError(f"k must be at least 1, not {k}")
    with stage("search"):
        found = _best(probe, gallery, k)
    for reranker in rerankers:
        with stage("rerank"):
            found = reranker(probe, found, gallery)
    return found.head(k)


def _best(probe: Probe, gallery: Gallery, k: int) -> Ranking:
    scores, ids = gallery.search(probe.vectors, k)
    flat_scores, flat_ids = scores.ravel(), ids.ravel()
    # A missing result has id -1 and a score that means nothing.
    order = np.flatnonzero(flat_ids >= 0)
    order = order[np.lexsort((flat_ids[order], -flat_scores[order]))]
    if len(scores) > 1:
        _, first = np.unique(flat_ids[order], return_index=True)
        order = order[np.sort(first)]
    return Ranking(flat_ids[order], flat_scores[order]).head(k)
