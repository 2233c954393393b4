"""Source entries to vectors: reading, decoding and preparing run ahead in threads, within a bounded window."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders import workers
from lookalike.errors import ImageError
from lookalike.images.sources import SourceEntry
from lookalike.types import Encoder
from lookalike.utils.cores import cores

BATCH = 8
Prepare = Callable[[bytes], workers.Prepared]


@dataclass(frozen=True)
class EmbeddedImage:
    """The result for one entry: a vector (dim,), or None where its content is known or it has a `reason`."""

    entry: SourceEntry
    sha256: str = ""
    width: int = 0
    height: int = 0
    vector: NDArray[np.float32] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class _Prepared:
    embedded: EmbeddedImage
    array: NDArray[Any] | None = None


def embed(entries: Iterable[SourceEntry], encoder: Encoder, is_known: Callable[[str], bool]) -> Iterator[EmbeddedImage]:
    """Encode `entries`; results come in their order. Content for which `is_known(sha256)` holds gets no vector.

    `is_known` is called from the decoding threads. A broken image is a result with a reason; a failing encoder raises.
    At most a few batches are in memory, however many entries there are.
    """
    from threadpoolctl import threadpool_limits

    # Images are prepared in parallel; further threads inside each matrix product would only wait for one another.
    with threadpool_limits(1, "blas"), _preparing(encoder) as prepare:
        yield from _embed(entries, encoder, is_known, prepare)


@contextmanager
def _preparing(encoder: Encoder) -> Iterator[Prepare]:
    """Decode in the calling thread, or in worker processes where the encoder has a `preparation` for them."""
    preparation = getattr(encoder, "preparation", None)
    if preparation is None:
        yield partial(workers.prepare, encoder)
        return
    with workers.Workers(preparation, cores()) as pool:
        yield pool.run


def _embed(
    entries: Iterable[SourceEntry], encoder: Encoder, is_known: Callable[[str], bool], prepare: Prepare
) -> Iterator[EmbeddedImage]:
    batch = getattr(encoder, "batch_size", BATCH)
    window = batch + 2 * cores()
    pool = ThreadPoolExecutor(cores(), thread_name_prefix="lookalike-decode")
    stream = iter(entries)
    running: deque[Future[_Prepared]] = deque()
    try:
        ready: list[_Prepared] = []
        while _fill(running, stream, window, pool, is_known, prepare):
            ready.append(running.popleft().result())
            if sum(prepared.array is not None for prepared in ready) == batch or len(ready) >= 8 * batch:
                yield from _encode(ready, encoder)
                ready = []
        yield from _encode(ready, encoder)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _fill(
    running: deque[Future[_Prepared]],
    stream: Iterator[SourceEntry],
    window: int,
    pool: ThreadPoolExecutor,
    is_known: Callable[[str], bool],
    prepare: Prepare,
) -> bool:
    """Fill the window; returns whether any entry is in it."""
    while len(running) < window and (entry := next(stream, None)):
        if entry.sequential:
            running.append(_done(_prepare(entry, is_known, prepare)))
        else:
            running.append(pool.submit(_prepare, entry, is_known, prepare))
    return bool(running)


def _done(prepared: _Prepared) -> "Future[_Prepared]":
    future: Future[_Prepared] = Future()
    future.set_result(prepared)
    return future


def _prepare(entry: SourceEntry, is_known: Callable[[str], bool], prepare: Prepare) -> _Prepared:
    try:
        data = entry.read()
        sha256 = hashlib.sha256(data).hexdigest()
        if is_known(sha256):
            return _Prepared(EmbeddedImage(entry, sha256))
        prepared = prepare(data)
    except ImageError as error:
        return _Prepared(EmbeddedImage(entry, reason=str(error)))
    return _Prepared(EmbeddedImage(entry, sha256, prepared.width, prepared.height), prepared.array)


def _encode(ready: Sequence[_Prepared], encoder: Encoder) -> Iterator[EmbeddedImage]:
    arrays = [prepared.array for prepared in ready if prepared.array is not None]
    vectors = iter(encoder.encode_batch(arrays) if arrays else ())
    for prepared in ready:
        embedded = prepared.embedded
        if prepared.array is None:
            yield embedded
        else:
            yield EmbeddedImage(embedded.entry, embedded.sha256, embedded.width, embedded.height, next(vectors))
