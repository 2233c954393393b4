"""Re-ranking by the neighbours that candidates share: k-reciprocal encoding, and diffusion on their graph."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.search.rerank.candidates import Values, by_value, check, cosines
from lookalike.types import Gallery, Probe, Ranking, Vectors


@dataclass(frozen=True)
class KReciprocal:
    """k-reciprocal encoding (Zhong et al., CVPR 2017), within the first `top` candidates and the query.

    An item is described by the set of its k-reciprocal neighbours, and the query's set is compared with each
    candidate's by the Jaccard distance; `original` is the share of the original distance in the sum. `k1`, `k2` and
    `original` are the paper's. Distances are squared Euclidean, divided by the largest in their row, as in its code.
    """

    k1: int = 20
    k2: int = 6
    original: float = 0.3
    top: int = 500

    def __post_init__(self) -> None:
        check("k-reciprocal", k1=(self.k1, 1, 10_000), k2=(self.k2, 1, 10_000))
        check("k-reciprocal", original=(self.original, 0, 1), top=(self.top, 1, 10_000))

    def __call__(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        """The first `top`, the smallest sum of both distances first."""
        return by_value(self, probe, ranking, gallery)

    def values(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Values:
        """Minus the sum of both distances (n,)."""
        if not len(ranking.ids):
            return np.empty(0, np.float64)
        distances = _distances(probe, gallery.vectors(ranking.ids))
        order = np.argsort(distances - 2 * np.eye(len(distances)), axis=1, kind="stable")
        encoded = np.where(self._neighbours(order), np.exp(-distances), 0)
        encoded /= encoded.sum(axis=1, keepdims=True)
        # Local query expansion: each item is described by the mean over its k2 nearest, itself included.
        nearest = order[:, : self.k2]
        columns = np.flatnonzero(encoded[nearest[0]].any(axis=0))  # In all others the query is 0.
        smooth = encoded[:, columns][nearest].mean(axis=1)
        shared = np.minimum(smooth[0], smooth[1:]).sum(axis=1)
        jaccard = 1 - shared / (2 - shared)
        return np.asarray(-((1 - self.original) * jaccard + self.original * distances[0, 1:]), np.float64)

    def _neighbours(self, order: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which items belong to R*(p, k1) of each (n, n): reciprocal neighbours, and theirs where two thirds agree."""
        wide = _reciprocal(order, self.k1 + 1)
        narrow = _reciprocal(order, round(self.k1 / 2) + 1)
        agreeing = wide.astype(np.float32) @ narrow.astype(np.float32).T
        joining = wide & (agreeing > 2 / 3 * narrow.sum(axis=1))
        return np.asarray(wide | (joining.astype(np.float32) @ narrow.astype(np.float32) > 0), np.bool_)


def _distances(probe: Probe, vectors: Vectors) -> NDArray[np.float64]:
    """Squared Euclidean distances of the query (row 0) and the candidates, divided by the largest in each row."""
    to_query = cosines(probe, vectors)
    similar = np.empty((len(vectors) + 1, len(vectors) + 1), np.float64)
    similar[1:, 1:] = vectors @ vectors.T
    similar[0, 1:] = similar[1:, 0] = to_query
    np.fill_diagonal(similar, 1)
    squared = np.maximum(2 - 2 * similar, 0)
    return np.asarray(squared / np.maximum(squared.max(axis=1, keepdims=True), 1e-12), np.float64)


def _reciprocal(order: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Pairs (n, n) that are mutually among the first `k` of each other, itself included."""
    among = np.zeros(order.shape, np.bool_)
    np.put_along_axis(among, order[:, :k], True, axis=1)
    return among & among.T


@dataclass(frozen=True)
class Diffusion:
    """Diffusion (Iscen et al., CVPR 2017) on the mutual nearest-neighbour graph of the first `top` candidates.

    Solves (I - alpha S) f = y by conjugate gradients: S is the normalised affinity max(cosine, 0) ** gamma of mutual
    `k`-neighbours, y the affinity of the query to the first `k_query` of the ranking. All parameters are the paper's,
    for one vector an image; so is truncating the graph to the first candidates. `iterations` bounds the solver.
    """

    top: int = 2000
    k: int = 50
    k_query: int = 10
    alpha: float = 0.99
    gamma: float = 3.0
    iterations: int = 20

    def __post_init__(self) -> None:
        check("diffusion", top=(self.top, 1, 10_000), k=(self.k, 1, 10_000), k_query=(self.k_query, 1, 10_000))
        check("diffusion", alpha=(self.alpha, 0, 0.9999), gamma=(self.gamma, 0, 100))
        check("diffusion", iterations=(self.iterations, 1, 10_000))

    def __call__(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        """The first `top` by f; candidates that nothing reaches keep their order after the others."""
        return by_value(self, probe, ranking, gallery)

    def values(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Values:
        """f of each candidate (n,)."""
        if not len(ranking.ids):
            return np.empty(0, np.float64)
        vectors = gallery.vectors(ranking.ids)
        start = np.zeros(len(vectors), np.float64)
        start[: self.k_query] = np.maximum(cosines(probe, vectors[: self.k_query]), 0) ** self.gamma
        graph = NeighbourGraph.of(vectors, self.k, self.gamma)
        return _solve(graph, start, self.alpha, self.iterations)


@dataclass(frozen=True)
class NeighbourGraph:
    """A sparse symmetric S = D^-1/2 A D^-1/2 of `n` nodes: entry e is `values[e]`, at (`rows[e]`, `columns[e]`)."""

    n: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: Vectors, k: int, gamma: float) -> "NeighbourGraph":
        """Edges between mutual `k` nearest neighbours (with all that tie with the k-th)."""
        similar = vectors @ vectors.T
        np.fill_diagonal(similar, -np.inf)
        rows, columns, cosine = _mutual(similar, k)
        values = cosine.astype(np.float64) ** gamma
        degrees = np.bincount(rows, values, len(vectors))
        roots = np.sqrt(np.where(degrees > 0, degrees, 1))
        return cls(len(vectors), rows, columns, values / (roots[rows] * roots[columns]))

    def __matmul__(self, f: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(self.rows, self.values * f[self.columns], self.n), np.float64)


def _mutual(similar: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Rows, columns and values of the entries above 0 that are among the `k` largest of their row and of their column.

    `similar` (n, n) is symmetric, but for rounding.
    """
    count = len(similar)
    lowest = np.full(count, -np.inf, np.float32)
    if k < count:
        lowest = np.partition(similar, count - k, axis=1)[:, count - k].copy()
    rows, columns = np.divmod(np.flatnonzero(similar >= np.maximum(lowest, TINY)[:, None]), count)
    # The other direction is checked for these few only: reading a large matrix by columns is slow.
    mutual = similar[columns, rows] >= np.maximum(lowest, TINY)[columns]
    rows, columns = rows[mutual], columns[mutual]
    return rows, columns, similar[rows, columns]


TINY = np.float32(1e-12)
"""Affinities at or below 0 are no edges."""


def _solve(graph: NeighbourGraph, y: NDArray[np.float64], alpha: float, iterations: int) -> NDArray[np.float64]:
    """Conjugate gradients on (I - alpha S) f = y, from f = 0 until the residual is 1e-9 of y."""
    f, residual = np.zeros_like(y), y.copy()
    direction, squared = residual.copy(), float(residual @ residual)
    enough = 1e-18 * squared
    for _ in range(iterations):
        if squared <= enough:
            break
        image = direction - alpha * (graph @ direction)
        step = squared / float(direction @ image)
        f += step * direction
        residual -= step * image
        previous, squared = squared, float(residual @ residual)
        direction = residual + squared / previous * direction
    return f
