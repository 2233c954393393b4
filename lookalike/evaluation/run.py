"""A benchmark to a report: embed its gallery, ask its queries, judge what comes back."""

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path

from lookalike.encoders import load_encoder
from lookalike.errors import EvaluationError
from lookalike.evaluation.answers import (
    QueryVectors,
    answers,
    ask_collection,
    embed_gallery,
)
from lookalike.evaluation.datasets.benchmark import Benchmark
from lookalike.evaluation.protocols import protocol_for
from lookalike.evaluation.replay import replayed
from lookalike.evaluation.report import Cost, Report
from lookalike.evaluation.scoring import (
    Judge,
    describe_gallery,
    gallery_notes,
    open_benchmark,
    score,
    settle,
    summarise,
)
from lookalike.types import Encoder, Progress, Reranker


def evaluate(  # noqa: PLR0913 - one argument for each option of the command
    dataset: str | Benchmark,
    root: str | Path | None = None,
    encoder: str | Encoder = "rootsift",
    protocol: str | None = None,
    k: Sequence[int] | None = None,
    uncropped: bool = False,
    distractors: Iterable[str | Path] = (),
    rerank: Iterable[str | Reranker] = (),
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    engine: str | None = None,
) -> Report:
    """Measure `encoder` on `dataset` (a name in DATASETS with its `root`, or a Benchmark).

    `k` defaults to the protocol's own, as far as the gallery reaches; one that was asked for and cannot be retrieved is
    refused. `uncropped` asks with whole photos, as the published DINOv2 figures do. `rerank` are specs such as
    "alpha-qe,k=10" or re-rankers. Embeddings are kept under `cache`, so that a second run is instant. `engine`
    is the URI of a search server that is to hold and search them. Raises EvaluationError, and EngineError.
    """
    benchmark = open_benchmark(dataset, root, distractors)
    chosen = protocol_for(benchmark, protocol)
    rerankers = [_reranker(one) for one in rerank]
    if chosen.name == "report":
        if rerankers:
            raise EvaluationError("the report re-ranked nothing: --protocol report does not go with --rerank")
        if engine:
            raise EvaluationError("the report searched no server: --protocol report does not go with --engine")
        return replayed(benchmark, encoder, k, uncropped, cache, progress)
    loaded = load_encoder(encoder) if isinstance(encoder, str) else encoder
    embedded = embed_gallery(benchmark, loaded, cache, progress, engine)
    vectors = QueryVectors(embedded.collection.path / "queries.npz", loaded.fingerprint)
    ask = vectors.remember(ask_collection(embedded.collection))
    with embedded.collection as collection:
        reader = Judge(collection, chosen, benchmark.images)
        seconds, reads = 0.0, []
        for answer in answers(benchmark, collection, ask, uncropped, rerankers):
            reads.append(reader.read(answer))
            seconds += answer.seconds
        vectors.save()
        notes = gallery_notes(benchmark, embedded, reader.absent, uncropped)
        gallery = describe_gallery(benchmark, embedded)
    ks = settle(chosen, k, reads)
    results = [score(read, chosen, ks) for read in reads]
    return Report(
        dataset=benchmark.name,
        protocol=chosen.name,
        encoder=loaded.name,
        fingerprint=loaded.fingerprint,
        uncropped=uncropped,
        rerank=tuple(str(reranker) for reranker in rerankers),
        ks=ks,
        gallery=gallery,
        setups=summarise(results, chosen, ks),
        queries=tuple(results),
        cost=Cost(embedded.seconds, seconds, embedded.added, 4 * loaded.dim),
        notes=notes,
    )


def _reranker(spec: str | Reranker) -> Reranker:
    if not isinstance(spec, str):
        return spec
    parse: Callable[[str], Reranker] = import_module("lookalike.search.rerank").parse
    return parse(spec)
