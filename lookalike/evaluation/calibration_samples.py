"""A benchmark to what its answers say: queries with their positives and without any of them, and ordinary photos.

Every positive of a query is a query too, without itself in the gallery. Queries that share positives are a group.
Distractors are queries, too: ordinary photos, of which there is nothing else in the gallery.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lookalike.collection.collection import Collection
from lookalike.errors import EvaluationError, LookalikeError
from lookalike.evaluation.answers import Ask
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Names, Truth
from lookalike.index.components import components
from lookalike.search.confidence import ORDINARY, Evidence, Numbers, Tail
from lookalike.search.evidence import BEST, inliers
from lookalike.search.options import SearchOptions
from lookalike.search.query import Query
from lookalike.types import Probe, Progress, Scores

NOBODY = -1
"""The group of a result that shows no subject of any query."""
SAME_SCENE = 10
"""An ordinary photo that shares so many points with the nearest image shows the same scene."""


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
