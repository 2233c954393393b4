"""A benchmark to the calibration of its encoder's confidence: queries with their positives, and without any of them.

Every positive of a query is a query too, without itself in the gallery. Queries that share positives are a group, and
no group is judged by a model that was fitted on it. Distractors are queries, too: ordinary photos, of which there is
nothing else in the gallery.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lookalike.collection.collection import Collection
from lookalike.errors import EvaluationError, LookalikeError
from lookalike.evaluation.answers import Ask
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Names, Truth
from lookalike.evaluation.report import Bin, Calibration
from lookalike.index.components import components
from lookalike.search.confidence import (
    BINS,
    FIRST,
    FURTHER,
    INLIERS,
    ORDINARY,
    Evidence,
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
from lookalike.search.evidence import BEST, inliers
from lookalike.search.options import SearchOptions
from lookalike.search.query import Query
from lookalike.types import Probe, Progress, Scores

FOLDS = 10
"""At most so many models are fitted in a cross-validation."""
NOBODY = -1
"""The group of a result that shows no subject of any query."""
SAME_SCENE = 10
"""An ordinary photo that shares so many points with the nearest image shows the same scene."""
FALSE = 0.02
"""The share of false answers at which the share that is kept is reported."""


@dataclass(frozen=True)
class CalibrationQuery:
    """A query with its group; its photo and junk are hidden, and `removed` says whether its positives are, too.

    Ordinary photos have groups below `NOBODY`, each its own.
    """

    query: BenchmarkQuery
    group: int
    positives: frozenset[str]
    hidden: frozenset[str]
    removed: bool

    @property
    def is_ordinary(self) -> bool:
        """Whether it is a distractor."""
        return self.group < 0


@dataclass(frozen=True)
class Sample:
    """An answer: its nearest images, which of them are right, and the group that each belongs to (or `NOBODY`).

    `usual` are cosines to random images, `rows` is the number of images that were searched.
    """

    query: CalibrationQuery
    cosines: Scores
    right: NDArray[np.bool_]
    groups: NDArray[np.int64]
    usual: Scores
    rows: int
    inliers: Numbers | None = None

    def tail(self, typical: Tail | None) -> Tail:
        """The tail of the cosines that are usual for the query."""
        return Tail.of(self.usual, self.rows, typical)

    def evidence(self, typical: Tail | None) -> Evidence:
        """The evidence of the nearest images."""
        return Evidence(self.cosines, float(self.cosines[0]), self.tail(typical), self.inliers)


def queries_of(benchmark: Benchmark) -> list[CalibrationQuery]:
    """The queries of a benchmark and every positive as a query of its whole photo, with and without positives."""
    plain = list(_each(benchmark))
    groups = _groups([{own, *truth.positives} for _, own, truth in plain])
    queries = []
    for (query, own, truth), group in zip(plain, groups, strict=True):
        positives, hidden = truth.positives - {own}, (query.hidden | truth.junk | {own}) - {""}
        if positives:
            queries += [CalibrationQuery(query, group, positives, hidden, removed) for removed in (False, True)]
    return queries


def _each(benchmark: Benchmark) -> Iterator[tuple[BenchmarkQuery, str, Truth]]:
    """Each query, the key of its photo ("" for one outside the gallery), and its ground truth."""
    done: set[str] = set()
    for query in benchmark.queries:
        own = query.key(benchmark.images) or ""
        done |= {own} if query.box is None else set()
        yield query, own, _truth(query)
    for query in benchmark.queries:
        truth, asked = _truth(query), query.key(benchmark.images)
        # A query's photo shows what it asks for, also where the ground truth does not list it.
        shown = truth.positives | ({asked} if asked is not None else set())
        for key in sorted(shown - query.hidden - done):
            done.add(key)
            photo = replace(query, name=key, image=benchmark.images / key, box=None)
            yield photo, key, Truth(shown - query.hidden - truth.junk, truth.junk)


def _truth(query: BenchmarkQuery) -> Truth:
    return query.truths["medium"] if "medium" in query.truths else next(iter(query.truths.values()))


def _groups(members: Sequence[set[str]]) -> list[int]:
    """The group of each set of keys: sets that share a key, directly or through others, are in one group."""
    named = [sorted(keys - {""}) for keys in members]
    component = components(named)
    numbers: dict[int | str, int] = {}
    return [
        numbers.setdefault(component[keys[0]] if keys else f"query {at}", len(numbers)) for at, keys in enumerate(named)
    ]


def ordinary_queries(benchmark: Benchmark, collection: Collection) -> list[CalibrationQuery]:
    """At most `ORDINARY` distractors as queries, evenly from all over them, each without itself in the gallery."""
    own = set(Names(benchmark.images).keys) if benchmark.distractors else set()
    names = collection.keys() if benchmark.distractors else []
    keys = [key for key in names if key not in own]
    queries: list[CalibrationQuery] = []
    for key in keys[:: -(-len(keys) // ORDINARY) or 1]:
        path = collection.gallery.path(_known(collection, key))
        if path is not None:
            query = BenchmarkQuery(key, path, None, {})
            queries.append(CalibrationQuery(query, NOBODY - 1 - len(queries), frozenset(), frozenset({key}), True))
    return queries


def _known(collection: Collection, key: str) -> int:
    row = collection.row(key)
    assert row is not None, "a key that the collection listed"
    return row


def collect(
    benchmark: Benchmark, collection: Collection, ask: Ask, uncropped: bool = False, progress: Progress | None = None
) -> list[Sample]:
    """The answer to each query, with its positives in the gallery and without them, and to ordinary photos.

    Nobody has looked whether an ordinary photo has a match: it is left out where the nearest image shares many points.
    """
    queries = [*queries_of(benchmark), *ordinary_queries(benchmark, collection)]
    owners = {key: query.group for query in queries for key in query.positives}
    samples = []
    for done, query in enumerate(queries):
        sample = _sample(query, owners, collection, ask, uncropped)
        samples += [sample] if sample and not _is_same_scene(sample) else []
        if progress:
            progress(done + 1, len(queries))
    return samples


def _is_same_scene(sample: Sample) -> bool:
    return sample.query.is_ordinary and sample.inliers is not None and sample.inliers[0] >= SAME_SCENE


def _sample(
    query: CalibrationQuery, owners: Mapping[str, int], collection: Collection, ask: Ask, uncropped: bool
) -> Sample | None:
    hidden = query.hidden | (query.positives if query.removed else frozenset())
    options = SearchOptions(k=BEST, exclude=frozenset(hidden))
    try:
        probe: Probe = ask(query.query, None if uncropped else query.query.box)
        answer = collection.rank(Query((probe,)), options)
    except LookalikeError as error:
        raise EvaluationError(f"query {query.query.name}: {error}") from error
    gallery, ranking = answer.space.gallery, answer.ranking
    if not len(ranking.ids):
        return None
    keys = [collection.key(row) for row in ranking.ids.tolist()]
    return Sample(
        query,
        ranking.scores,
        np.array([key in query.positives for key in keys]),
        np.array([owners.get(key, NOBODY) for key in keys], np.int64),
        gallery.usual(probe.vectors[0], np.empty(0, np.int64)),
        len(gallery),
        inliers(probe, ranking.ids, gallery),
    )


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
