"""A benchmark to a report: embed its gallery, search for its queries, judge the rankings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from lookalike.encoders import with_options
from lookalike.encoders.default import open_encoder
from lookalike.errors import EvaluationError
from lookalike.evaluation.answers import (
    QueryVectors,
    answers,
    ask_collection,
    embed_gallery,
)
from lookalike.evaluation.calibration import calibrate
from lookalike.evaluation.calibration_samples import collect
from lookalike.evaluation.datasets import DATASETS
from lookalike.evaluation.datasets.benchmark import Benchmark
from lookalike.evaluation.protocols import Protocol, protocol_for
from lookalike.evaluation.provenance import EvaluationOptions, Provenance, truth_digest, weights
from lookalike.evaluation.replay import replayed
from lookalike.evaluation.report import Calibration, Cost, Report
from lookalike.evaluation.scoring import (
    Judge,
    describe_gallery,
    gallery_notes,
    open_benchmark,
    score,
    settle,
    summarise,
    unscored,
)
from lookalike.evaluation.trec import NO_FILES, TrecFiles, exported, recorded, write_truth
from lookalike.integrations.addresses import stored
from lookalike.search.confidence import model_for
from lookalike.types import Encoder, Progress, Reranker
from lookalike.utils.arguments import several, whole


@dataclass(frozen=True)
class Measurement:
    """What is measured and how: a benchmark by a protocol; see `evaluate` for the rest."""

    benchmark: Benchmark
    protocol: Protocol
    k: Sequence[int] | None = None
    uncropped: bool = False
    rerankers: tuple[Reranker, ...] = ()
    engine: str | None = None
    calibration: bool = False
    files: TrecFiles = NO_FILES


def evaluate(  # noqa: PLR0913 - the keywords make one object, and behind them nothing takes so many
    dataset: str | Benchmark,
    root: str | Path | None = None,
    encoder: str | Encoder | None = None,
    protocol: str | None = None,
    k: int | Sequence[int] | None = None,
    uncropped: bool = False,
    distractors: str | Path | Iterable[str | Path] = (),
    rerank: str | Reranker | Iterable[str | Reranker] = (),
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    engine: str | None = None,
    calibration: bool = False,
    files: TrecFiles = NO_FILES,
) -> Report:
    """Measure `encoder` on `dataset` by the search path of a collection.

    Parameters
    ----------
    dataset
        A name in DATASETS (oxford5k, paris6k, roxford5k, rparis6k, revisited, vgg, copies, ilias,
        folders, pairs), or a `Benchmark`.
    root
        The folder in which a data set of that name lies.
    encoder
        A name, a path or an `Encoder`; by default `dinov2-base`, or the best one that can be had without a model hub.
    protocol
        original, revisited, landmarks, copies, ilias or report; by default the data set's own.
    k
        Where ranked lists are cut, in results. By default the protocol's own, as far as the gallery reaches.
    uncropped
        Search with whole photos instead of their boxes, as the published DINOv2 figures do.
    distractors
        Folders of images that are searched too and never right.
    rerank
        Specs such as ``"alpha-qe,k=10"``, or re-rankers, applied in this order.
    cache
        The folder where embeddings are kept, so that a second run computes none; by default the user's cache.
    progress
        Is given the number of images embedded so far, and how many there are.
    engine
        The URI of a search server that is to hold and search the vectors.
    calibration
        Measure how far confidences can be believed, too; see `evaluation.calibration`.
    files
        TREC files to write: the rankings as a run, the ground truth as qrels and a list of junk; also ILIAS' JSON.

    Returns
    -------
    Report
        Mean figures of each setup, the figures and the first results of each query, costs and notes.

    Raises
    ------
    EvaluationError
        Where the ground truth contradicts itself, or a `k` cannot be retrieved.
    EngineError
        Where the server of `engine` cannot be reached.

    Examples
    --------
    >>> from pathlib import Path
    >>> from lookalike.evaluation.datasets.synthetic import render
    >>> render(Path("town"), buildings=2, views=3, distractors=0)
    >>> report = lookalike.evaluate("vgg", root="town", encoder="thumbnail", k=[1, 5])
    >>> report.heading()
    'vgg · protocol original · thumbnail · cropped queries · 4 queries · 6 images'
    >>> 0 < report.map <= 1
    True
    """
    rerank = several("rerank", rerank)
    k = None if k is None else _cuts(k)
    benchmark = open_benchmark(dataset, root, several("distractors", distractors))
    chosen = protocol_for(benchmark, protocol)
    rerankers = tuple(_reranker(spec) for spec in rerank)
    measurement = Measurement(benchmark, chosen, k, uncropped, rerankers, engine, calibration, files)
    if chosen.name == "report":
        _refuse_unreplayed(measurement)
        report = replayed(benchmark, encoder, k, uncropped, cache, progress)
    else:
        report = _measure(measurement, open_encoder(encoder), cache, progress)
    options = EvaluationOptions(
        dataset=benchmark.name if benchmark.name in DATASETS else None,
        root=str(Path(root).expanduser().resolve()) if root and isinstance(dataset, str) else None,
        encoder=with_options(report.encoder),
        protocol=protocol,
        k=tuple(k) if k else None,
        uncropped=uncropped,
        distractors=tuple(str(folder.resolve()) for folder in benchmark.distractors),
        rerank=tuple(spec if isinstance(spec, str) else None for spec in rerank),
        engine=stored(engine) if engine else None,
        calibration=calibration,
    )
    return replace(report, made=_provenance(options, benchmark, report))


def _cuts(k: int | Sequence[int]) -> tuple[int, ...]:
    each = tuple(k) if isinstance(k, Iterable) and not isinstance(k, str) else (k,)
    return tuple(whole("k", cut) for cut in each)


def _provenance(options: EvaluationOptions, benchmark: Benchmark, report: Report) -> Provenance:
    data = {"images": report.gallery.digest, "ground_truth": truth_digest(benchmark)}
    return Provenance(options, weights(report.encoder), data)


def _refuse_unreplayed(measurement: Measurement) -> None:
    """Raise EvaluationError for what the report did not do."""
    if measurement.rerankers:
        raise EvaluationError("the report re-ranked nothing: --protocol report does not go with --rerank")
    if measurement.calibration:
        raise EvaluationError("the report had no confidence: --protocol report does not go with --calibration")
    if measurement.engine:
        raise EvaluationError("the report searched no server: --protocol report does not go with --engine")
    if measurement.files != NO_FILES:
        raise EvaluationError("a run is of whole rankings: --protocol report does not go with --run and the like")


def _measure(measurement: Measurement, encoder: Encoder, cache: Path | None, progress: Progress | None) -> Report:
    benchmark, protocol = measurement.benchmark, measurement.protocol
    embedded = embed_gallery(benchmark, encoder, cache, progress, measurement.engine)
    vectors = QueryVectors(embedded.collection.path / "queries.npz", encoder.fingerprint)
    ask = vectors.remember(ask_collection(embedded.collection))
    with embedded.collection as collection:
        judge = Judge(collection, protocol, benchmark.images)
        seconds, judged = 0.0, []
        ranked = answers(benchmark, collection, ask, measurement.uncropped, measurement.rerankers)
        with_run = recorded(ranked, collection, encoder.name, measurement.files.run)
        for answer in exported(with_run, collection, measurement.files.similarities):
            judged.append(judge.read(answer))
            seconds += answer.seconds
        calibrations: tuple[Calibration, ...] = ()
        if measurement.calibration:
            samples = collect(benchmark, collection, ask, measurement.uncropped, progress)
            calibrations = calibrate(samples, model_for(encoder.fingerprint))
        vectors.save()
        notes = gallery_notes(benchmark, embedded, judge.absent, measurement.uncropped)
        gallery = describe_gallery(benchmark, embedded)
    write_truth((query.query for query in judged), measurement.files)
    ks = settle(protocol, measurement.k, judged)
    results = [score(query, protocol, ks) for query in judged]
    return Report(
        dataset=benchmark.name,
        protocol=protocol.name,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        uncropped=measurement.uncropped,
        rerank=tuple(str(reranker) for reranker in measurement.rerankers),
        ks=ks,
        gallery=gallery,
        setups=summarise(results, protocol, ks),
        queries=tuple(results),
        cost=Cost(embedded.seconds, seconds, embedded.added, 4 * encoder.dim),
        notes=(*notes, *unscored(protocol, ks)),
        leave_one_out=benchmark.leave_one_out,
        calibrations=calibrations,
        micro=judge.pairs.figures() if judge.pairs else None,
    )


def _reranker(spec: str | Reranker) -> Reranker:
    if not isinstance(spec, str):
        return spec
    parse: Callable[[str], Reranker] = import_module("lookalike.search.rerank").parse
    return parse(spec)
