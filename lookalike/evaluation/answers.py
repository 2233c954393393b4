"""A benchmark and an encoder to rankings of the whole gallery, by the search of a collection."""

import hashlib
import logging
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lookalike.collection.collection import Collection
from lookalike.errors import EvaluationError, LookalikeError
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery
from lookalike.images import decode as images
from lookalike.integrations.addresses import stored
from lookalike.search.options import SearchOptions
from lookalike.search.query import Query
from lookalike.types import Box, Encoder, Probe, Progress, Ranking, Reranker, Vectors
from lookalike.utils.files import replacing
from lookalike.utils.paths import cache_dir

log = logging.getLogger(__name__)

Ask = Callable[[BenchmarkQuery, Box | None], Probe]
"""A query, and the box to cut it to (None: whole), to a probe."""


@dataclass(frozen=True)
class QueryRanking:
    """A query and the gallery ranked for it; `seconds` is the time of the search without the encoding."""

    query: BenchmarkQuery
    ranking: Ranking
    seconds: float


@dataclass(frozen=True)
class EmbeddedGallery:
    """The benchmark's gallery as a collection; this run added `added` images in `seconds`."""

    collection: Collection
    seconds: float
    added: int

    @cached_property
    def skipped(self) -> list[tuple[str, str]]:
        """(key, reason) of images that could not be used."""
        return self.collection.skipped()


def embed_gallery(
    benchmark: Benchmark,
    encoder: Encoder,
    cache: Path | None = None,
    progress: Progress | None = None,
    engine: str | None = None,
) -> EmbeddedGallery:
    """The gallery and its distractors, embedded into a collection under `cache` that later runs reuse.

    With the URI of an `engine`, the collection keeps its vectors there.
    """
    sources = [benchmark.images, *benchmark.distractors]
    text = "\n".join(
        [*(str(source.resolve()) for source in sources), encoder.fingerprint, *([stored(engine)] if engine else [])]
    )
    folder = (cache or cache_dir("evaluate")) / hashlib.sha256(os.fsencode(text)).hexdigest()[:24]
    folder.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    collection = Collection(folder, encoder, engine=engine)
    # A cache, which has to have exactly what the data set has.
    report = collection.index(sources, progress, allow_removals=True)
    log.debug("%s: %s", folder, report)
    return EmbeddedGallery(collection, time.perf_counter() - started, report.added)


def answers(
    benchmark: Benchmark,
    collection: Collection,
    ask: Ask,
    uncropped: bool = False,
    rerankers: Sequence[Reranker] = (),
    progress: Progress | None = None,
) -> Iterator[QueryRanking]:
    """The ranking of every query, in order; raises EvaluationError with the name of a query that fails.

    Unreadable images of the gallery that are queries are passed over, see `is_unreadable`.
    """
    for done, query in enumerate(benchmark.queries):
        if is_unreadable(query, benchmark, collection):
            continue
        if not len(collection.gallery.view(exclude=query.hidden)):
            raise EvaluationError(f"query {query.name}: the gallery is empty")
        options = SearchOptions(k=len(collection), exclude=query.hidden, rerank=tuple(rerankers))
        try:
            probe = ask(query, None if uncropped else query.box)
            started = time.perf_counter()
            ranking = collection.rank(Query((probe,)), options).ranking
            seconds = time.perf_counter() - started
        except LookalikeError as error:
            raise EvaluationError(f"query {query.name}: {error}") from error
        if progress:
            progress(done + 1, len(benchmark.queries))
        yield QueryRanking(query, ranking, seconds)


def is_unreadable(query: BenchmarkQuery, benchmark: Benchmark, collection: Collection) -> bool:
    """Whether a query is an image of the gallery that is hidden from itself alone and could not be indexed."""
    own = query.key(benchmark.images)
    return own is not None and query.hidden == {own} and collection.row(own) is None


def ask_collection(collection: Collection) -> Ask:
    """Queries as the collection resolves them."""
    return lambda query, box: collection.resolve(Query((query.image,), box=box)).probe


def ask_encoder(encoder: Encoder) -> Ask:
    """Queries by an encoder of their own, which need not be the gallery's."""

    def ask(query: BenchmarkQuery, box: Box | None) -> Probe:
        decoded = images.load(query.image, size=encoder.decode_size, box=box)
        vectors = encoder.encode_batch([images.prepare(encoder, decoded)])
        return Probe(vectors, lambda: images.load(query.image, box=box).image)

    return ask


class QueryVectors:
    """Query vectors stored beside a collection, so that a second run encodes nothing.

    A vector is identified by the content of its file, its box, and the encoder's fingerprint.
    """

    def __init__(self, file: Path, fingerprint: str) -> None:
        self._file, self._fingerprint = file, fingerprint
        self._vectors: dict[str, Vectors] = {}
        self._changed = False
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                self._vectors = {name: stored[name] for name in stored.files}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            log.warning("%s cannot be read and is made again (%s)", file, error)

    def remember(self, ask: Ask) -> Ask:
        """`ask`, called only for vectors that are not stored yet."""

        def remembered(query: BenchmarkQuery, box: Box | None) -> Probe:
            name = self._name(query, box)
            if name not in self._vectors:
                self._vectors[name] = ask(query, box).vectors
                self._changed = True
            return Probe(self._vectors[name], lambda: images.load(query.image, box=box).image)

        return remembered

    def save(self) -> None:
        """Write the file again where vectors are new."""
        if not self._changed:
            return
        with replacing(self._file, durable=False) as file:
            np.savez(file, **self._vectors)  # type: ignore[arg-type]

    def _name(self, query: BenchmarkQuery, box: Box | None) -> str:
        digest = hashlib.sha256(images.read(query.image))
        digest.update(f"|{box}|{self._fingerprint}".encode())
        return digest.hexdigest()


def boxes_beyond(benchmark: Benchmark, collection: Collection) -> list[str]:
    """Queries whose box exceeds its image by over a pixel; only images of the gallery are checked."""
    names = []
    for query in benchmark.queries:
        key = query.key(benchmark.images) if query.box else None
        row = collection.row(key) if key is not None else None
        if query.box is None or row is None:
            continue
        item, box = collection.gallery.item(row), query.box
        if min(box.left, box.top) < -1 or box.right > item.width + 1 or box.bottom > item.height + 1:
            names.append(query.name)
    return names
