"""SuperGlobal re-ranking: the vectors of the first candidates refined by each other, without training."""

from dataclasses import dataclass

import numpy as np

from lookalike.search.rerank.candidates import Values, by_value, check
from lookalike.types import Gallery, Probe, Ranking, Vectors


@dataclass(frozen=True)
class SuperGlobal:
    """The re-ranker of Shao et al., "Global Features are All You Need for Image Retrieval and Reranking", ICCV 2023.

    Each of the first `top` candidates becomes the weighted mean of itself (weight 1) and its `k` nearest among them
    (weight beta × cosine). The query is compared with these, and so is an expanded query: the largest value in each
    dimension over the `k` + 1 refined candidates that then come first. The score is the mean of the two products.
    Parameters and details (the refined vectors are not normalised again) are those of the authors' code; a neighbour
    with a negative cosine, which cannot occur there, has weight 0.
    """

    top: int = 400
    k: int = 9
    beta: float = 0.15

    def __post_init__(self) -> None:
        check("superglobal", top=(self.top, 1, 10_000), k=(self.k, 1, 10_000), beta=(self.beta, 0, 100))

    def __call__(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        """The first `top` by the mean of the two products."""
        return by_value(self, probe, ranking, gallery)

    def values(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Values:
        """The mean of both products (n,)."""
        vectors = gallery.vectors(ranking.ids)
        if not len(vectors):
            return np.empty(0, np.float64)
        refined = self._refined(vectors)
        first = (refined @ probe.vectors.T).max(axis=1)
        expanded = refined[np.argsort(-first, kind="stable")[: self.k + 1]].max(axis=0)
        return np.asarray((first + refined @ expanded) / 2, np.float64)

    def _refined(self, vectors: Vectors) -> Vectors:
        """Every row (n, dim) as the weighted mean of itself and its nearest."""
        similar = vectors @ vectors.T
        np.fill_diagonal(similar, -np.inf)  # A candidate is not its own neighbour, even if it has duplicates.
        count = min(self.k, len(vectors) - 1)
        nearest = np.argpartition(-similar, max(count - 1, 0), axis=1)[:, :count]
        weights = np.zeros_like(similar)
        np.put_along_axis(weights, nearest, self.beta * np.maximum(np.take_along_axis(similar, nearest, 1), 0), 1)
        return np.asarray((vectors + weights @ vectors) / (1 + weights.sum(axis=1, keepdims=True)), np.float32)
