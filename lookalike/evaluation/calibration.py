"""The answers of a benchmark to the calibration of its encoder's confidence.

No group of queries is judged by a model that was fitted on it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EvaluationError
from lookalike.evaluation.calibration_samples import Sample
from lookalike.evaluation.report import Bin, Calibration
from lookalike.search.confidence import (
    BINS,
    FIRST,
    FURTHER,
    INLIERS,
    Logistic,
    Model,
    Numbers,
    Tail,
    expected_error,
    fit_answers,
    is_in_doubt,
    is_same,
    shares,
)

FOLDS = 10
"""At most so many models are fitted in a cross-validation."""
FALSE = 0.02
"""The share of false answers at which the share that is kept is reported."""


def fit_model(samples: Sequence[Sample], without: Iterable[int] = ()) -> Model:
    """The model of these answers without some groups, whose photos do not count as wrong results either.

    Each group counts the same, and ordinary photos together count `ORDINARY_SHARE` of all groups. Raises
    LookalikeError where all results are right, or all wrong.
    """
    left_out = list(without)
    samples = [sample for sample in samples if sample.query.group not in left_out]
    typical = Tail.middle([sample.tail(None) for sample in samples])
    weigh = _weights(samples)

    def regression(names: Sequence[str], is_first: bool) -> Logistic:
        features, labels, weights = [], [], []
        for sample in samples:
            evidence = sample.evidence(typical)
            chosen = (np.arange(len(sample.right)) == 0) == is_first
            chosen &= ~np.isin(sample.groups, left_out)
            if INLIERS in names:
                chosen &= np.isfinite(evidence.features((INLIERS,))[:, 0])
            features.append(evidence.features(names)[chosen])
            labels.append(sample.right[chosen])
            weights.append(weigh[sample.query.group])
        return fit_answers(features, labels, weights)

    return Model(
        typical,
        regression(FIRST, True),
        regression(FURTHER, False),
        regression((*FIRST, INLIERS), True),
        regression((*FURTHER, INLIERS), False),
    )


def _weights(samples: Sequence[Sample]) -> dict[int, float]:
    """Group to the weight of each of its answers."""
    counts = Counter(sample.query.group for sample in samples)
    ordinary = [group for group in counts if group < 0]
    weights, of_ordinary = shares({group: count for group, count in counts.items() if group >= 0}, len(ordinary))
    return weights | dict.fromkeys(ordinary, of_ordinary)


@dataclass(frozen=True)
class Verdict:
    """The confidence of the nearest images of one answer (n,), and which of them are right."""

    confidences: Numbers
    right: NDArray[np.bool_]
    removed: bool
    is_ordinary: bool = False


def predicted(sample: Sample, model: Model, verify: bool) -> Verdict:
    """What a search would answer, with and without `verify`."""
    evidence = sample.evidence(model.typical)
    confidences = model.predict(replace(evidence, inliers=None))
    if verify and evidence.inliers is not None and is_in_doubt(float(confidences[0])):
        confidences = model.predict(evidence)
    return Verdict(confidences, sample.right, sample.query.removed, sample.query.is_ordinary)


def cross_validated(samples: Sequence[Sample], verify: bool) -> list[Verdict]:
    """Each answer judged by a model that was fitted without its group; raises EvaluationError for a single group."""
    groups = sorted({sample.query.group for sample in samples})
    subjects, ordinary = [group for group in groups if group >= 0], [group for group in groups if group < 0]
    if len(subjects) < 2:
        raise EvaluationError("calibration needs queries of two subjects or more: one is judged by what others show")
    count, verdicts = min(FOLDS, len(subjects)), []
    for at in range(count):
        fold = {*subjects[at::count], *ordinary[at::count]}
        model = fit_model(samples, fold)
        verdicts += [predicted(sample, model, verify) for sample in samples if sample.query.group in fold]
    return verdicts


def bins(confidences: Numbers, right: NDArray[np.bool_], count: int = BINS) -> list[Bin]:
    """Confidences (n,) in bins of equal width; empty bins are left out."""
    places = np.minimum((confidences * count).astype(np.int64), count - 1)
    return [
        Bin(
            place / count,
            (place + 1) / count,
            int((places == place).sum()),
            float(confidences[places == place].mean()),
            float(right[places == place].mean()),
        )
        for place in range(count)
        if (places == place).any()
    ]


def summarised(verdicts: Sequence[Verdict], model: str, verify: bool) -> Calibration:
    """The figures of answers to queries with and without positives; `model` says where the confidences come from."""
    ordinary = [verdict.confidences.max() for verdict in verdicts if verdict.is_ordinary]
    verdicts = [verdict for verdict in verdicts if not verdict.is_ordinary]
    first = np.array([verdict.confidences[0] for verdict in verdicts])
    right = np.array([verdict.right[0] for verdict in verdicts], np.bool_)
    removed = np.array([verdict.removed for verdict in verdicts], np.bool_)
    if removed.all() or not removed.any() or not right.any():
        raise EvaluationError("calibration needs answers with a right first result, and answers without any")
    best = np.array([verdict.confidences.max() for verdict in verdicts])
    least = np.quantile(best[removed], 1 - FALSE)
    every = np.concatenate([verdict.confidences for verdict in verdicts])
    every_right = np.concatenate([verdict.right for verdict in verdicts])
    return Calibration(
        model,
        verify,
        int((~removed).sum()),
        int(removed.sum()),
        float(right[~removed].mean()),
        float(np.mean([is_same(value) for value in best[removed]])),
        float(np.mean([is_same(value) for value in first[right]])),
        float(np.mean(first[right] > least)),
        expected_error(first, right),
        expected_error(every, every_right),
        tuple(bins(first, right)),
        len(ordinary),
        float(np.mean([is_same(value) for value in ordinary])) if ordinary else float("nan"),
    )


def calibrate(samples: Sequence[Sample], shipped: Model | None = None) -> tuple[Calibration, ...]:
    """The calibration of a model fitted here, cross-validated over groups, and of the `shipped` one."""
    results = [summarised(cross_validated(samples, verify), CROSS_VALIDATED, verify) for verify in (False, True)]
    if shipped is not None:
        results += [
            summarised([predicted(sample, shipped, verify) for sample in samples], SHIPPED, verify)
            for verify in (False, True)
        ]
    return tuple(results)


CROSS_VALIDATED, SHIPPED = "fitted here, cross-validated over subjects", "as shipped"
