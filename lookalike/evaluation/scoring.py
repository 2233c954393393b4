"""Rankings to figures: each is judged by its ground truth, scored by a protocol, and averaged."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookalike.collection.collection import Collection
from lookalike.errors import EvaluationError
from lookalike.evaluation.answers import (
    EmbeddedGallery,
    QueryRanking,
    boxes_beyond,
    is_unreadable,
)
from lookalike.evaluation.datasets import load
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Names, abridged, check
from lookalike.evaluation.metrics import METRICS, Judged, average_precision, judge, mean
from lookalike.evaluation.micro import PairScores
from lookalike.evaluation.protocols import Protocol, whole_ks
from lookalike.evaluation.provenance import gallery_digest
from lookalike.evaluation.report import Figures, GalleryFacts, JudgedResult, QueryResult, Scored, Verdict

SHOWN = 20
"""Results of each query that a report keeps."""


def open_benchmark(
    dataset: str | Benchmark, root: str | Path | None, distractors: Iterable[str | Path] = ()
) -> Benchmark:
    """A Benchmark, checked, or the data set of that name under `root`; raises EvaluationError."""
    if isinstance(dataset, Benchmark):
        return check(dataset)
    if root is None:
        raise EvaluationError(f"{dataset} needs --root DIR, the folder that it lies in")
    return load(dataset, root, distractors)


def describe_gallery(benchmark: Benchmark, embedded: EmbeddedGallery) -> GalleryFacts:
    """The size of the gallery; a query's own photo counts, unless it is hidden from all queries."""
    collection = embedded.collection
    hidden = frozenset.intersection(*(query.hidden for query in benchmark.queries))
    images = len(collection) - sum(collection.row(key) is not None for key in hidden)
    own = sum(collection.row(key) is not None for key in Names(benchmark.images).keys) if benchmark.distractors else 0
    distractors = len(collection) - own if benchmark.distractors else 0
    return GalleryFacts(images, distractors, tuple(embedded.skipped), gallery_digest(collection.gallery))


def gallery_notes(
    benchmark: Benchmark, embedded: EmbeddedGallery, absent: Iterable[str], uncropped: bool = False
) -> tuple[str, ...]:
    """What a reader of the figures has to know, with the names of images and queries."""
    skipped = [f"{key} ({reason})" for key, reason in embedded.skipped if key not in benchmark.unreadable]
    beyond = [] if uncropped else boxes_beyond(benchmark, embedded.collection)
    names_by_note = {
        "skipped, not in the gallery": skipped,
        "queries that cannot be read, left out": [
            query.name for query in benchmark.queries if is_unreadable(query, benchmark, embedded.collection)
        ],
        "positives that cannot be read, counted as never found": list(absent),
        "box reaches beyond the image, cut at its border": beyond,
    }
    notes = [f"{note}: {abridged(names)}" for note, names in names_by_note.items() if names]
    return (*benchmark.notes, *notes, *_seen_in_training(benchmark.name, embedded.collection.encoder.name))


def _seen_in_training(dataset: str, encoder: str) -> Sequence[str]:
    """A note on DINOv2's training data, according to its paper, for its figures on these sets."""
    if not encoder.startswith("dinov2") or dataset not in ("oxford5k", "paris6k", "roxford5k", "rparis6k"):
        return ()
    return ("DINOv2's training images were retrieved with Revisited Oxford and Paris base images among the seeds",)


@dataclass(frozen=True)
class JudgedQuery:
    """A ranking judged by its ground truth: a `Judged` for each setup, and the first results."""

    query: BenchmarkQuery
    key: str
    judged: Mapping[str, Judged]
    head: tuple[JudgedResult, ...]

    def result(self, setups: Mapping[str, Scored], count: int | None = None) -> QueryResult:
        """The query with its figures, and its first `count` results."""
        return QueryResult(self.query.name, self.key, self.query.image, self.query.box, setups, self.head[:count])


class Judge:
    """Judges rankings of rows by ground truth in keys; `absent` are the positives that the gallery lacks."""

    def __init__(self, collection: Collection, protocol: Protocol, images: Path, head: int = SHOWN) -> None:
        """`head` results of each query are kept."""
        self._collection, self._protocol, self._images, self._head = collection, protocol, images, head
        self._rows: dict[str, int | None] = {}
        self.absent: dict[str, None] = {}
        self.pairs = PairScores() if protocol.micro else None

    def read(self, answer: QueryRanking) -> JudgedQuery:
        """Judge a ranking in each setup of the protocol."""
        judged = {setup: self._judge(answer, setup) for setup in self._protocol.setups}
        query = answer.query
        if self.pairs:
            self._pair(answer, judged[self._protocol.setups[0]])
        return JudgedQuery(query, query.key(self._images) or query.image.name, judged, self._results(answer))

    def _row(self, key: str) -> int | None:
        if key not in self._rows:
            self._rows[key] = self._collection.row(key)
        return self._rows[key]

    def _judge(self, answer: QueryRanking, setup: str) -> Judged:
        truth = answer.query.truths[setup]
        absent = [key for key in sorted(truth.positives) if self._row(key) is None]
        self.absent.update(dict.fromkeys(absent))
        positives = {row for key in truth.positives if (row := self._row(key)) is not None}
        junk = {row for key in truth.junk if (row := self._row(key)) is not None}
        return judge(answer.ranking.ids, positives, junk, len(absent))

    def _pair(self, answer: QueryRanking, judged: Judged) -> None:
        """The scores of a query beside those of the others."""
        ranking, truth = answer.ranking, answer.query.truths[self._protocol.setups[0]]
        counted = ~np.isin(ranking.ids, [row for key in truth.junk if (row := self._row(key)) is not None])
        right = np.zeros(int(counted.sum()), np.bool_)
        right[judged.positions] = True
        assert self.pairs
        self.pairs.add(ranking.scores[counted], right, judged.total)

    def _results(self, answer: QueryRanking) -> tuple[JudgedResult, ...]:
        head = answer.ranking.head(self._head)
        # Of several setups a page shows Medium: easy and hard are positives, junk is junk.
        truth = answer.query.truths["medium" if "medium" in self._protocol.setups else self._protocol.setups[0]]
        results = []
        for rank, (row, score) in enumerate(zip(head.ids.tolist(), head.scores.tolist(), strict=True), 1):
            key = self._collection.key(row)
            verdict: Verdict = "positive" if key in truth.positives else "junk" if key in truth.junk else "negative"
            results.append(JudgedResult(rank, key, self._collection.gallery.path(row), score, verdict))
        return tuple(results)


def settle(protocol: Protocol, requested: Sequence[int] | None, queries: Sequence[JudgedQuery]) -> tuple[int, ...]:
    """The ks to score: the requested ones, else the protocol's own up to the length of the shortest ranking."""
    reach = min((judged.length for query in queries for judged in query.judged.values()), default=0)
    if not reach:
        raise EvaluationError("no query has anything to find: the gallery holds nothing beside it that can be read")
    if requested:
        own = [protocol.needs_k] if protocol.needs_k and protocol.needs_k <= reach else []
        return whole_ks([*requested, *own])
    ks = tuple(k for k in protocol.ks if k <= reach)
    if protocol.needs_k and protocol.needs_k not in ks:
        raise EvaluationError(
            f"protocol {protocol.name} scores the first {protocol.needs_k} results, but a query of this gallery has "
            f"only {reach}; add distractors, score fewer (-k 5), or use --protocol original"
        )
    return ks or (reach,)


def unscored(protocol: Protocol, ks: Sequence[int]) -> tuple[str, ...]:
    """A note where the protocol's own figure is not among those at `ks`."""
    if protocol.needs_k is None or protocol.needs_k in ks:
        return ()
    return (f"the figure of protocol {protocol.name} is mAP@{protocol.needs_k}, and this gallery has fewer results",)


def score(query: JudgedQuery, protocol: Protocol, ks: Sequence[int]) -> QueryResult:
    """The figures of a query in each setup; raises EvaluationError for a k beyond its ranking."""
    try:
        setups = {
            setup: Scored(
                average_precision(judged, protocol.rule),
                {name: {k: METRICS[name](judged, k) for k in ks} for name in protocol.at},
                judged.total,
                len(query.query.truths[setup].junk),
                tuple((judged.positions + 1).tolist()),
            )
            for setup, judged in query.judged.items()
        }
    except EvaluationError as error:
        raise EvaluationError(f"query {query.query.name}: {error}") from error
    return query.result(setups)


def summarise(results: Sequence[QueryResult], protocol: Protocol, ks: Sequence[int]) -> dict[str, Figures]:
    """Means of each setup over the queries that have positives."""
    figures = {}
    for setup in protocol.setups:
        scored = [result.setups[setup] for result in results if result.setups[setup].positives]
        at = {name: {k: mean(query.at[name][k] for query in scored) for k in ks} for name in protocol.at}
        figures[setup] = Figures(mean(query.ap for query in scored), at, len(scored))
    return figures
