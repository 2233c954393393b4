"""Answers to figures: each ranked list read against its ground truth, scored by a protocol, and averaged."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookalike.collection.collection import Collection
from lookalike.errors import EvaluationError
from lookalike.evaluation.answers import (
    EmbeddedGallery,
    QueryRanking,
    boxes_beyond,
    is_unreadable,
)
from lookalike.evaluation.datasets import load
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Names, check, some
from lookalike.evaluation.metrics import METRICS, Judged, average_precision, judge, mean
from lookalike.evaluation.protocols import Protocol, whole_ks
from lookalike.evaluation.report import Figures, GalleryFacts, JudgedResult, QueryResult, Scored, Verdict

SHOWN = 20
"""How many results of each query a report keeps to show."""


def open_benchmark(
    dataset: str | Benchmark, root: str | Path | None, distractors: Iterable[str | Path] = ()
) -> Benchmark:
    """A Benchmark that is given, or the one of that name under `root`."""
    if isinstance(dataset, Benchmark):
        return check(dataset)
    if root is None:
        raise EvaluationError(f"{dataset} needs --root DIR, the folder that it lies in")
    return load(dataset, root, distractors)


def describe_gallery(benchmark: Benchmark, embedded: EmbeddedGallery) -> GalleryFacts:
    """How many images a query of this benchmark searches; its own photo, where it is left out, is not subtracted."""
    collection = embedded.collection
    hidden = frozenset.intersection(*(query.hidden for query in benchmark.queries))
    images = len(collection) - sum(collection.row(key) is not None for key in hidden)
    own = sum(collection.row(key) is not None for key in Names(benchmark.images).keys) if benchmark.distractors else 0
    distractors = len(collection) - own if benchmark.distractors else 0
    return GalleryFacts(images, distractors, tuple(embedded.skipped))


def gallery_notes(
    benchmark: Benchmark, embedded: EmbeddedGallery, absent: Iterable[str], uncropped: bool = False
) -> tuple[str, ...]:
    """What a reader of the figures has to know, each by name."""
    skipped = [f"{key} ({reason})" for key, reason in embedded.skipped if key not in benchmark.unreadable]
    beyond = [] if uncropped else boxes_beyond(benchmark, embedded.collection)
    listed = {
        "skipped, not in the gallery": skipped,
        "queries that cannot be read, left out": [
            query.name for query in benchmark.queries if is_unreadable(query, benchmark, embedded.collection)
        ],
        "positives that cannot be read, counted as never found": list(absent),
        "box reaches beyond the image, cut at its border": beyond,
    }
    found = [f"{what}: {some(names)}" for what, names in listed.items() if names]
    return (*benchmark.notes, *found, *_seen_in_training(benchmark.name, embedded.collection.encoder.name))


def _seen_in_training(dataset: str, encoder: str) -> Sequence[str]:
    """What DINOv2's paper says of its own training data belongs beside its figures on these sets."""
    if not encoder.startswith("dinov2") or dataset not in ("oxford5k", "paris6k", "roxford5k", "rparis6k"):
        return ()
    return ("DINOv2's training images were retrieved with Revisited Oxford and Paris base images among the seeds",)


@dataclass(frozen=True)
class JudgedQuery:
    """One answer read against its ground truth: a `Judged` for each setup, and the head of the list as shown."""

    query: BenchmarkQuery
    key: str
    judged: Mapping[str, Judged]
    shown: tuple[JudgedResult, ...]

    def result(self, setups: Mapping[str, Scored], shown: int | None = None) -> QueryResult:
        """With its figures, and the first `shown` of what it found."""
        return QueryResult(self.query.name, self.key, self.query.image, self.query.box, setups, self.shown[:shown])


class Judge:
    """Reads ranked rows against ground truth in keys; remembers positives that the gallery does not hold."""

    def __init__(self, collection: Collection, protocol: Protocol, images: Path, shown: int = SHOWN) -> None:
        self._collection, self._protocol, self._images, self._shown = collection, protocol, images, shown
        self._rows: dict[str, int | None] = {}
        self.absent: dict[str, None] = {}

    def read(self, answer: QueryRanking) -> JudgedQuery:
        """Judge one answer in each setup of the protocol."""
        judged = {setup: self._judge(answer, setup) for setup in self._protocol.setups}
        query = answer.query
        return JudgedQuery(query, query.key(self._images) or query.image.name, judged, self._found(answer))

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

    def _found(self, answer: QueryRanking) -> tuple[JudgedResult, ...]:
        head = answer.ranking.head(self._shown)
        # With setups, Medium is the one that a page shows: easy and hard are positives, junk is junk.
        truth = answer.query.truths["medium" if "medium" in self._protocol.setups else self._protocol.setups[0]]
        found = []
        for rank, (row, score) in enumerate(zip(head.ids.tolist(), head.scores.tolist(), strict=True), 1):
            key = self._collection.key(row)
            verdict: Verdict = "positive" if key in truth.positives else "junk" if key in truth.junk else "negative"
            found.append(JudgedResult(rank, key, self._collection.gallery.path(row), score, verdict))
        return tuple(found)


def settle(protocol: Protocol, asked: Sequence[int] | None, reads: Sequence[JudgedQuery]) -> tuple[int, ...]:
    """The ks to score: those asked for, else the protocol's own as far as every query's list reaches."""
    reach = min((one.length for read in reads for one in read.judged.values()), default=0)
    if not reach:
        raise EvaluationError("no query has anything to find: the gallery holds nothing beside it that can be read")
    if asked:
        return whole_ks([*asked, *([protocol.needs_k] if protocol.needs_k else [])])
    ks = tuple(k for k in protocol.ks if k <= reach)
    if protocol.needs_k and protocol.needs_k not in ks:
        raise EvaluationError(
            f"protocol {protocol.name} scores the first {protocol.needs_k} results, but a query of this gallery has "
            f"only {reach}; add distractors or use --protocol original"
        )
    return ks or (reach,)


def score(read: JudgedQuery, protocol: Protocol, ks: Sequence[int]) -> QueryResult:
    """The figures of one query in each setup; raises EvaluationError for a k beyond its list."""
    try:
        setups = {
            setup: Scored(
                average_precision(one, protocol.rule),
                {name: {k: METRICS[name](one, k) for k in ks} for name in protocol.at},
                one.total,
                len(read.query.truths[setup].junk),
                tuple((one.positions + 1).tolist()),
            )
            for setup, one in read.judged.items()
        }
    except EvaluationError as error:
        raise EvaluationError(f"query {read.query.name}: {error}") from error
    return read.result(setups)


def summarise(results: Sequence[QueryResult], protocol: Protocol, ks: Sequence[int]) -> dict[str, Figures]:
    """Means over the queries that have positives, for each setup."""
    figures = {}
    for setup in protocol.setups:
        scored = [result.setups[setup] for result in results if result.setups[setup].positives]
        at = {name: {k: mean(one.at[name][k] for one in scored) for k in ks} for name in protocol.at}
        figures[setup] = Figures(mean(one.ap for one in scored), at, len(scored))
    return figures
