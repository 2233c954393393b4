"""Positive and negative vectors to the rows of a probe."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import QueryError
from lookalike.types import Vectors

Combine = Literal["mean", "max"]
AWAY = 1.0
"""The weight of the negatives beside the positives, whose weights add up to 1."""


def combine(
    vectors: Vectors,
    weights: Sequence[float] | None = None,
    negatives: Vectors | None = None,
    how: Combine = "mean",
) -> Vectors:
    """Positives (n, dim) and negatives (m, dim) to the rows of a probe.

    `mean` gives a single row: the weighted mean of the positives (each of unit length first), minus the mean of the
    negatives (Rocchio's relevance feedback, 1971, in the space of unit vectors). `max` gives a row for each positive,
    of which an item's best cosine counts; negatives are subtracted from each, and weights are refused. Raises
    QueryError, also where the result is zero.
    """
    positives = _unit(vectors, "a query")
    if how not in get_args(Combine):
        raise QueryError(f"several queries are combined by {' or '.join(get_args(Combine))}, not {how!r}")
    if weights is not None and how == "max":
        raise QueryError("weights go with the mean of several queries, not with the maximum")
    shares = _shares(weights, len(positives))
    rows = positives if how == "max" else (shares @ positives)[None]
    if negatives is not None and len(negatives):
        away = _unit(negatives, "a negative")
        if away.shape[1] != rows.shape[1]:
            raise QueryError(f"a negative has {away.shape[1]} numbers, the query {rows.shape[1]}")
        # The mean is normalised first, so that the effect of the negatives does not depend on its length.
        rows = _unit(rows, "the mean of the queries") - AWAY * away.mean(axis=0)
    return _unit(rows, "what is left of the query when its negatives are taken away")


def _shares(weights: Sequence[float] | None, count: int) -> NDArray[np.float64]:
    """Weights that add up to 1."""
    values = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    if values.shape != (count,):
        raise QueryError(f"{count} queries need as many weights, not {values.size}")
    if not np.isfinite(values).all() or (values < 0).any() or not values.sum() > 0:
        raise QueryError("weights must be positive numbers; what is not wanted is given as a negative")
    return np.asarray(values / values.sum(), np.float64)


def _unit(rows: NDArray[np.floating], what: str) -> Vectors:
    rows = np.atleast_2d(np.asarray(rows, np.float64))
    if not rows.size:
        raise QueryError("no query was given")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths < 1e-6).any():
        raise QueryError(f"{what} points nowhere: there is nothing to search for")
    return np.asarray(rows / lengths, np.float32)
