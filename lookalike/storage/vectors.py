"""Vectors on disk: one flat file, memory-mapped, as float32, float16 or int8; read back as float32 rows of unit length.

`RowStore` is what a collection needs of the place where its vectors lie: a file, or an engine in its stead.
"""

import mmap
import os
import weakref
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import CollectionError, EngineError, IndexSpecError
from lookalike.index.products import products
from lookalike.storage.prefetch import Prefetch
from lookalike.types import Ids, Scores, Vectors
from lookalike.utils.files import reason
from lookalike.utils.text import command

# Name: (file, NumPy dtype). An int8 row begins with its scale: 1 / length of its codes, as float32.
DTYPES: dict[str, tuple[str, str]] = {
    "float32": ("vectors.f32", "<f4"),
    "float16": ("vectors.f16", "<f2"),
    "int8": ("vectors.i8", "i1"),
}


Describe = Callable[[Sequence[int]], list[tuple[str, str, dict[str, Any]]]]
"""Row numbers to the key, the SHA-256 and the columns of each."""


class RowStore(Protocol):
    """Where the vectors of a collection lie: a mapped file, or an engine.

    The catalog gives the row numbers, which are never used twice. Rows after its last committed row are what a crash
    left, and may be overwritten.
    """

    @property
    def dim(self) -> int:
        """Numbers in a row."""
        ...

    @property
    def dtype(self) -> str:
        """A name in `DTYPES`: the precision of the stored rows."""
        ...

    def __len__(self) -> int:
        """How many rows are stored, committed or not."""
        ...

    # Writing

    @property
    def generation(self) -> str | None:
        """The last writer's name as the engine knows it, "" before the first; None where no copy shares the rows."""
        ...

    def begin(self, generation: str, after: str) -> None:
        """Give the engine a new writer's name; from then on writes raise EngineError once it has yet another one.

        Raises EngineError where another writer than `after` has begun in the meantime.
        """
        ...

    def append(self, first: int, vectors: Vectors) -> list[int]:
        """Write (n, dim) unit rows as rows `first`, first + 1, …; returns their checksums as `checksums` does."""
        ...

    def copy(self, first: int, source: "RowStore", ids: Ids) -> list[int]:
        """As `append`, for the rows `ids` of another store, without loss where both have the same dtype."""
        ...

    def flush(self, rows: int) -> None:
        """Cut everything after the first `rows` rows, and make those durable. Raises CollectionError."""
        ...

    def touch(self, rows: Sequence[int]) -> None:
        """Called when the catalog's entries of these rows have changed."""
        ...

    def mark(self, rows: Sequence[int]) -> None:
        """Called when rows have been removed."""
        ...

    def settle(self) -> None:
        """Called after the last commit of a writer: do what makes searches fast."""
        ...

    def build(self, spec: str) -> tuple[str, int]:
        """Build an index that the store keeps by itself; its name and its bytes. Raises IndexSpecError."""
        ...

    def release(self) -> None:
        """Close what only a writer needs."""
        ...

    # Reading

    def rows(self, ids: Ids) -> Vectors:
        """The rows `ids` as (len(ids), dim) float32 of unit length; also of rows that are not committed yet."""
        ...

    def prefetch(self, ids: Ids) -> None:
        """Called with rows (n,) that will be read next through `mapped`; `rows` does so by itself."""
        ...

    def block(self, start: int, stop: int) -> Vectors:
        """Rows `start` to before `stop` as float32 of unit length, without a copy where they are stored so."""
        ...

    def mapped(self, rows: int) -> Vectors | None:
        """The first `rows` rows as float32 without a copy; None where they would have to be fetched or converted."""
        ...

    def search(
        self,
        vectors: Vectors,
        k: int,
        rows: int,
        live: NDArray[np.bool_] | None,
        recall: float | None = None,
        where: str | None = None,
    ) -> tuple[Scores, Ids] | None:
        """(m, dim) to (m, k) cosines and rows, best first, -1 pads; only rows below `rows` for which `live` holds.

        The cosines are those of the stored rows, whatever the engine searched in, and are shown. `where` is
        the filter expression behind `live`. None where the store cannot search by itself.
        """
        ...

    def checksums(self, start: int, stop: int) -> list[int]:
        """CRC-32 of each row as it is stored."""
        ...

    def matches(self, row: int, checksum: int) -> bool:
        """Whether a row matches the checksum of when it was written; an engine checks its rows itself."""
        ...

    def facts(self) -> dict[str, Any]:
        """Further facts for `info`; of an engine with its `engine_rows`."""
        ...

    def health(self) -> None:
        """Raise EngineError where the rows cannot be reached within two seconds or so."""
        ...

    def close(self) -> None:
        """Close everything."""
        ...


@dataclass(frozen=True)
class RowPlace:
    """The folder of a collection, how its rows are stored, and how an engine gets their keys and columns."""

    path: Path
    dim: int
    dtype: str
    describe: Describe = lambda rows: [("", "", {}) for _ in rows]
    removed: Callable[[Sequence[int]], set[int]] = lambda _: set()
    """Which of some rows are removed."""


@dataclass(frozen=True)
class EngineKind:
    """How to reach vectors in a kind of engine.

    `open(place, uri)`, `create(uri, owner, encoder, fingerprint, dim, dtype)` for a new collection, and
    `discard(uri, owner, generations)`, which deletes it where its last writer is one of these. `dtypes` are those that
    it keeps, that of new collections first.
    """

    open: Callable[[RowPlace, str], RowStore]
    create: Callable[[str, str, str, str, int, str], None]
    discard: Callable[[str, str, Sequence[str]], None]
    dtypes: tuple[str, ...] = ("float32",)


ENGINES: dict[str, EngineKind] = {}
"""By the scheme of a URI, such as milvus; `integrations` fills it when it is imported."""


def open_rows(place: RowPlace, engine: str | None = None) -> RowStore:
    """The vectors of a collection, in its own file or in an engine (a URI)."""
    if engine is not None:
        return _engine(engine).open(place, engine)
    file = VectorFile(place.path / DTYPES[place.dtype][0], place.dim, place.dtype)
    # Opened now, so that it stays the same file; where it is missing, its first use raises the error.
    with suppress(CollectionError):
        len(file)
    return file


def create_rows(uri: str, owner: str, encoder: str, fingerprint: str, dim: int, dtype: str) -> None:
    """Make the engine's side of a new collection; raises EngineError where it is away or has another's rows."""
    _engine(uri).create(uri, owner, encoder, fingerprint, dim, dtype)


def usual_dtype(engine: str | None) -> str:
    """How the vectors of a new collection are stored, in a file or in an engine (a URI)."""
    return _engine(engine).dtypes[0] if engine else "float32"


def discard_rows(uri: str, owner: str, generations: Sequence[str]) -> None:
    """Delete a collection's rows in an engine, unless they are another's, or were written by others since."""
    _engine(uri).discard(uri, owner, generations)


def _engine(uri: str) -> EngineKind:
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in ENGINES:
        there = ", ".join(f"{name}://" for name in ENGINES) or "none; import lookalike.integrations"
        raise EngineError(f"{scheme}://: no such engine; there are {there}")
    return ENGINES[scheme]


def encode(vectors: Vectors, dtype: str) -> NDArray[Any]:
    """(n, dim) unit rows to (n, bytes of a row) uint8 as they are stored."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    if dtype == "int8":
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        codes = np.rint(vectors * (127 / np.maximum(largest, 1e-30))).astype(np.int8)
        lengths = np.linalg.norm(codes.astype(np.float32), axis=1, keepdims=True)
        scales = (1 / np.maximum(lengths, 1)).astype("<f4")
        return np.concatenate([scales.view(np.uint8), codes.view(np.uint8)], axis=1)
    numbers = np.ascontiguousarray(vectors.astype(DTYPES[dtype][1]))
    return numbers.view(np.uint8).reshape(len(vectors), vectors.shape[1] * numbers.itemsize)


def decode(stored: NDArray[Any], dtype: str) -> Vectors:
    """The inverse of `encode`, of unit length again; float32 is returned without a copy."""
    if dtype == "float32":
        return cast("Vectors", stored.view("<f4"))
    if dtype == "int8":
        stored = np.ascontiguousarray(stored)
        scales = np.ascontiguousarray(stored[:, :4]).view("<f4")
        return cast("Vectors", np.multiply(stored[:, 4:].view(np.int8), scales, dtype=np.float32))
    vectors = np.ascontiguousarray(stored).view("<f2").astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    # A number that a bit flip made infinite stays so; `verify` finds it.
    with np.errstate(all="ignore"):
        vectors /= np.maximum(lengths, 1e-30)[:, None]
    return vectors


def crc_rows(stored: NDArray[Any]) -> list[int]:
    """CRC-32 of each row of bytes."""
    return [zlib.crc32(row) for row in np.ascontiguousarray(stored)]


@dataclass(eq=False)
class VectorFile:
    """A `RowStore` in one file without a header: row i begins at byte i * (bytes of a row)."""

    path: Path
    dim: int
    dtype: str = "float32"

    def __post_init__(self) -> None:
        self.row_bytes = self.dim * np.dtype(DTYPES[self.dtype][1]).itemsize + (4 if self.dtype == "int8" else 0)
        self._writer: IO[bytes] | None = None
        self._handle: int | None = None
        self._closing: Callable[[], object] = lambda: None
        self._prefetch = Prefetch(self.row_bytes)
        self._mapped: NDArray[np.uint8] = np.empty((0, self.row_bytes), np.uint8)

    def __len__(self) -> int:
        return os.fstat(self._descriptor()).st_size // self.row_bytes

    def _descriptor(self) -> int:
        """The file, which stays open: later, another collection's file may have its name."""
        if self._handle is None:
            try:
                self._handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            except OSError as error:
                raise CollectionError(f"{self.path} is missing; index again with --rebuild") from error
            self._closing = weakref.finalize(self, os.close, self._handle)
        return self._handle

    @property
    def generation(self) -> None:
        """None: a copy of the folder has rows of its own."""

    def begin(self, generation: str, after: str) -> None:
        """Does nothing."""

    def append(self, first: int, vectors: Vectors) -> list[int]:
        """Write rows from `first` on, unbuffered."""
        vectors = np.atleast_2d(vectors)
        assert vectors.shape[1] == self.dim, f"vectors of {self.dim} numbers"
        return self.append_stored(first, encode(vectors, self.dtype))

    def append_stored(self, first: int, stored: NDArray[np.uint8]) -> list[int]:
        """As `append`, of rows that came from the `stored` of another file of this dtype."""
        view = np.ascontiguousarray(stored).reshape(-1).data
        try:
            if self._writer is None:
                self._writer = self.path.open("r+b", buffering=0)
            self._writer.seek(first * self.row_bytes)
            while len(view):
                written = self._writer.write(view)
                if not written:
                    raise CollectionError(f"{self.path}: disk full")
                view = view[written:]
        except OSError as error:
            raise self._failed(error) from error
        return crc_rows(stored)

    def flush(self, rows: int) -> None:
        """Cut what an interrupted run left after the last row, and sync the rest to disk."""
        try:
            if self._writer is None:
                self._writer = self.path.open("r+b", buffering=0)
            self._writer.truncate(rows * self.row_bytes)
            os.fsync(self._writer.fileno())
        except OSError as error:
            raise self._failed(error) from error

    def release(self) -> None:
        """Close the writer's handle."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def close(self) -> None:
        """Close the file and its mapping."""
        self.release()
        self._mapped = np.empty((0, self.row_bytes), np.uint8)
        self._closing()
        self._handle = None

    def copy(self, first: int, source: RowStore, ids: Ids) -> list[int]:
        """Copies the stored bytes where the other store is a file of this dtype."""
        if isinstance(source, VectorFile) and source.dtype == self.dtype and len(ids):
            return self.append_stored(first, source.stored(int(ids.max()) + 1)[ids])
        return self.append(first, source.rows(ids))

    def touch(self, rows: Sequence[int]) -> None:
        """Does nothing: only engines have copies of catalog entries."""

    def mark(self, rows: Sequence[int]) -> None:
        """Does nothing."""

    def build(self, spec: str) -> tuple[str, int]:
        """Raises IndexSpecError: the index of a file is a file beside it."""
        raise IndexSpecError(f"{self.path}: a file has no index of its own")

    def settle(self) -> None:
        """Does nothing."""

    def facts(self) -> dict[str, Any]:
        """Empty: the header has all the facts."""
        return {}

    def health(self) -> None:
        """Does nothing: a file is there."""

    def search(
        self,
        vectors: Vectors,
        k: int,
        rows: int,
        live: NDArray[np.bool_] | None,
        recall: float | None = None,
        where: str | None = None,
    ) -> None:
        """None: a file cannot search."""

    def mapped(self, rows: int) -> Vectors | None:
        """A view of the file where its dtype is float32."""
        return self.block(0, rows) if self.dtype == "float32" else None

    def matches(self, row: int, checksum: int) -> bool:
        """Whether the row exists and has this checksum."""
        return len(self) > row and self.checksums(row, row + 1) == [checksum]

    def stored(self, stop: int) -> NDArray[np.uint8]:
        """The first `stop` rows as they are on disk, (stop, bytes of a row), memory-mapped and read-only."""
        mapped = self._mapped
        if len(mapped) < stop:
            count = len(self)
            if count < stop:
                way = f"run `{command('verify', self.path.parent, '--repair')}`"
                raise CollectionError(f"{self.path} holds {count} of {stop} vectors; {way}")
            try:
                whole = mmap.mmap(self._descriptor(), count * self.row_bytes, access=mmap.ACCESS_READ)
                mapped = np.frombuffer(whole, np.uint8).reshape(count, self.row_bytes)
            except (OSError, ValueError) as error:
                raise CollectionError(f"{self.path} cannot be read ({error})") from error
            self._mapped = mapped
        return mapped[:stop]

    def rows(self, ids: Ids) -> Vectors:
        """A copy of the rows of these numbers."""
        ids = np.asarray(ids, np.int64)
        if not len(ids):
            return np.empty((0, self.dim), np.float32)
        self.prefetch(ids)
        return decode(self.stored(int(ids.max()) + 1)[ids], self.dtype)

    def prefetch(self, ids: Ids) -> None:
        """Have the system read these rows at once."""
        self._prefetch(self._descriptor(), ids)

    def block(self, start: int, stop: int) -> Vectors:
        """Consecutive rows; a view of the file where its dtype is float32."""
        return decode(self.stored(stop)[start:stop], self.dtype)

    def products(self, query: Vectors, start: int, stop: int) -> Scores:
        """The products of a unit vector (dim,) with consecutive rows, each within `products.MARGINS` of its cosine."""
        return products(self.stored(stop)[start:stop], self.dtype, query)

    def checksums(self, start: int, stop: int) -> list[int]:
        """CRC-32 of each row."""
        return crc_rows(self.stored(stop)[start:stop])

    def _failed(self, error: OSError) -> CollectionError:
        return CollectionError(f"{self.path}: {reason(error)}")
