"""What every re-ranker needs: enough candidates, their cosines, and a ranking in a new order.

A re-ranker changes the *order*; the scores of the ranking that it returns are still cosines to the probe. So a reported
score is always the cosine, a cut-off by score means the same with and without re-ranking, and methods can be chained
without a common unit.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import QueryError
from lookalike.types import Gallery, Ids, Probe, Ranking, Vectors

Values = NDArray[np.float64]
"""The values that a method orders by, in step with the ids of the ranking; higher is better."""


def check(method: str, **bounds: tuple[float, float, float]) -> None:
    """Raise QueryError for a parameter outside its bounds; each is name=(value, lowest, highest)."""
    for name, (value, lowest, highest) in bounds.items():
        if not lowest <= value <= highest:
            raise QueryError(f"{method}: {name} = {value:g} is not between {lowest:g} and {highest:g}")


def cosines(probe: Probe, vectors: Vectors) -> NDArray[np.float32]:
    """(n, dim) unit rows to the best cosine of each with any row of the probe (n,)."""
    return np.asarray(np.clip((vectors @ probe.vectors.T).max(axis=1), -1, 1), np.float32)


def nearest(gallery: Gallery, vectors: Vectors, k: int) -> Ids:
    """The `k` rows that are closest to any of `vectors` (m, dim), best first, without repeats; ties by row number."""
    scores, ids = gallery.search(vectors, k)
    flat_scores, flat_ids = scores.ravel(), ids.ravel()
    order = np.lexsort((flat_ids, -flat_scores))
    order = order[flat_ids[order] >= 0]
    _, first = np.unique(flat_ids[order], return_index=True)
    return np.asarray(flat_ids[order[np.sort(first)]][:k], np.int64)


def at_least(ranking: Ranking, top: int, probe: Probe, gallery: Gallery) -> Ranking:
    """`ranking`, extended up to `top` by the nearest rows that it does not contain."""
    if len(ranking.ids) >= min(top, len(gallery)):
        return ranking
    return ranked(append(ranking.ids, nearest(gallery, probe.vectors, top))[:top], ranking, probe, gallery)


def append(ids: Ids, more: Ids) -> Ids:
    """`ids`, followed by those of `more` that are not among them."""
    return np.concatenate([ids, more[~np.isin(more, ids)]])


def ranked(ids: Ids, scored: Ranking, probe: Probe, gallery: Gallery) -> Ranking:
    """`ids` in their order with their cosines, which are computed only where `scored` does not have them."""
    order = np.argsort(scored.ids, kind="stable")
    places = np.searchsorted(scored.ids[order], ids)
    places = order[np.minimum(places, len(order) - 1)] if len(order) else np.zeros(len(ids), np.int64)
    is_scored = scored.ids[places] == ids if len(order) else np.zeros(len(ids), np.bool_)
    scores = np.empty(len(ids), np.float32)
    scores[is_scored] = scored.scores[places[is_scored]]
    if not is_scored.all():
        scores[~is_scored] = cosines(probe, gallery.vectors(ids[~is_scored]))
    return Ranking(ids, scores, scored.boxes)


class CandidateMethod(Protocol):
    """A method that gives each of the first `top` candidates a value."""

    @property
    def top(self) -> int:
        """How many candidates."""
        ...

    def values(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Values:
        """In step with the ranking; higher is better."""
        ...


def by_value(method: CandidateMethod, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
    """The first `method.top` by the method's values, after extending a ranking that is shorter than that."""
    ranking = at_least(ranking, method.top, probe, gallery)
    return reordered(ranking, method.values(probe, ranking.head(method.top), gallery))


def reordered(ranking: Ranking, values: Values) -> Ranking:
    """The first len(values) of `ranking` by `values`, ties in their old order, followed by the rest."""
    order = np.argsort(-values, kind="stable")
    order = np.concatenate([order, np.arange(len(values), len(ranking.ids))])
    return Ranking(ranking.ids[order], ranking.scores[order], ranking.boxes)
