"""A probe to a ranking: the candidates, then re-ranking. Every search goes through `rank`."""

from collections.abc import Sequence

import numpy as np

from lookalike.errors import QueryError
from lookalike.search.options import SearchOptions
from lookalike.search.query import Resolved
from lookalike.types import Gallery, Probe, Ranking, Reranker
from lookalike.utils.timing import stage


def rank(probe: Probe, gallery: Gallery, k: int, rerankers: Sequence[Reranker] = ()) -> Ranking:
    """The best `k` of the gallery (fewer where it has fewer rows), re-ranked by `rerankers` in their order.

    With several probe vectors, the score of an item is its best cosine to any of them. Raises QueryError.
    """
    if k < 1:
        raise QueryError(f"k must be at least 1, not {k}")
    with stage("search"):
        ranking = _best(probe, gallery, k)
    for reranker in rerankers:
        with stage("rerank"):
            ranking = reranker(probe, ranking, gallery)
    return ranking.head(k)


def _best(probe: Probe, gallery: Gallery, k: int) -> Ranking:
    scores, ids = gallery.search(probe.vectors, k)
    flat_scores, flat_ids = scores.ravel(), ids.ravel()
    # A missing result has id -1 and a meaningless score.
    order = np.flatnonzero(flat_ids >= 0)
    order = order[np.lexsort((flat_ids[order], -flat_scores[order]))]
    if len(scores) > 1:
        _, first = np.unique(flat_ids[order], return_index=True)
        order = order[np.sort(first)]
    return Ranking(flat_ids[order], flat_scores[order]).head(k)


def own_first(ranking: Ranking, resolved: Resolved, options: SearchOptions) -> Ranking:
    """The best `options.depth`, with the query's own rows first (score 1) or left out; a region keeps its own score."""
    own = np.array(resolved.own_rows, np.int64)
    if not len(own) or (resolved.is_region and not options.exclude_self):
        return ranking.head(options.depth)
    others = ~np.isin(ranking.ids, own)
    ids, scores = ranking.ids[others], ranking.scores[others]
    if not options.exclude_self:
        ids, scores = np.concatenate([own, ids]), np.concatenate([np.ones(len(own), np.float32), scores])
    boxes = {row: box for row, box in ranking.boxes.items() if row not in resolved.own_rows}
    return Ranking(ids, scores, boxes).head(options.depth)
