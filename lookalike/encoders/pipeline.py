"""Source entries to vectors: reading, decoding and preparing run ahead in threads, within a bounded window."""

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders import workers
from lookalike.errors import ImageError
from lookalike.images.facts import PhotoFacts
from lookalike.images.sources import SourceEntry
from lookalike.types import Preparation
from lookalike.utils.cores import cores
from lookalike.utils.threads import Threads

BATCH = 8
CHUNKS = 4
"""A thread takes a quarter of a batch at once: it asks once which contents are known, and is waited for once."""
CHUNK_BYTES = 4 << 20
"""A chunk ends where its files are this large together: they are all in memory at once."""
Prepare = Callable[[bytes], workers.Prepared]
Known = Callable[[Sequence[str]], AbstractSet[str]]
"""Which of some SHA-256 digests need no vector."""


class Embedding(Preparation, Protocol):
    """What the pipeline runs: an `Encoder`, or what gives something else than a vector for each picture."""

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Iterable[Any]:
        """Arrays from `prepare` to what is made of each, in their order."""
        ...


@dataclass(frozen=True)
class EmbeddedImage:
    """The result for one entry: a vector (dim,), or None where its content is known or it has a `reason`."""

    entry: SourceEntry
    sha256: str = ""
    width: int = 0
    height: int = 0
    vector: NDArray[np.float32] | None = None
    reason: str | None = None
    facts: PhotoFacts | None = None


@dataclass(frozen=True)
class _Prepared:
    embedded: EmbeddedImage
    array: NDArray[Any] | None = None


def embed(entries: Iterable[SourceEntry], encoder: Embedding, known: Known) -> Iterator[EmbeddedImage]:
    """As `embed_batches`, one by one."""
    with closing(embed_batches(entries, encoder, known)) as batches:
        for batch in batches:
            yield from batch


def embed_batches(entries: Iterable[SourceEntry], encoder: Embedding, known: Known) -> Generator[list[EmbeddedImage]]:
    """Encode `entries`; results come in their order, those of a batch together. Content that is `known` gets no vector.

    `known` is called from the decoding threads. A broken image is a result with a reason; a failing encoder raises.
    At most a few batches are in memory, however many entries there are.
    """
    from threadpoolctl import threadpool_limits

    # Images are prepared in parallel; further threads inside each matrix product would only wait for one another.
    with threadpool_limits(1, "blas"), _preparing(encoder) as prepare:
        yield from _embed(entries, encoder, partial(_prepare, known=known, prepare=prepare))


def batch_of(encoder: Embedding) -> int:
    """How many images the pipeline encodes at once."""
    return int(getattr(encoder, "index_batch", getattr(encoder, "batch_size", BATCH)))


@contextmanager
def _preparing(encoder: Embedding) -> Iterator[Prepare]:
    """Decode in the calling thread, or in worker processes where the encoder has a `preparation` for them."""
    preparation = getattr(encoder, "preparation", None)
    if preparation is None:
        yield partial(workers.prepare, encoder)
        return
    with workers.Workers(preparation, cores()) as pool:
        yield pool.run


_PrepareChunk = Callable[[Sequence[SourceEntry]], list[_Prepared]]


def _embed(entries: Iterable[SourceEntry], encoder: Embedding, prepare: _PrepareChunk) -> Iterator[list[EmbeddedImage]]:
    batch = batch_of(encoder)
    most = max(1, batch // CHUNKS)
    window = batch // most + 2 * cores()
    pool = Threads(cores(), thread_name_prefix="lookalike-decode")
    chunks = _chunks(entries, most)
    running: deque[Future[list[_Prepared]]] = deque()
    try:
        ready: list[_Prepared] = []
        arrays = 0
        while _fill(running, chunks, window, pool, prepare):
            for prepared in running.popleft().result():
                ready.append(prepared)
                arrays += prepared.array is not None
                if arrays == batch or len(ready) >= 8 * batch:
                    yield _encode(ready, encoder)
                    ready, arrays = [], 0
        yield _encode(ready, encoder)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _chunks(entries: Iterable[SourceEntry], most: int) -> Iterator[list[SourceEntry]]:
    """Up to `most` entries, of a bounded size together. A sequential one is alone: it is read before the next comes."""
    chunk: list[SourceEntry] = []
    size = 0
    for entry in entries:
        if entry.sequential and chunk:
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += entry.size if entry.size >= 0 else CHUNK_BYTES
        if entry.sequential or len(chunk) == most or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _fill(
    running: deque[Future[list[_Prepared]]],
    chunks: Iterator[list[SourceEntry]],
    window: int,
    pool: ThreadPoolExecutor,
    prepare: _PrepareChunk,
) -> bool:
    """Fill the window; returns whether any entry is in it."""
    while len(running) < window and (chunk := next(chunks, None)):
        if chunk[0].sequential:
            running.append(_done(prepare(chunk)))
        else:
            running.append(pool.submit(prepare, chunk))
    return bool(running)


def _done(prepared: list[_Prepared]) -> "Future[list[_Prepared]]":
    future: Future[list[_Prepared]] = Future()
    future.set_result(prepared)
    return future


def _prepare(entries: Sequence[SourceEntry], known: Known, prepare: Prepare) -> list[_Prepared]:
    contents = [_read(entry) for entry in entries]
    skipped = known([sha256 for _, sha256, _ in contents if sha256])
    return [
        _prepared(entry, data, sha256, reason, sha256 in skipped, prepare)
        for entry, (data, sha256, reason) in zip(entries, contents, strict=True)
    ]


def _read(entry: SourceEntry) -> tuple[bytes, str, str | None]:
    """The bytes of an entry and their SHA-256, or why they cannot be read."""
    try:
        data = entry.read()
    except ImageError as error:
        return b"", "", str(error)
    return data, hashlib.sha256(data).hexdigest(), None


def _prepared(
    entry: SourceEntry, data: bytes, sha256: str, reason: str | None, is_known: bool, prepare: Prepare
) -> _Prepared:
    if reason is not None:
        return _Prepared(EmbeddedImage(entry, reason=reason))
    if is_known:
        return _Prepared(EmbeddedImage(entry, sha256))
    try:
        prepared = prepare(data)
    except ImageError as error:
        return _Prepared(EmbeddedImage(entry, reason=str(error)))
    embedded = EmbeddedImage(entry, sha256, prepared.width, prepared.height, facts=prepared.facts)
    return _Prepared(embedded, prepared.array)


def _encode(ready: Sequence[_Prepared], encoder: Embedding) -> list[EmbeddedImage]:
    arrays = [prepared.array for prepared in ready if prepared.array is not None]
    vectors = iter(encoder.encode_batch(arrays) if arrays else ())
    return [
        prepared.embedded if prepared.array is None else _with_vector(prepared.embedded, next(vectors))
        for prepared in ready
    ]


def _with_vector(embedded: EmbeddedImage, vector: NDArray[np.float32]) -> EmbeddedImage:
    return replace(embedded, vector=vector)
