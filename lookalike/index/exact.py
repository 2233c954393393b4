"""Stored vectors to exact nearest neighbours: FAISS over the rows in place, or over blocks that are converted."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import QueryError
from lookalike.index.library import library
from lookalike.index.products import MARGINS
from lookalike.types import Ids, Scores, Vectors

T = TypeVar("T")
U = TypeVar("U")
FROM_BATCH = 20
"""From this many queries on, FAISS multiplies matrices (its `distance_compute_blas_threshold`)."""
GATHERED = 8192
"""Rows that are copied or converted at a time: 24 MiB at 768 numbers."""
LEAST = 16_384
"""Rows that are worth a further thread."""
PRODUCTS = 1 << 22
"""Rows that are multiplied at a time for a single query: 16 MiB of products."""
MARGIN = MARGINS["float32"]
SCAN = 32_768
"""Rows that one thread multiplies at a time as they are stored."""
SCANNED, SCANNED_COLD = 16_384, 200_000
"""From so many rows on they are, and from so many where ONNX Runtime (0.1 s) is not loaded yet."""
SPARSE = 8
"""Where fewer than one row in this many is live, the live rows are copied; otherwise the others are masked."""


class Blocks(Protocol):
    """Rows as `vectors.RowStore` gives them."""

    @property
    def dtype(self) -> str:
        """The type of the stored numbers."""
        ...

    def block(self, start: int, stop: int) -> Vectors:
        """Consecutive rows."""
        ...

    def rows(self, ids: Ids) -> Vectors:
        """The rows with these numbers."""
        ...


@runtime_checkable
class Compact(Blocks, Protocol):
    """Blocks that multiply a query with their rows as these are stored, without float32 copies; see `products`."""

    def products(self, query: Vectors, start: int, stop: int) -> Scores:
        """The products of a unit vector (dim,) with consecutive rows, each within `products.MARGINS` of its cosine."""
        ...


@dataclass(frozen=True)
class InMemory:
    """An array as `Blocks`, of the rows from `first` on."""

    array: Vectors
    first: int = 0
    dtype: str = "float32"

    def block(self, start: int, stop: int) -> Vectors:
        """A view."""
        return self.array[start - self.first : stop - self.first]

    def rows(self, ids: Ids) -> Vectors:
        """A copy."""
        return self.array[ids - self.first]


@dataclass(frozen=True)
class _Part:
    """Rows for one call of FAISS: `vectors` (c, dim), and their row numbers, from `first` on or in `ids`.

    `bits` marks the live ones; None: all.
    """

    vectors: Vectors
    first: int
    ids: Ids | None = None
    bits: NDArray[np.uint8] | None = None


class ExactIndex:
    """Exhaustive search over stored rows; removed rows are never returned.

    float32 rows, (n, dim) C-contiguous and maybe memory-mapped, are not copied; others are converted block by block.
    The rows from `first` to `count` for which `live` (n,) bool holds are searched; None: all of them.
    """

    def __init__(
        self,
        vectors: Vectors | Blocks,
        live: NDArray[np.bool_] | None = None,
        count: int | None = None,
        first: int = 0,
    ) -> None:
        self._source: Blocks = InMemory(vectors) if isinstance(vectors, np.ndarray) else vectors
        self._stop = len(vectors) if count is None and isinstance(vectors, np.ndarray) else (count or 0)
        self._first, self._rows = first, self._stop - first
        self._live = live
        self._count = self._rows if live is None else int(np.count_nonzero(live[first : self._stop]))

    def __len__(self) -> int:
        """The number of rows that can be found."""
        return self._count

    def search(self, vectors: Vectors, k: int) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and row numbers, best first; -1 pads where there are fewer rows."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        k = max(1, min(k, self._rows))
        nearest = empty(len(vectors), k)
        if not self._count or not len(vectors):
            return nearest

        # Where a fifth of the rows is not live, FAISS gains more by skipping them.
        is_single = len(vectors) == 1 and 5 * self._count >= 4 * self._rows

        def search(part: _Part) -> tuple[Scores, Ids]:
            # FAISS would read beyond the end of the query.
            refuse_other_length(vectors, part.vectors.shape[1])
            return _search_single(vectors, part, k) if is_single else _search(vectors, part, k)

        results: Iterable[tuple[Scores, Ids]]
        if len(vectors) == 1 and self._is_scanned:
            refuse_other_length(vectors, self._source.rows(np.array([self._first])).shape[1])
            results = _ahead(partial(self._scanned, vectors[0], k), self._scans(), threads())
        elif is_single:
            results = map(search, self._parts(1))
        elif len(vectors) < FROM_BATCH and self._rows > LEAST:
            # FAISS gives each query one thread: a few queries would leave the other threads idle.
            results = _ahead(search, self._parts(threads()), threads())
        else:
            results = map(search, self._parts(1))
        for result in results:
            nearest = merged([nearest, result], k)
        # A unit row against itself may come out as 1.0000001.
        np.clip(nearest[0], -1, 1, out=nearest[0])
        return nearest

    @property
    def _is_scanned(self) -> bool:
        """Whether one query is multiplied with the rows as they are stored: few do not pay for loading ONNX Runtime."""
        least = SCANNED if "onnxruntime" in sys.modules else SCANNED_COLD
        return isinstance(self._source, Compact) and self._rows >= least and self._count * SPARSE >= self._rows

    def _scans(self) -> Iterator[int]:
        return iter(range(self._first, self._stop, SCAN))

    def _scanned(self, query: Vectors, k: int, start: int) -> tuple[Scores, Ids]:
        """The best of `SCAN` rows; the candidates are scored one by one, as `_search_single` does."""
        assert isinstance(self._source, Compact), "asked before"
        stop = min(start + SCAN, self._stop)
        products = self._source.products(query, start, stop)
        if self._live is not None:
            products[~self._live[start:stop]] = -np.inf
        ids = _near(products, k, MARGINS[self._source.dtype]) + start
        with np.errstate(all="ignore"):
            scores = np.einsum("ij,j->i", self._source.rows(ids), query)
        return merged([empty(1, k), (scores[None], ids[None])], k)

    def _parts(self, parts: int) -> Iterator[_Part]:
        if self._count * SPARSE < self._rows:
            assert self._live is not None, "not all rows count"
            yield from self._gathered(np.flatnonzero(self._live[self._first : self._stop]) + self._first)
        elif self._source.dtype != "float32":
            yield from self._converted()
        else:
            yield from self._in_place(parts)

    def _gathered(self, ids: Ids) -> Iterator[_Part]:
        for at in range(0, len(ids), GATHERED):
            chunk = ids[at : at + GATHERED]
            yield _Part(self._source.rows(chunk), 0, chunk)

    def _converted(self) -> Iterator[_Part]:
        def convert(start: int) -> _Part:
            stop = min(start + GATHERED, self._stop)
            block = self._source.block(start, stop)
            if self._live is None or self._live[start:stop].all():
                return _Part(block, start)
            kept = np.flatnonzero(self._live[start:stop])
            return _Part(block[kept], 0, kept + start)

        # The next blocks are converted while one is searched; the number in memory is bounded.
        yield from _ahead(convert, range(self._first, self._stop, GATHERED), threads())

    def _in_place(self, parts: int) -> Iterator[_Part]:
        # The mask has eight rows to a byte.
        size = max(LEAST, -(-self._rows // parts) + 7 & ~7)
        for start in range(self._first, self._stop, size):
            stop = min(start + size, self._stop)
            block = self._source.block(start, stop)
            live = None if self._live is None else self._live[start:stop]
            if live is None or live.all():
                yield _Part(block, start)
            else:
                yield _Part(block, start, bits=np.packbits(live, bitorder="little"))


def refuse_other_length(vectors: Vectors, dim: int) -> None:
    """Raises QueryError for queries (m, n) where n is not `dim`, the length of the stored rows."""
    if vectors.shape[1] != dim:
        raise QueryError(f"the query vector has {vectors.shape[1]} numbers, the collection's have {dim}")


def _search(vectors: Vectors, part: _Part, k: int) -> tuple[Scores, Ids]:
    """Search one part; where matrices are multiplied and not all rows are live, the live ones are copied."""
    if part.bits is not None and len(vectors) >= FROM_BATCH:
        return _search_copied(vectors, part, k)
    scores, ids = _knn(vectors, part.vectors, k, part.bits)
    if part.ids is not None:
        return scores, np.where(ids >= 0, part.ids[np.maximum(ids, 0)], -1)
    return scores, np.where(ids >= 0, ids + part.first, -1)


def _search_single(vectors: Vectors, part: _Part, k: int) -> tuple[Scores, Ids]:
    """Search one part for one query (1, dim) at memory speed; FAISS, row by row, takes two to three times as long.

    Products of all rows by BLAS select the candidates. Each candidate is then scored by itself, so that equal rows get
    equal scores wherever they are stored.
    """
    nearest, query = empty(1, k), vectors[0]
    for start in range(0, len(part.vectors), PRODUCTS):
        block = part.vectors[start : start + PRODUCTS]
        with np.errstate(all="ignore"):  # A flipped bit can turn a stored number into NaN or infinity.
            products = block @ query
        if part.bits is not None:
            products[~_live_of(part.bits, start, len(block))] = -np.inf
        near = _near(products, k)
        scores = _each_by_itself(block, near, query)
        numbers = near + (start + part.first) if part.ids is None else part.ids[near + start]
        nearest = merged([nearest, (scores[None], numbers[None])], k)
    return nearest


def _each_by_itself(block: Vectors, near: Ids, query: NDArray[np.float32]) -> Scores:
    """The cosines of some rows; few of them are copied at a time, since all of a block may be candidates."""
    scores = np.empty(len(near), np.float32)
    with np.errstate(all="ignore"):
        for start in range(0, len(near), GATHERED):
            rows = block[near[start : start + GATHERED]]
            np.einsum("ij,j->i", rows, query, out=scores[start : start + GATHERED])
    return scores


def _near(products: Scores, k: int, margin: float = MARGIN) -> Ids:
    """The positions of those products (n,) that may be among the best `k`; -inf and NaN never are."""
    if np.isnan(products.max()):
        products = np.where(np.isnan(products), -np.inf, products)
    least = np.partition(products, -k)[-k] if k < len(products) else -np.inf
    return np.flatnonzero((products >= least - margin) & (products > -np.inf))


def _live_of(bits: NDArray[np.uint8], start: int, count: int) -> NDArray[np.bool_]:
    """The mask (count,) of the rows from `start` on, a multiple of eight."""
    return np.unpackbits(bits[start // 8 :], count=count, bitorder="little").view(np.bool_)


def _search_copied(vectors: Vectors, part: _Part, k: int) -> tuple[Scores, Ids]:
    """Search copies of the live rows: with a selector FAISS scans row by row, in several times the time."""
    assert part.bits is not None
    live = _live_of(part.bits, 0, len(part.vectors))
    nearest = empty(len(vectors), k)
    for start in range(0, len(live), GATHERED):
        kept = np.flatnonzero(live[start : start + GATHERED])
        block = part.vectors[start : start + GATHERED]
        if len(kept):
            scores, ids = _knn(vectors, block if len(kept) == len(block) else block[kept], k, None)
            numbers = np.where(ids >= 0, kept[np.maximum(ids, 0)] + (start + part.first), -1)
            nearest = merged([nearest, (scores, numbers)], k)
    return nearest


def _knn(vectors: Vectors, rows: Vectors, k: int, bits: NDArray[np.uint8] | None) -> tuple[Scores, Ids]:
    """FAISS over an array in place; an IndexFlat would copy it.

    Of equal results that do not all fit, FAISS keeps the last rows. It is asked for one more, which shows where that is
    so; there the first rows are taken, so that a page of results goes on where the one before it ended.
    """
    faiss = library()

    most = min(k, len(rows))
    wide = min(k + 1, len(rows))
    rows = np.ascontiguousarray(rows, np.float32)
    scores, ids = np.empty((len(vectors), wide), np.float32), np.empty((len(vectors), wide), np.int64)
    selector = None if bits is None else faiss.IDSelectorBitmap(len(bits) * 8, faiss.swig_ptr(bits))
    pointer = faiss.swig_ptr
    sizes = (rows.shape[1], len(vectors), len(rows), wide)
    faiss.knn_inner_product(pointer(vectors), pointer(rows), *sizes, pointer(scores), pointer(ids), selector)
    for query in np.flatnonzero((scores[:, most - 1] == scores[:, -1]) & (ids[:, -1] >= 0)) if wide > most else ():
        first = _search_single(vectors[query : query + 1], _Part(rows, 0, bits=bits), most)
        scores[query, :most], ids[query, :most] = first[0][0], first[1][0]
    return scores[:, :most], ids[:, :most]


def empty(queries: int, k: int) -> tuple[Scores, Ids]:
    """No results for `queries` queries."""
    return np.full((queries, k), -1, np.float32), np.full((queries, k), -1, np.int64)


def best(scores: Scores, ids: Ids, k: int) -> tuple[Scores, Ids]:
    """The best `k` of (m, n) cosines and rows, ties by row; missing results (-1) come last."""
    worse = np.where(ids < 0, np.float32(np.inf), -scores)
    if len(ids) == 1:
        single = np.lexsort((ids[0], worse[0]))[:k]
        return scores[:, single], ids[:, single]
    order = np.lexsort((ids, worse), axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)


def merged(results: Sequence[tuple[Scores, Ids]], k: int) -> tuple[Scores, Ids]:
    """The best `k` of several results for the same queries, ties by row; no row may be in two of them."""
    scores = np.concatenate([scores for scores, _ in results], axis=1)
    ids = np.concatenate([ids for _, ids in results], axis=1)
    # Missing results (-1) come last, whatever their score.
    worse = np.where((ids >= 0) & ~np.isnan(scores), -scores, np.inf)
    if worse.shape[1] > 4 * k:
        part = np.argpartition(worse, k, axis=1)[:, : k + 1]
        kept = np.take_along_axis(worse, part, 1)
        # Of equal ones that the cut goes through, it would keep any.
        if ((kept[:, :k].max(axis=1) < kept[:, k]) | np.isinf(kept[:, k])).all():
            scores, ids, worse = np.take_along_axis(scores, part, 1), np.take_along_axis(ids, part, 1), kept
    order = np.lexsort((ids, worse), axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)


def share_of(retrieved: Ids, truth: Ids) -> float:
    """Recall: the share of `truth` (m, k), query by query, that is in `retrieved` (m, any number)."""
    return sum(len(np.intersect1d(a, b)) for a, b in zip(retrieved, truth, strict=True)) / truth.size


def _ahead(job: Callable[[T], U], arguments: Iterable[T], ahead: int) -> Iterator[U]:
    """Results in order, computed in threads, at most `ahead` of them early; `arguments` are read as they are needed."""
    running: list[Future[U]] = []
    for argument in arguments:
        running.append(_pool().submit(job, argument))
        if len(running) > ahead:
            yield running.pop(0).result()
    for future in running:
        yield future.result()


def cosines_to(vector: Vectors, rows: Vectors) -> Scores:
    """Cosines (n,) of a unit vector (dim,) and few unit rows (n, dim), without waking threads: these may be busy."""
    faiss = library()

    vector, rows = np.ascontiguousarray(vector, np.float32), np.ascontiguousarray(rows, np.float32)
    scores = np.empty(len(rows), np.float32)
    pointer = faiss.swig_ptr
    if len(rows):
        faiss.fvec_inner_products_ny(pointer(scores), pointer(vector), pointer(rows), rows.shape[1], len(rows))
    return scores


def threads() -> int:
    """The number of threads that FAISS may use."""
    faiss = library()

    return int(faiss.omp_get_max_threads())


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads(), thread_name_prefix="lookalike-search")
