"""A ranked list and its ground truth to figures: pure functions, each with its denominator."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EvaluationError
from lookalike.types import Ids

Rule = Literal["trapezoid", "step"]
Denominator = Literal["min(k,R)", "R"]


@dataclass(frozen=True)
class Judged:
    """A ranked list judged by its ground truth, with junk taken out before positions are counted.

    `positions` (hits,) are the zero-based positions of the positives in the list, ascending; `length` is the number of
    results without junk; `total` is R, the number of positives, in the list or not; `absent` of them are not in the
    gallery (unreadable files), and count against every figure.
    """

    positions: NDArray[np.int64]
    length: int
    total: int
    absent: int = 0


def positions(ranked: Ids, positives: Collection[int], junk: Collection[int] = ()) -> NDArray[np.int64]:
    """Zero-based positions of `positives` in `ranked`, counted as if `junk` were not there."""
    without_junk = ranked[~np.isin(ranked, list(junk))]
    return np.flatnonzero(np.isin(without_junk, list(positives)))


def judge(ranked: Ids, positives: Collection[int], junk: Collection[int] = (), absent: int = 0) -> Judged:
    """Judge `ranked` (n,), best first, by the ground truth.

    Raises EvaluationError where an id is both positive and junk, comes twice, or is FAISS's -1 for "no result".
    """
    both = set(positives) & set(junk)
    if both:
        raise EvaluationError(f"{len(both)} ids are both positive and junk, the first is {min(both)}")
    if ranked.size and int(ranked.min()) < 0:
        raise EvaluationError("a ranked list holds id -1 (no result); drop the padding before it is scored")
    if len(np.unique(ranked)) != len(ranked):
        raise EvaluationError("a ranked list holds an id twice; each image may be found once")
    hits = positions(ranked, positives, junk)
    length = len(ranked) - int(np.isin(ranked, list(junk)).sum())
    return Judged(hits, length, len(set(positives)) + absent, absent)


def average_precision(judged: Judged, rule: Rule = "trapezoid") -> float:
    """Area under precision over recall for the full list; NaN without positives.

    `trapezoid` is `compute_ap` of Oxford/Paris (Philbin et al., CVPR 2007) and of the revisited protocol: each step of
    recall times the mean of the precision before and after it, starting from 1. `step` is the textbook (and trec_eval)
    mean of the precision at each hit. Both divide by R. Raises EvaluationError where the list is not full.
    """
    if not judged.total:
        return float("nan")
    _refuse_partial(judged)
    hits = np.arange(len(judged.positions))
    after = (hits + 1) / (judged.positions + 1)
    if rule == "step":
        return float(after.sum() / judged.total)
    before = np.where(judged.positions == 0, 1.0, hits / np.maximum(judged.positions, 1))
    return float(((before + after) / 2).sum() / judged.total)


def average_precision_at(judged: Judged, k: int, denominator: Denominator = "min(k,R)") -> float:
    """Sum of the precision at each hit among the first k, over min(k, R) (the report, Google Landmarks) or over R."""
    if not judged.total:
        return float("nan")
    hits = _first(judged, k)
    precisions = np.arange(1, len(hits) + 1) / (hits + 1)
    return float(precisions.sum() / (min(k, judged.total) if denominator == "min(k,R)" else judged.total))


def precision_at(judged: Judged, k: int) -> float:
    """Hits among the first k, over k."""
    return len(_first(judged, k)) / k if judged.total else float("nan")


def revisited_precision_at(judged: Judged, k: int) -> float:
    """The revisited mP@k (Radenović et al., CVPR 2018): as `precision_at`, but over min(k, last positive's rank)."""
    if not judged.total:
        return float("nan")
    _refuse_partial(judged)
    hits = _first(judged, k)
    if not len(hits):
        return 0.0
    return len(hits) / min(k, int(judged.positions[-1]) + 1)


def recall_at(judged: Judged, k: int) -> float:
    """Hits among the first k, over R: the share of the positives that is retrieved."""
    return len(_first(judged, k)) / judged.total if judged.total else float("nan")


def hit_rate_at(judged: Judged, k: int) -> float:
    """1 where any positive is among the first k, else 0."""
    return float(len(_first(judged, k)) > 0) if judged.total else float("nan")


def ndcg_at(judged: Judged, k: int) -> float:
    """Sum of 1 / log2(rank + 1) over the hits among the first k, over the same for a perfect list of min(k, R) hits."""
    if not judged.total:
        return float("nan")
    gain = (1 / np.log2(_first(judged, k) + 2)).sum()
    ideal = (1 / np.log2(np.arange(min(k, judged.total)) + 2)).sum()
    return float(gain / ideal)


def mean(values: Iterable[float]) -> float:
    """The mean over queries without NaN, which stands for a query without positives; NaN where no query is left."""
    numbers = [value for value in values if not np.isnan(value)]
    return float(np.mean(numbers)) if numbers else float("nan")


METRICS: dict[str, Callable[[Judged, int], float]] = {
    "map": average_precision_at,
    "precision": precision_at,
    "recall": recall_at,
    "hit_rate": hit_rate_at,
    "ndcg": ndcg_at,
    "revisited_precision": revisited_precision_at,
}
"""Figures at k of a query; their `mean` is the benchmark's."""

DENOMINATORS = {
    "map": "min(k, R)",
    "precision": "k",
    "recall": "R",
    "hit_rate": "1",
    "ndcg": "the ideal list of min(k, R) hits",
    "revisited_precision": "min(k, rank of the last positive)",
}
"""The denominator of each figure at k, always printed with it, since three rules share the name mAP@k."""


def _first(judged: Judged, k: int) -> NDArray[np.int64]:
    if k < 1:
        raise EvaluationError(f"k = {k} is not a number of results; give 1 or more")
    if k > judged.length:
        raise EvaluationError(
            f"k = {k} goes beyond the {judged.length} results that were retrieved (junk taken out); "
            "retrieve more, or score a smaller k"
        )
    return judged.positions[judged.positions < k]


def _refuse_partial(judged: Judged) -> None:
    hits = len(judged.positions) + judged.absent
    if hits < judged.total:
        raise EvaluationError(
            f"the list of {judged.length} results holds {hits} of {judged.total} positives; average precision and "
            "the revisited mP@k need the whole gallery ranked"
        )
