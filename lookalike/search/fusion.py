"""Several rankings of the same collection to a single one: by ranks, or by calibrated scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import QueryError
from lookalike.types import Ids, Ranking, Scores


@dataclass(frozen=True)
class ReciprocalRank:
    """Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): the sum of weight / (k + rank).

    Ranks count from 1; a ranking that does not have an item adds nothing. `k` = 60 is the paper's. The fused scores are
    these sums and not cosines: only their order is meaningful. A negative weight moves down what its ranking contains.
    """

    k: float = 60.0
    weights: tuple[float, ...] | None = None

    def __call__(self, rankings: Sequence[Ranking]) -> Ranking:
        """Every item that any ranking has, best first; equal sums by row number. Raises QueryError."""
        weights = _weights(self.weights, rankings)
        ids, places = _union(rankings)
        sums = np.zeros(len(ids), np.float64)
        for ranking, weight, place in zip(rankings, weights, places, strict=True):
            sums[place] += weight / (self.k + 1 + np.arange(len(ranking.ids)))
        return _ranked(ids, sums)


@dataclass(frozen=True)
class Calibration:
    """Mean and standard deviation of an encoder's cosines for unrelated pairs."""

    mean: float
    deviation: float

    @classmethod
    def fit(cls, scores: Scores) -> "Calibration":
        """From cosines of a query, or of many, to random items; raises QueryError where they are all equal."""
        values = np.asarray(scores, np.float64).ravel()
        if len(values) < 2 or not np.isfinite(values).all() or values.std() < 1e-9:
            raise QueryError("scores can be calibrated only by two or more different cosines")
        # By quartiles, so that the few relevant items do not count; 1.349 is the interquartile range of a normal curve.
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        spread = (high - low) / 1.349
        return cls(float(middle), float(spread if spread > 1e-9 else values.std()))

    def __call__(self, scores: Scores) -> NDArray[np.float64]:
        """Cosines as standard scores, which are comparable between encoders."""
        return (np.asarray(scores, np.float64) - self.mean) / self.deviation


@dataclass(frozen=True)
class CalibratedScores:
    """The weighted sum of scores, each as the standard score of its own encoder.

    An item that a ranking does not have counts with that ranking's last score, an upper bound of its own; longer
    rankings make this more accurate. Unlike ranks, scores keep the distance between an item and the next. A negative
    weight lowers items that are closer than average to a negative, and does not raise those that are farther.
    """

    calibrations: tuple[Calibration, ...]
    weights: tuple[float, ...] | None = None

    def __call__(self, rankings: Sequence[Ranking]) -> Ranking:
        """Every item that any ranking has, best first; equal sums by row number. Raises QueryError."""
        weights = _weights(self.weights, rankings)
        if len(self.calibrations) != len(rankings):
            raise QueryError(f"{len(rankings)} rankings need as many calibrations, not {len(self.calibrations)}")
        ids, places = _union(rankings)
        sums = np.zeros(len(ids), np.float64)
        parts = zip(rankings, self.calibrations, weights, places, strict=True)
        for ranking, calibration, weight, place in parts:
            if len(ranking.ids):
                values = np.full(len(ids), ranking.scores.min(), np.float32)
                values[place] = ranking.scores
                usual = calibration(values)
                # An item that is farther than average from a negative gets no bonus.
                sums += weight * (usual if weight > 0 else np.maximum(usual, 0))
        return _ranked(ids, sums)


def _weights(weights: Sequence[float] | None, rankings: Sequence[Ranking]) -> Sequence[float]:
    if not rankings:
        raise QueryError("nothing to fuse: give at least one ranking")
    weights = weights if weights is not None else (1.0,) * len(rankings)
    if len(weights) != len(rankings):
        raise QueryError(f"{len(rankings)} rankings need as many weights, not {len(weights)}")
    if not np.isfinite(weights).all():
        raise QueryError(f"weights must be finite numbers, not {', '.join(map(str, weights))}")
    return weights


def _union(rankings: Sequence[Ranking]) -> tuple[Ids, list[Ids]]:
    """All rows that occur, sorted, and the positions of each ranking's rows in them."""
    ids = np.unique(np.concatenate([np.asarray(ranking.ids, np.int64) for ranking in rankings]))
    return ids, [np.searchsorted(ids, ranking.ids) for ranking in rankings]


def _ranked(ids: Ids, sums: NDArray[np.float64]) -> Ranking:
    order = np.lexsort((ids, -sums))
    return Ranking(ids[order], sums[order].astype(np.float32))
