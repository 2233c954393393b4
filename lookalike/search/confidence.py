"""Evidence of a search to probabilities: how likely it is that a hit shows the same thing as the query.

A small logistic model for each encoder, fitted by `benchmarks/calibration.py` and stored with the encoder's row. It is
pure: numbers go in, numbers come out, and `fit` makes another one from other labels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders.measured import confidence_row
from lookalike.errors import LookalikeError

Numbers = NDArray[np.float64]

FIRST = ("cosine", "surprise")
"""What is known of the nearest image: its cosine, and how far that lies beyond the cosines of unrelated images."""
FURTHER = (*FIRST, "lead")
"""What is known of the others; `lead` is the cosine of the nearest."""
INLIERS = "inliers"
"""Further evidence of verified candidates: log(1 + inliers beyond those that any map has)."""
SHARE = 0.1
"""The share of the sampled cosines that counts as their tail."""
TYPICAL = 100
"""A sample counts as much as the encoder's typical tail where it has so many cosines."""
RIDGE = 1e-3
STEPS = 100
CAUTION = 1.25
"""A wrong result counts as so many right ones: a false promise costs more than a missed one."""
ORDINARY, ORDINARY_SHARE = 300, 1 / 8
"""At most so many images of no group are queries, and together count this share of all groups."""
LEAST_GROUP = 50
"""A group of fewer answers counts less, or a single photo could decide."""
BINS = 10
LEAST = 1e-3
"""The least excess of a tail, for cosines that are all the same."""


@dataclass(frozen=True)
class Tail:
    """The upper tail of a query's cosines to unrelated images: it begins at `start`, and is exponential from there.

    `excess` is the mean excess over `start`, and `rows` is the number of images. So the largest of `rows` unrelated
    cosines is about ``start + excess * log(SHARE * rows)``.
    """

    start: float
    excess: float
    rows: int

    @classmethod
    def of(cls, cosines: NDArray[np.floating[Any]], rows: int, typical: "Tail | None" = None) -> Self:
        """The tail of sampled cosines (n,); with few of them it is near the `typical` tail of the encoder.

        The excess comes from two quantiles, so that a few images of the query's own subject hardly change it.
        """
        count = len(cosines)
        if not count:
            start, excess = (typical.start, typical.excess) if typical else (0.0, 1.0)
            return cls(start, excess, rows)
        start, further = (float(value) for value in np.quantile(cosines, [1 - SHARE, 1 - SHARE / 2]))
        excess = (further - start) / math.log(2)
        if typical is not None:
            start = (count * start + TYPICAL * typical.start) / (count + TYPICAL)
            excess = (count * excess + TYPICAL * typical.excess) / (count + TYPICAL)
        return cls(start, max(excess, LEAST), rows)

    @classmethod
    def middle(cls, tails: Sequence["Tail"]) -> Self:
        """The median of several tails, number by number."""
        start, excess, rows = np.median([(tail.start, tail.excess, tail.rows) for tail in tails], axis=0).tolist()
        return cls(start, excess, round(rows))

    def surprise(self, cosines: NDArray[np.floating[Any]]) -> Numbers:
        """How far cosines (n,) lie above the largest that chance makes likely, in units of `excess`."""
        chance = math.log(max(SHARE * self.rows, 1.0))
        return (np.asarray(cosines, np.float64) - self.start) / self.excess - chance


@dataclass(frozen=True)
class Logistic:
    """A logistic regression: a weight for each feature, and a bias."""

    weights: tuple[float, ...]
    bias: float

    def predict(self, features: Numbers) -> Numbers:
        """Features (n, d) to probabilities (n,)."""
        return _sigmoid(features @ np.array(self.weights) + self.bias)


@dataclass(frozen=True)
class Evidence:
    """What a search knows of candidates (n,): their cosines, the nearest image's (`lead`), and the query's tail.

    `inliers` (n,) are the keypoint matches that fit a common map, NaN for candidates that were not verified.
    """

    cosines: NDArray[np.floating[Any]]
    lead: float
    tail: Tail
    inliers: Numbers | None = None

    def features(self, names: Sequence[str]) -> Numbers:
        """These features (n, d), in their order; inliers that are not known are NaN."""
        unknown = np.full(len(self.cosines), np.nan)
        columns = {
            "cosine": np.asarray(self.cosines, np.float64),
            "surprise": self.tail.surprise(self.cosines),
            "lead": np.full(len(self.cosines), self.lead, np.float64),
            INLIERS: np.log1p(np.maximum(unknown if self.inliers is None else self.inliers - FEWEST, 0)),
        }
        return np.stack([columns[name] for name in names], axis=1)

    @property
    def is_first(self) -> NDArray[np.bool_]:
        """Which candidates are nearest (n,): one, or several where cosines are equal."""
        return np.asarray(self.cosines, np.float64) >= self.lead - SAME


SAME = 1e-6
"""Cosines of one pair differ by this where they are computed in another order."""
DOUBT = (0.02, 0.98)
"""Between these confidences of the nearest image its pixels are compared, where that is requested."""
FEWEST = 4
"""So many matches fit any homography."""


@dataclass(frozen=True)
class Model:
    """The confidence of an encoder's hits: a regression for the nearest image and one for the others, each twice.

    `verified` and `verified_further` are for candidates whose pixels were compared with the query's.
    """

    typical: Tail
    first: Logistic
    further: Logistic
    verified: Logistic
    verified_further: Logistic

    def predict(self, evidence: Evidence) -> Numbers:
        """The probability (n,) that each candidate shows the same thing as the query.

        No candidate is likelier than one would be if it were the nearest: so an answer is as sure as its best evidence.
        """
        nearest = Evidence(np.array([evidence.lead]), evidence.lead, evidence.tail)
        most = self.first.predict(nearest.features(FIRST))
        first, further = evidence.features(FIRST), evidence.features(FURTHER)
        plain = np.where(evidence.is_first, self.first.predict(first), np.minimum(self.further.predict(further), most))
        known = np.zeros(len(plain), np.bool_) if evidence.inliers is None else np.isfinite(evidence.inliers)
        if not known.any():
            return plain
        first, further = evidence.features((*FIRST, INLIERS))[known], evidence.features((*FURTHER, INLIERS))[known]
        as_first = self.verified.predict(first)
        as_further = np.minimum(self.verified_further.predict(further), as_first.max())
        plain[known] = np.where(evidence.is_first[known], as_first, as_further)
        return plain

    @property
    def sees_pixels(self) -> bool:
        """Whether inliers can change a confidence; not where they were never measured."""
        return bool(self.verified.weights[-1] or self.verified_further.weights[-1])

    def to_json(self) -> dict[str, Any]:
        """All numbers, for a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        parts = ("first", "further", "verified", "verified_further")
        return cls(
            Tail(**values["typical"]),
            *(Logistic(tuple(values[part]["weights"]), values[part]["bias"]) for part in parts),
        )


def read_model(values: object) -> Model | None:
    """The model in a file of others, whose numbers may be anything; None where it is none."""
    try:
        model = Model.from_json(values)  # type: ignore[arg-type]
        parts = (model.first, model.further, model.verified, model.verified_further)
        numbers = [(*part.weights, part.bias) for part in parts]
        tail = (model.typical.start, model.typical.excess, float(model.typical.rows))
        is_finite = bool(np.isfinite(np.array([*tail, *(value for part in numbers for value in part)], float)).all())
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    sizes = [len(FIRST), len(FURTHER), len(FIRST) + 1, len(FURTHER) + 1]
    is_whole = [len(part.weights) for part in parts] == sizes and model.typical.excess > 0
    return model if is_finite and is_whole else None


def fit(features: Numbers, labels: Numbers, weights: Numbers | None = None, ridge: float = RIDGE) -> Logistic:
    """The logistic regression of labels (n,), 0 or 1, on features (n, d), by Newton's method.

    `weights` (n,) count some rows more than others. The ridge is on standardised features. More evidence must not make
    a hit less likely: a feature with a negative weight is left out (weight 0). Raises LookalikeError where all labels
    are the same.
    """
    features, labels = np.asarray(features, np.float64), np.asarray(labels, np.float64)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    if len(np.unique(labels)) < 2:
        raise LookalikeError(f"confidence cannot be fitted to {len(labels)} labels that are all the same; give both")
    mean = np.average(features, axis=0, weights=weights)
    scale = np.maximum(features.std(axis=0), 1e-9)
    standard = (features - mean) / scale
    kept = list(range(features.shape[1]))
    while True:
        solution = _newton(standard[:, kept], labels, weights / weights.sum(), ridge)
        if not kept or solution[1:].min() >= 0:
            break
        kept.pop(int(solution[1:].argmin()))
    slopes = np.zeros(features.shape[1])
    slopes[kept] = solution[1:] / scale[kept]
    return Logistic(tuple(slopes.tolist()), float(solution[0] - slopes @ mean))


def fit_answers(features: Sequence[Numbers], right: Sequence[NDArray[np.bool_]], weights: Sequence[float]) -> Logistic:
    """`fit` to the results of several answers, each of a weight; a wrong result counts `CAUTION` times."""
    costs = [np.where(labels, 1.0, CAUTION) * weight for labels, weight in zip(right, weights, strict=True)]
    return fit(np.concatenate(features), np.concatenate(right).astype(np.float64), np.concatenate(costs))


def shares(answers: Mapping[int, int], ordinary: int) -> tuple[dict[int, float], float]:
    """The weight of each answer of a group, by how many it has, and that of one of so many ordinary answers.

    Each group counts the same, unless it is small, and ordinary ones together count `ORDINARY_SHARE` of all groups.
    """
    weights = {group: 1 / max(LEAST_GROUP, count) for group, count in answers.items()}
    total = sum(count * weights[group] for group, count in answers.items())
    return weights, ORDINARY_SHARE * total / max(1, ordinary)


def expected_error(confidences: Numbers, right: NDArray[np.bool_]) -> float:
    """The expected calibration error in `BINS` bins of equal width (Naeini et al., AAAI 2015)."""
    places = np.minimum((confidences * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(places, confidences - right, BINS)
    return float(np.abs(gaps).sum() / len(confidences))


def _newton(features: Numbers, labels: Numbers, weights: Numbers, ridge: float) -> Numbers:
    """Bias and weights (1 + d,) that minimise the weighted mean log loss + ridge · |weights|²."""
    rows = np.column_stack([np.ones(len(labels)), features])
    penalty = np.full(rows.shape[1], ridge)
    penalty[0] = 0
    solution = np.zeros(rows.shape[1])
    loss = _loss(rows, labels, weights, penalty, solution)
    for _ in range(STEPS):
        chance = _sigmoid(rows @ solution)
        gradient = rows.T @ (weights * (chance - labels)) + 2 * penalty * solution
        curvature = (rows * (weights * chance * (1 - chance))[:, None]).T @ rows + np.diag(2 * penalty + 1e-12)
        step = np.linalg.solve(curvature, gradient)
        # A full step may go too far where labels are almost separable.
        while (new := _loss(rows, labels, weights, penalty, solution - step)) > loss and np.abs(step).max() > 1e-12:
            step = step / 2
        solution, loss = solution - step, new
        if np.abs(step).max() < 1e-10:
            break
    return solution


def _sigmoid(logits: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -500, 500))), np.float64)


def _loss(rows: Numbers, labels: Numbers, weights: Numbers, penalty: Numbers, solution: Numbers) -> float:
    logits = rows @ solution
    return float(weights @ (np.logaddexp(0, logits) - labels * logits) + penalty @ solution**2)


def is_same(confidence: float | None) -> bool:
    """Whether a hit shows the same thing as the query rather than not."""
    return confidence is not None and confidence > 0.5


def is_in_doubt(confidence: float) -> bool:
    """Whether the confidence of the nearest image, by the scores alone, is worth a look at the pixels."""
    return DOUBT[0] < confidence < DOUBT[1]


@lru_cache(maxsize=8)
def model_for(fingerprint: str) -> Model | None:
    """The model that was measured for the encoder of this fingerprint; None where none was."""
    row = confidence_row(fingerprint)
    return None if row is None else Model.from_json(row["model"])
