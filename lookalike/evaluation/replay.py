"""The report's evaluation replayed with its faults, then corrected fault by fault.

What it did: dinov2-base CLS vectors in an IndexFlatL2; the gallery resized to a shorter side of 256 (bicubic), cut to
the central 224 and normalised with ImageNet's statistics; queries resized to 244, cut to 224 and normalised with mean
and standard deviation 0.5; 5 results retrieved, and their hits divided by 5, 10, 15 and 20; junk counted as wrong. Its
third preprocessing, a squash to 224, belongs to its web service and changes no figure.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders.default import open_encoder
from lookalike.encoders.pipeline import BATCH
from lookalike.evaluation.answers import Ask, QueryVectors, answers, ask_collection, ask_encoder, embed_gallery
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Truth
from lookalike.evaluation.metrics import Judged, average_precision, average_precision_at, mean, precision_at
from lookalike.evaluation.protocols import PROTOCOLS, protocol_for, whole_ks
from lookalike.evaluation.report import Cost, Figures, Report, Scored, aligned, decimal, shown_as
from lookalike.evaluation.scoring import Judge, JudgedQuery, describe_gallery, gallery_notes, open_benchmark, settle
from lookalike.images import decode as images
from lookalike.types import Encoder, Picture, Progress, Vectors
from lookalike.utils.text import counted

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PROTOCOL = PROTOCOLS["report"]
NOT_REPLAYED = (
    "not replayed: vectors without L2 normalisation; an encoder gives unit rows here, on which IndexFlatL2 and the "
    "cosine rank alike"
)


@dataclass(frozen=True)
class Preprocessing:
    """Resize the shorter side to `resize`, and cut out the centre of `crop` x `crop` pixels.

    `halves` replays the normalisation with mean = std = 0.5 for an encoder that applies ImageNet's statistics: pixel
    values are changed so that the network sees what the wrong normalisation would have given it.
    """

    resize: int
    crop: int
    resample: Image.Resampling
    halves: bool = False

    def __call__(self, image: Image.Image) -> Image.Image:
        """An upright RGB image to one of `crop` x `crop` pixels."""
        factor = self.resize / min(image.size)
        size = (max(self.crop, round(image.width * factor)), max(self.crop, round(image.height * factor)))
        resized = image.resize(size, self.resample)
        left, top = (resized.width - self.crop) // 2, (resized.height - self.crop) // 2
        cut = resized.crop((left, top, left + self.crop, top + self.crop))
        return _as_if_halves(cut) if self.halves else cut


def _as_if_halves(image: Image.Image) -> Image.Image:
    seen = (np.asarray(image, np.float64) / 255 - 0.5) / 0.5
    moved = seen * np.array(IMAGENET_STD) + np.array(IMAGENET_MEAN)
    return Image.fromarray(np.clip(np.rint(moved * 255), 0, 255).astype(np.uint8))


GALLERY = Preprocessing(256, 224, Image.Resampling.BICUBIC)
# torchvision's Resize is bilinear by default.
QUERY = Preprocessing(244, 224, Image.Resampling.BILINEAR, halves=True)


class PreprocessedEncoder:
    """An encoder with one of the report's preprocessings before its own."""

    def __init__(self, encoder: Encoder, step: Preprocessing) -> None:
        self._encoder, self._step = encoder, step
        self.name, self.dim = encoder.name, encoder.dim
        self.fingerprint = f"{encoder.fingerprint}|{step}"
        self.decode_size: int | None = step.resize
        self.batch_size: int = getattr(encoder, "batch_size", BATCH)

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """The report's step, then the encoder's own preparation; the full size no longer applies."""
        return self._encoder.prepare(self._step(image))

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        """As the encoder does."""
        return self._encoder.encode_batch(prepared)

    def encode(self, pictures: Sequence[Picture]) -> Vectors:
        """Images or paths to (n, dim) unit rows."""
        return images.encode_images(self, pictures)


def replayed_precision_at(judged: Judged, k: int) -> float:
    """The report's P@k: the hits among the retrieved results over k, which may exceed their number."""
    return int((judged.positions < k).sum()) / k if judged.total else float("nan")


def replayed_average_precision_at(judged: Judged, k: int) -> float:
    """The report's mAP@k of a query: the sum of the precision at each retrieved hit, over min(k, R)."""
    if not judged.total:
        return float("nan")
    hits = judged.positions[judged.positions < k]
    return float((np.arange(1, len(hits) + 1) / (hits + 1)).sum() / min(k, judged.total))


REPLAYED = {"map": replayed_average_precision_at, "precision": replayed_precision_at}
RIGHT = {"map": average_precision_at, "precision": precision_at}


def replayed_table(judged: Iterable[Judged], ks: Sequence[int]) -> dict[str, dict[int, float]]:
    """The report's two figures, averaged over queries of which only the first results were retrieved."""
    queries = list(judged)
    return {name: {k: mean(figure(query, k) for query in queries) for k in ks} for name, figure in REPLAYED.items()}


@dataclass(frozen=True)
class MendedStage:
    """The figures once all faults up to `mended` are corrected; the mAP is NaN where it is unknown."""

    mended: str
    map: float
    at: Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class FaultExplanation:
    """The stages from the report's table to the correct one; `aside` is a variant of the protocol, not a fault."""

    heading: str
    ks: tuple[int, ...]
    stages: tuple[MendedStage, ...]
    aside: MendedStage
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Figures of every stage; points are the change from the stage before."""
        return {
            "heading": self.heading,
            "k": list(self.ks),
            "stages": [
                {
                    "mended": stage.mended,
                    "map": None if np.isnan(stage.map) else stage.map,
                    **{f"{name}_at": {str(k): stage.at[name][k] for k in self.ks} for name in RIGHT},
                }
                for stage in (*self.stages, self.aside)
            ],
            "notes": list(self.notes),
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write explanation.json and explanation.txt into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"explanation.json": json.dumps(self.to_json(), indent=1) + "\n", "explanation.txt": self.text() + "\n"}
        for name, text in texts.items():
            (folder / name).write_text(text, "utf-8")
        return [folder / name for name in texts]

    def text(self) -> str:
        """Both tables, and the effect of each fault in points."""
        first, last = self.stages[0], self.stages[-1]
        parts = [self.heading, "", "as the report measured:", *self._figures(first), ""]
        parts += ["corrected:", *self._figures(last), "", "what each fault is worth, in points:"]
        return "\n".join([*parts, aligned(self._ladder()), "", *(f"note: {note}" for note in self.notes)])

    def _figures(self, stage: MendedStage) -> list[str]:
        *rows, whole = self._table(stage)
        return [f"mAP {whole[1]}, over the whole list", aligned(rows)]

    def _table(self, stage: MendedStage) -> list[list[str]]:
        rows = [["k", *map(str, self.ks), ""]]
        for name, label in (("map", "MAP@k"), ("precision", "P@k")):
            rows.append([label, *(decimal(stage.at[name][k]) for k in self.ks), ""])
        return [*rows, ["mAP", decimal(stage.map), *[""] * (len(self.ks) - 1), "over the whole list"]]

    def _ladder(self) -> list[list[str]]:
        columns = [(name, k) for name in RIGHT for k in self.ks]
        labels = {"map": "MAP", "precision": "P"}
        rows = [["mended", "mAP", *(f"{labels[name]}@{k}" for name, k in columns), ""]]
        for before, stage in zip(self.stages, self.stages[1:], strict=False):
            rows.append([stage.mended, *self._points(before, stage), ""])
        rows.append(["all of them", *self._points(self.stages[0], self.stages[-1]), ""])
        return [*rows, [self.aside.mended, *self._points(self.stages[-1], self.aside), "no fault: not in the sum"]]

    def _points(self, before: MendedStage, after: MendedStage) -> list[str]:
        changes = [after.map - before.map, *(after.at[name][k] - before.at[name][k] for name in RIGHT for k in self.ks)]
        return ["–" if np.isnan(change) else f"{100 * change:+.1f}" for change in changes]


class _Replay:
    """Judged rankings of a benchmark for different preprocessings of gallery and queries."""

    def __init__(
        self, benchmark: Benchmark, encoder: Encoder, uncropped: bool, cache: Path | None, progress: Progress | None
    ) -> None:
        self.benchmark, self.encoder, self.uncropped = benchmark, encoder, uncropped
        self._cache, self._progress = cache, progress

    def judged(self, benchmark: Benchmark, gallery: Encoder, query: Encoder | None = None) -> list[JudgedQuery]:
        """All queries, judged; `query` encodes them where they are not prepared like the gallery."""
        self.embedded = embed_gallery(benchmark, gallery, self._cache, self._progress)
        with self.embedded.collection as collection:
            fingerprint = (query or gallery).fingerprint
            vectors = QueryVectors(collection.path / "queries.npz", fingerprint)
            ask: Ask = vectors.remember(ask_encoder(query) if query else ask_collection(collection))
            judge = Judge(collection, PROTOCOL, benchmark.images)
            queries = [judge.read(answer) for answer in answers(benchmark, collection, ask, self.uncropped)]
            vectors.save()
            self.notes = gallery_notes(benchmark, self.embedded, judge.absent, self.uncropped)
            self.gallery = describe_gallery(benchmark, self.embedded)
        return queries


def _without_junk(benchmark: Benchmark) -> Benchmark:
    """The benchmark as the report read it: junk counts as wrong."""
    queries = tuple(
        replace(query, truths={setup: Truth(truth.positives) for setup, truth in query.truths.items()})
        for query in benchmark.queries
    )
    return replace(benchmark, queries=queries)


def _without_own_photo(benchmark: Benchmark) -> Benchmark:
    """The benchmark with each query's own photo removed from its gallery and its ground truth."""

    def own(query: BenchmarkQuery) -> frozenset[str]:
        key = query.key(benchmark.images)
        return frozenset() if key is None else frozenset({key})

    queries = tuple(
        replace(
            query,
            hidden=query.hidden | own(query),
            truths={
                setup: Truth(truth.positives - own(query), truth.junk - own(query))
                for setup, truth in query.truths.items()
            },
        )
        for query in benchmark.queries
    )
    return replace(benchmark, queries=queries)


def _head(query: JudgedQuery, retrieved: int) -> Judged:
    """A judged list cut to its first `retrieved` results."""
    judged = query.judged["all"]
    positions = judged.positions[judged.positions < retrieved]
    return Judged(positions, min(retrieved, judged.length), judged.total, judged.absent)


def _right(mended: str, queries: Sequence[JudgedQuery], ks: Sequence[int]) -> MendedStage:
    judged = [query.judged["all"] for query in queries]
    at = {name: {k: mean(figure(query, k) for query in judged) for k in ks} for name, figure in RIGHT.items()}
    return MendedStage(mended, mean(average_precision(query) for query in judged), at)


def replayed(
    benchmark: Benchmark,
    encoder: str | Encoder | None,
    k: Sequence[int] | None = None,
    uncropped: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """The report's protocol on this benchmark: its preprocessings, 5 results retrieved, junk wrong."""
    loaded = open_encoder(encoder)
    replay = _Replay(benchmark, loaded, uncropped, cache, progress)
    queries = replay.judged(
        _without_junk(benchmark), PreprocessedEncoder(loaded, GALLERY), PreprocessedEncoder(loaded, QUERY)
    )
    ks = whole_ks(k) if k else PROTOCOL.ks
    heads = [_head(query, PROTOCOL.retrieved or 0) for query in queries]
    results = []
    for query, head in zip(queries, heads, strict=True):
        at = {name: {k: figure(head, k) for k in ks} for name, figure in REPLAYED.items()}
        scored = Scored(float("nan"), at, head.total, 0, tuple((head.positions + 1).tolist()))
        results.append(query.result({"all": scored}, PROTOCOL.retrieved))
    scored_queries = sum(1 for head in heads if head.total)
    return Report(
        dataset=benchmark.name,
        protocol=PROTOCOL.name,
        encoder=loaded.name,
        fingerprint=loaded.fingerprint,
        uncropped=uncropped,
        rerank=(),
        ks=ks,
        gallery=replay.gallery,
        setups={"all": Figures(float("nan"), replayed_table(heads, ks), scored_queries)},
        queries=tuple(results),
        cost=Cost(replay.embedded.seconds, 0.0, replay.embedded.added, 4 * loaded.dim),
        notes=("figures for k > 5 are wrong, on purpose; see --explain", *replay.notes, NOT_REPLAYED),
        leave_one_out=benchmark.leave_one_out,
    )


def explain(
    dataset: str | Benchmark,
    root: str | Path | None = None,
    encoder: str | Encoder | None = None,
    k: Sequence[int] | None = None,
    uncropped: bool = False,
    distractors: Iterable[str | Path] = (),
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> FaultExplanation:
    """Replay the report on `dataset`, then correct its faults one after the other; raises EvaluationError."""
    benchmark = open_benchmark(dataset, root, distractors)
    protocol_for(benchmark, PROTOCOL.name)
    loaded = open_encoder(encoder)
    replay = _Replay(benchmark, loaded, uncropped, cache, progress)
    gallery, query = PreprocessedEncoder(loaded, GALLERY), PreprocessedEncoder(loaded, QUERY)
    faulty = replay.judged(_without_junk(benchmark), gallery, query)
    no_junk = replay.judged(benchmark, gallery, query)
    same = replay.judged(benchmark, gallery)
    whole = replay.judged(benchmark, loaded)
    alone = replay.judged(_without_own_photo(benchmark), loaded)
    ks = settle(PROTOCOL, k, [*no_junk, *alone])
    heads = [_head(judged, PROTOCOL.retrieved or 0) for judged in faulty]
    stages = (
        MendedStage("nothing", float("nan"), replayed_table(heads, ks)),
        _right("as many results retrieved as are scored", faulty, ks),
        _right("junk taken out before ranks are counted", no_junk, ks),
        _right("queries prepared like the gallery", same, ks),
        _right("the whole image, not its centre 224", whole, ks),
    )
    queries = shown_as((query.box for query in benchmark.queries), uncropped)
    return FaultExplanation(
        f"{benchmark.name} · {loaded.name} · {queries} · {counted(len(benchmark.queries), 'query', 'queries')}",
        ks,
        stages,
        _right("the query's own photo left out", alone, ks),
        (NOT_REPLAYED, "the original protocol keeps the query's own photo in the gallery, and so does the table above"),
    )
