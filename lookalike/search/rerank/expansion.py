"""Query expansion and database-side augmentation: vectors averaged with those of their nearest neighbours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.search.rerank.candidates import Values, append, at_least, by_value, check, cosines, nearest, ranked
from lookalike.types import Gallery, Probe, Ranking, Vectors


@dataclass(frozen=True)
class AverageQE:
    """Average query expansion (Chum et al., "Total Recall", ICCV 2007): search again with the mean of query and hits.

    The paper averages up to 50 spatially verified results; put `spatial` before this method for that.
    """

    k: int = 10

    def __post_init__(self) -> None:
        check("average-qe", k=(self.k, 1, 10_000))

    def __call__(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        """As many results as the ranking has, by the expanded query."""
        return _search_again(self.expanded(probe, ranking, gallery), probe, ranking, gallery)

    def expanded(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Vectors:
        """The probe's rows (m, dim), each with the first `k` of the ranking added to it."""
        neighbours = gallery.vectors(at_least(ranking, self.k, probe, gallery).ids[: self.k])
        return unit(probe.vectors + neighbours.sum(axis=0))


@dataclass(frozen=True)
class AlphaQE:
    """Alpha query expansion (Radenović et al., TPAMI 2019): neighbours weigh cosine ** alpha, the query 1.

    `alpha` is the paper's. Its 50 neighbours suit landmarks with hundreds of photos each; `k` is smaller because
    expansion with more neighbours than there are positives lowers precision.
    """

    k: int = 10
    alpha: float = 3.0

    def __post_init__(self) -> None:
        check("alpha-qe", k=(self.k, 1, 10_000), alpha=(self.alpha, 0, 100))

    def __call__(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        """As many results as the ranking has, by the expanded query."""
        return _search_again(self.expanded(probe, ranking, gallery), probe, ranking, gallery)

    def expanded(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Vectors:
        """The probe's rows (m, dim), each with the first `k` of the ranking added to it by their weights."""
        neighbours = gallery.vectors(at_least(ranking, self.k, probe, gallery).ids[: self.k])
        weights = np.maximum(probe.vectors @ neighbours.T, 0) ** self.alpha
        return unit(probe.vectors + weights @ neighbours)


@dataclass(frozen=True)
class Augmentation:
    """Database-side augmentation: candidates are scored by the mean of themselves and their neighbours in the gallery.

    Arandjelović & Zisserman, CVPR 2012 ("Three things everyone should know"), for BoW; for vectors with weights, as in
    Gordo et al., IJCV 2017, here the cosine ** alpha of `AlphaQE`. Neighbours are searched at query time, for the `top`
    candidates, so nothing on disk changes.
    """

    k: int = 10
    alpha: float = 3.0
    top: int = 100

    def __post_init__(self) -> None:
        check("dba", k=(self.k, 1, 1_000), alpha=(self.alpha, 0, 100), top=(self.top, 1, 10_000))

    def __call__(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        """The first `top` by the cosine of their augmented vectors."""
        return by_value(self, probe, ranking, gallery)

    def values(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Values:
        """Cosines between the probe and the augmented vectors (n,)."""
        own = gallery.vectors(ranking.ids)
        if not len(own):
            return np.empty(0, np.float64)
        scores, ids = gallery.search(own, min(self.k + 1, len(gallery)))
        others = (ids >= 0) & (ids != ranking.ids[:, None])
        # Without the row itself there may be k + 1 neighbours: among duplicates it need not be the first.
        others &= np.cumsum(others, axis=1) <= self.k
        weights = np.where(others, np.maximum(scores, 0) ** self.alpha, 0).astype(np.float32)
        mixed = own.copy()
        for place in range(ids.shape[1]):
            # A neighbour of each candidate at a time: all of them would be k times as many vectors.
            rows = np.flatnonzero(others[:, place])
            mixed[rows] += weights[rows, place, None] * gallery.vectors(ids[rows, place])
        return cosines(probe, unit(mixed)).astype(np.float64)


def unit(rows: NDArray[np.float32]) -> Vectors:
    """Rows to unit length; a row of zeros stays as it is."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)


def _search_again(expanded: Vectors, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
    if not len(ranking.ids):
        return ranking
    # An approximate index may return fewer than k; the rows of the ranking fill the rest.
    ids = append(nearest(gallery, expanded, len(ranking.ids)), ranking.ids)
    return ranked(ids[: len(ranking.ids)], ranking, probe, gallery)
