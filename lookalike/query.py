"""Queries: an image, a region of one, an item of the collection, a vector, or several of these, made into a probe."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike import images, sources
from lookalike.errors import ImageError, QueryError
from lookalike.types import Box, Encoder, Ids, Picture, Probe, Vectors

Query = Picture | bytes | NDArray[np.float32]
"""An open image, a path, a key of the collection, a URL, encoded image bytes, or a vector (dim,)."""


class Known(Protocol):
    """What a query may ask of the collection: which of its items are the query itself."""

    def rows_of_file(self, path: Path) -> list[int]:
        """The rows of this very file."""
        ...

    def rows_of_content(self, sha256: str) -> list[int]:
        """The rows with these bytes."""
        ...

    def row(self, key: str) -> int | None:
        """The row of this key."""
        ...

    def read(self, row: int) -> bytes:
        """The image file of a row; raises ImageError."""
        ...

    def vectors(self, ids: Ids) -> Vectors:
        """Stored vectors."""
        ...


@dataclass(frozen=True)
class Resolved:
    """A probe, and the rows of the collection that are the query itself."""

    probe: Probe
    own_rows: tuple[int, ...] = ()


def normalise(vectors: NDArray[np.float32]) -> Vectors:
    """Rows to unit length; raises QueryError for a row that has no direction."""
    vectors = np.atleast_2d(np.asarray(vectors, np.float32))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths < 1e-12).any():
        raise QueryError("a query vector must be finite and not zero")
    return np.asarray(vectors / lengths, np.float32)


def resolve(query: Query | Sequence[Query], box: Box | None, encoder: Callable[[], Encoder], known: Known) -> Resolved:
    """One query, or several whose mean is searched for; `encoder` is called only where something must be encoded."""
    if isinstance(query, Sequence) and not isinstance(query, str | bytes):
        if not query:
            raise QueryError("no query was given")
        if box and len(query) > 1:
            raise QueryError("a box goes with one query image, not with several")
        if len(query) > 1:
            return _mean([_resolve_one(one, None, encoder, known) for one in query])
        query = query[0]
    return _resolve_one(query, box, encoder, known)


def _mean(parts: Sequence[Resolved]) -> Resolved:
    vectors = np.concatenate([part.probe.vectors for part in parts])
    own = tuple(dict.fromkeys(row for part in parts for row in part.own_rows))
    return Resolved(Probe(normalise(vectors.mean(axis=0))), own)


def _resolve_one(query: Query, box: Box | None, encoder: Callable[[], Encoder], known: Known) -> Resolved:
    if isinstance(query, np.ndarray):
        return Resolved(Probe(normalise(query)))
    try:
        if isinstance(query, Image.Image):
            return Resolved(_encode(query, box, encoder))
        if isinstance(query, bytes):
            return _of_bytes(query, (), box, encoder, known)
        path = Path(query).expanduser()
        if not sources.is_url(str(query)) and (path.exists() or path.is_symlink()):
            return _of_bytes(images.read(path), known.rows_of_file(path), box, encoder, known)
        row = known.row(str(query))
        if row is not None:
            return _of_row(row, box, encoder, known)
        if sources.is_url(str(query)):
            return _of_bytes(sources.fetch(str(query)), (), box, encoder, known)
    except ImageError as error:
        raise QueryError(f"{_name(query)}: {error}") from error
    raise QueryError(f"{query}: no such file, and no such key in the collection")


def _of_bytes(
    data: bytes, own: Sequence[int], box: Box | None, encoder: Callable[[], Encoder], known: Known
) -> Resolved:
    same = known.rows_of_content(hashlib.sha256(data).hexdigest())
    own = tuple(own or same)
    if same and not box:
        # The same bytes under the same encoder: the stored vector is the answer, and no model need be loaded.
        return Resolved(Probe(known.vectors(np.array(same[:1])), lambda: images.decode(data).image), own)
    return Resolved(_encode(data, box, encoder), own)


def _of_row(row: int, box: Box | None, encoder: Callable[[], Encoder], known: Known) -> Resolved:
    if box:
        return Resolved(_encode(known.read(row), box, encoder), (row,))
    return Resolved(Probe(known.vectors(np.array([row])), lambda: images.decode(known.read(row)).image), (row,))


def _encode(query: Image.Image | bytes, box: Box | None, encoder: Callable[[], Encoder]) -> Probe:
    loaded = encoder()
    decoded = images.load(query, size=loaded.decode_size, box=box)
    vectors = normalise(loaded.encode_batch([images.prepare(loaded, decoded)]))
    return Probe(vectors, lambda: images.load(query, box=box).image)


def _name(query: Query) -> str:
    return str(query) if isinstance(query, str | Path) else "the query image"
