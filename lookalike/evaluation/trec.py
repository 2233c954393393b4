"""Rankings and ground truth to TREC's runs and qrels, and runs made elsewhere to a report.

A run has lines `query Q0 image rank score tag`, qrels have `query 0 image relevance`. Qrels cannot say "ignore": junk
is in a file of its own, with lines as in qrels of which the relevance does not count. Of a ground truth with setups,
relevance 2 is easy and 1 is hard. Whitespace, control characters and `%` in names are percent-encoded.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from lookalike.collection.collection import Collection
from lookalike.errors import EvaluationError
from lookalike.evaluation.answers import QueryRanking
from lookalike.evaluation.datasets.benchmark import BenchmarkQuery, Truth, abridged
from lookalike.evaluation.metrics import judge
from lookalike.evaluation.protocols import PROTOCOLS, Protocol
from lookalike.evaluation.provenance import EvaluationOptions, Provenance
from lookalike.evaluation.report import Cost, GalleryFacts, JudgedResult, Report, Verdict
from lookalike.evaluation.scoring import SHOWN, JudgedQuery, score, settle, summarise, unscored
from lookalike.types import Scores
from lookalike.utils.files import reason, replacing, sha256_of, write_whole
from lookalike.utils.text import counted

EASY, HARD = 2, 1
ILIAS_K = 1000
"""Results of each query that ILIAS' evaluation looks at."""
RUN_LINE, QRELS_LINE = "query Q0 image rank score tag", "query 0 image relevance"
Qrels = dict[str, dict[str, int]]
"""Query to image to relevance."""


@dataclass(frozen=True)
class TrecFiles:
    """Files to write, each of them optional; `similarities` is what ILIAS' own evaluation reads."""

    run: Path | None = None
    qrels: Path | None = None
    junk: Path | None = None
    similarities: Path | None = None


NO_FILES = TrecFiles()


@dataclass(frozen=True)
class Run:
    """Images by query, best first, their scores, and the tag of the run."""

    images: Mapping[str, tuple[str, ...]]
    scores: Mapping[str, tuple[float, ...]]
    tag: str


def recorded(
    answers: Iterable[QueryRanking], collection: Collection, tag: str, file: Path | None
) -> Iterator[QueryRanking]:
    """The same answers; with a `file` they are written to it as a run, whole or not at all."""
    if file is None:
        yield from answers
        return
    with replacing(file, durable=False) as stream:
        names: set[str] = set()
        for answer in answers:
            if answer.query.name in names:
                raise EvaluationError(
                    f"{file}: two queries are called {answer.query.name!r}; a run needs distinct names"
                )
            names.add(answer.query.name)
            _write(stream, answer, collection, tag)
            yield answer


def exported(answers: Iterable[QueryRanking], collection: Collection, file: Path | None) -> Iterator[QueryRanking]:
    """The same answers; with a `file` their best `ILIAS_K` are written as JSON: query to image to similarity."""
    if file is None:
        yield from answers
        return
    with replacing(file, durable=False) as stream:
        before = b"{"
        for answer in answers:
            head = answer.ranking.head(ILIAS_K)
            keys = (collection.key(row) for row in head.ids.tolist())
            table = dict(zip(keys, decreasing(head.scores).tolist(), strict=True))
            stream.write(before + f"\n{json.dumps(answer.query.name)}: {json.dumps(table)}".encode())
            before = b","
            yield answer
        stream.write(b"\n}\n" if before == b"," else b"{}\n")


def _write(stream: IO[bytes], answer: QueryRanking, collection: Collection, tag: str) -> None:
    query, run = escaped(answer.query.name), escaped(tag)
    scores = decreasing(answer.ranking.scores).tolist()
    for rank, (row, value) in enumerate(zip(answer.ranking.ids.tolist(), scores, strict=True), 1):
        stream.write(f"{query} Q0 {escaped(collection.key(row))} {rank} {value!r} {run}\n".encode())


def decreasing(scores: Scores) -> Scores:
    """Scores (n,) lowered where they tie or rise, by the least steps of float32, so that each is below the one before.

    Tools that read runs sort by the score, some of them as float32, and break ties by the image's name.
    """
    if not np.isfinite(scores).all():
        raise EvaluationError("a score is not finite, so the ranking cannot be written as a run")
    bits = np.asarray(scores, np.float32).view(np.int32).astype(np.int64)
    # Floats in their order as integers: those of negative floats run backwards.
    ordered = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    steps = np.arange(len(ordered))
    lowered = np.minimum.accumulate(ordered + steps) - steps
    back = np.where(lowered < 0, -lowered - 2**31, lowered).astype(np.int32)
    return back.view(np.float32)


def write_truth(queries: Iterable[BenchmarkQuery], files: TrecFiles) -> None:
    """The ground truth of `queries` as qrels and as a file of junk, as far as `files` names them."""
    listed = list(queries)
    if files.qrels:
        lines = [_qrels_line(query, key, value) for query in listed for key, value in sorted(_relevance(query).items())]
        write_whole(files.qrels, "".join(lines), durable=False)
    if files.junk:
        lines = [_qrels_line(query, key, 1) for query in listed for key in sorted(_main(query).junk)]
        write_whole(files.junk, "".join(lines), durable=False)


def _qrels_line(query: BenchmarkQuery, key: str, relevance: int) -> str:
    return f"{escaped(query.name)} 0 {escaped(key)} {relevance}\n"


def _main(query: BenchmarkQuery) -> Truth:
    """Of several setups Medium, whose junk is junk in all of them."""
    return query.truths["medium"] if "medium" in query.truths else next(iter(query.truths.values()))


def _relevance(query: BenchmarkQuery) -> dict[str, int]:
    easy = query.truths["easy"].positives if "easy" in query.truths else frozenset[str]()
    return {key: EASY if key in easy else HARD for key in _main(query).positives}


def escaped(name: str) -> str:
    """A name without whitespace; bytes that are not UTF-8 are percent-encoded too."""
    return "".join(
        quote(letter, safe="", errors="surrogateescape") if letter == "%" or not _is_plain(letter) else letter
        for letter in name
    )


def _is_plain(letter: str) -> bool:
    return letter.isprintable() and not letter.isspace()


def unescaped(name: str) -> str:
    """The name that `escaped` was given."""
    return unquote(name, errors="surrogateescape") if "%" in name else name


def read_run(file: str | Path) -> Run:
    """A run as trec_eval reads it: by falling score as float32, ties by falling name; the ranks do not count."""
    table: dict[str, dict[str, float]] = {}
    tag = ""
    for where, (query, _, image, _, value, last) in _lines(Path(file), RUN_LINE):
        results = table.setdefault(query, {})
        if image in results:
            raise EvaluationError(f"{where}: {image!r} is found twice for {query!r}")
        results[image] = _score(where, value)
        tag = tag or last
    if not table:
        raise EvaluationError(f"{file}: no results; a line is {RUN_LINE}")
    orders = {query: _by_score(results) for query, results in table.items()}
    scores = {query: tuple(table[query][image] for image in order) for query, order in orders.items()}
    return Run(orders, scores, tag)


def _by_score(results: Mapping[str, float]) -> tuple[str, ...]:
    names = sorted(results, key=_as_bytes, reverse=True)
    single = _single([results[name] for name in names])
    return tuple(names[at] for at in np.argsort(-single, kind="stable"))


def _single(scores: Sequence[float]) -> NDArray[np.float32]:
    return np.array(scores, np.float32)


def _as_bytes(name: str) -> bytes:
    """What trec_eval compares: the bytes in the file."""
    return escaped(name).encode()


def _score(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(np.float32(value)):
        raise EvaluationError(f"{where}: {text!r} is no score")
    return value


def read_qrels(file: str | Path) -> Qrels:
    """Qrels, or a file of junk; raises EvaluationError for a line that is none."""
    table: Qrels = {}
    for where, (query, _, image, relevance) in _lines(Path(file), QRELS_LINE):
        try:
            value = int(relevance)
        except ValueError as error:
            raise EvaluationError(f"{where}: relevance {relevance!r} is no whole number") from error
        if table.setdefault(query, {}).setdefault(image, value) != value:
            raise EvaluationError(f"{where}: {image!r} is judged twice for {query!r}, and differently")
    return table


def _lines(file: Path, layout: str) -> Iterator[tuple[str, list[str]]]:
    """(place, fields) of each line, with names unescaped."""
    try:
        with file.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                fields = line.split()
                if len(fields) != len(layout.split()):
                    if not fields:
                        continue
                    raise EvaluationError(f"{file} line {number}: expected {layout}")
                yield f"{file} line {number}", [unescaped(field) for field in fields]
    except OSError as error:
        raise EvaluationError(f"{file}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{file}: not UTF-8 text") from error


def evaluate_run(
    run: str | Path,
    qrels: str | Path,
    junk: str | Path | None = None,
    protocol: str | None = None,
    k: Sequence[int] | None = None,
) -> Report:
    """Score a run that was made elsewhere by `protocol` (original by default).

    Positives that a run does not list count as never found, as in trec_eval; a k beyond what it lists is refused.
    Raises EvaluationError for a query of `qrels` that the run lacks.
    """
    chosen = _protocol(protocol)
    ranked, judgements = read_run(run), read_qrels(qrels)
    ignored = read_qrels(junk) if junk else {}
    missing = [query for query in judgements if query not in ranked.images]
    if missing:
        count = counted(len(missing), f"query of {qrels} is", f"queries of {qrels} are")
        raise EvaluationError(f"{count} not in {run}: {abridged(missing)}")
    queries = [_judged(query, ranked, _truths(chosen, query, judgements, ignored), chosen) for query in judgements]
    if not queries:
        raise EvaluationError(f"{qrels}: no judgements; a line is {QRELS_LINE}")
    ks = settle(chosen, k, queries)
    results = [score(query, chosen, ks) for query in queries]
    return Report(
        dataset=f"run judged by {Path(qrels).name}",
        protocol=chosen.name,
        encoder=ranked.tag,
        fingerprint=sha256_of(Path(run)),
        uncropped=False,
        rerank=(),
        ks=ks,
        gallery=GalleryFacts(len({image for images in ranked.images.values() for image in images}), 0),
        setups=summarise(results, chosen, ks),
        queries=tuple(results),
        cost=Cost(0.0, 0.0, 0, 0),
        notes=(*_notes(ranked, judgements), *unscored(chosen, ks)),
        of_run=True,
        made=_provenance(protocol, k, *(Path(file) for file in (run, qrels, junk) if file)),
    )


def _provenance(protocol: str | None, k: Sequence[int] | None, *files: Path) -> Provenance:
    """`files` are the run, the qrels and perhaps the junk."""
    run, qrels, *junk = (str(file.resolve()) for file in files)
    options = EvaluationOptions("run", run, None, protocol, tuple(k) if k else None)
    options = replace(options, qrels=qrels, junk=junk[0] if junk else None)
    return Provenance(options, {}, {file.name: sha256_of(file) for file in files})


def _protocol(name: str | None) -> Protocol:
    names = [name for name, protocol in PROTOCOLS.items() if protocol.retrieved is None and not protocol.micro]
    if (name or "original") not in names:
        raise EvaluationError(f"a run is not scored by protocol {name!r}; there are {', '.join(names)}")
    return PROTOCOLS[name or "original"]


def _truths(protocol: Protocol, query: str, judgements: Qrels, ignored: Qrels) -> dict[str, Truth]:
    relevant = {image: value for image, value in judgements[query].items() if value > 0}
    junk = frozenset(ignored.get(query, ()))
    both = sorted(junk & relevant.keys())
    if both:
        raise EvaluationError(f"{query}: both positive and junk: {abridged(both)}")
    if len(protocol.setups) == 1:
        return {protocol.setups[0]: Truth(frozenset(relevant), junk)}
    if not set(relevant.values()) <= {EASY, HARD}:
        raise EvaluationError(
            f"{query}: protocol {protocol.name} reads relevance {EASY} as easy and {HARD} as hard only"
        )
    easy, hard = (frozenset(image for image, value in relevant.items() if value == label) for label in (EASY, HARD))
    return {"easy": Truth(easy, junk | hard), "medium": Truth(easy | hard, junk), "hard": Truth(hard, junk | easy)}


def _judged(name: str, run: Run, truths: Mapping[str, Truth], protocol: Protocol) -> JudgedQuery:
    images = run.images[name]
    places = {image: at for at, image in enumerate(images)}
    judged = {
        setup: judge(
            np.arange(len(images)),
            {places[image] for image in truth.positives & places.keys()},
            {places[image] for image in truth.junk & places.keys()},
            len(truth.positives - places.keys()),
        )
        for setup, truth in truths.items()
    }
    query = BenchmarkQuery(name, Path(name), None, truths)
    head = tuple(
        JudgedResult(rank, image, None, value, _verdict(image, _main(query)))
        for rank, (image, value) in enumerate(zip(images[:SHOWN], run.scores[name], strict=False), 1)
    )
    return JudgedQuery(query, name, {setup: judged[setup] for setup in protocol.setups}, head)


def _verdict(image: str, truth: Truth) -> Verdict:
    return "positive" if image in truth.positives else "junk" if image in truth.junk else "negative"


def _notes(run: Run, judgements: Qrels) -> Iterator[str]:
    unjudged = [query for query in run.images if query not in judgements]
    if unjudged:
        yield f"queries without judgements, left out: {abridged(unjudged)}"
    relevant = {query: [image for image, value in images.items() if value > 0] for query, images in judgements.items()}
    absent = [image for query, images in relevant.items() for image in sorted(set(images) - set(run.images[query]))]
    if absent:
        yield f"positives that the run does not list, counted as never found: {abridged(dict.fromkeys(absent))}"
