"""Queries: images, regions, items of the collection, vectors and words, wanted or not, made into a probe."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.errors import ImageError, QueryError
from lookalike.images import decode as images
from lookalike.images import sources
from lookalike.images.augment import parse, variants
from lookalike.search.combine import How, combine
from lookalike.types import Box, Encoder, Ids, Picture, Probe, TextEncoder, Vectors
from lookalike.utils.timing import stage


@dataclass(frozen=True)
class Key:
    """A key of the collection and never a path or a URL, whatever it looks like: for keys that a stranger names."""

    name: str

    def __str__(self) -> str:
        return self.name


Query = Picture | Key | bytes | NDArray[np.float32]
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
class Asked:
    """Everything that is asked at once.

    `images` and `text` are wanted, `negatives` and `negative_text` are not. `box` is a region of the only image, in
    pixels of the upright picture. Several images are combined by their `mean`, each with its weight, or by the `max` of
    their cosines. `invariant` ("flip", "rotate"): the images are asked for mirrored and turned as well.
    """

    images: tuple[Query, ...] = ()
    text: str | None = None
    negatives: tuple[Query, ...] = ()
    negative_text: str | None = None
    box: Box | None = None
    weights: tuple[float, ...] | None = None
    combine: How = "mean"
    invariant: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises QueryError for what does not go together."""
        if not (self.images or self.text or self.negatives or self.negative_text):
            raise QueryError("no query was given")
        if self.box and len(self.images) != 1:
            raise QueryError("a box goes with one query image, not with several" if self.images else "a box of what?")
        if self.invariant:
            parse(",".join(self.invariant))
        if not (self.images or self.text):
            raise QueryError("something must be wanted, not only unwanted: give an image or a text")

    @property
    def about_images(self) -> "Asked | None":
        """The part that is asked with pictures; only what is not wanted becomes what is looked for (see `pushes`)."""
        if not self.images and not self.negatives:
            return None
        if not self.images:
            return Asked(images=self.negatives)
        return replace(self, text=None, negative_text=None)

    @property
    def about_text(self) -> "Asked | None":
        """The part that is asked with words, likewise."""
        if not self.text and not self.negative_text:
            return None
        return Asked(text=self.text, negative_text=self.negative_text) if self.text else Asked(text=self.negative_text)


@dataclass(frozen=True)
class Resolved:
    """A probe, and the rows of the collection that are the query itself."""

    probe: Probe
    own_rows: tuple[int, ...] = ()
    is_region: bool = False


def several(query: Query | Sequence[Query] | None) -> tuple[Query, ...]:
    """One query, several or none, as a tuple."""
    if query is None:
        return ()
    if isinstance(query, Sequence) and not isinstance(query, str | bytes):
        return tuple(query)
    return (query,)


def normalise(vectors: NDArray[np.float32]) -> Vectors:
    """Rows to unit length; raises QueryError for a row that has no direction."""
    vectors = np.atleast_2d(np.asarray(vectors, np.float32))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths < 1e-12).any():
        raise QueryError("a query vector must be finite and not zero")
    return np.asarray(vectors / lengths, np.float32)


def resolve(asked: Asked, encoder: Callable[[], Encoder], known: Known) -> Resolved:
    """What is asked as vectors of one encoder; `encoder` is called only where something must be encoded."""
    resolver = _Resolver(encoder, known, asked.invariant)
    wanted = [resolver.one(query, asked.box) for query in asked.images]
    unwanted = [replace(resolver, invariant=()).one(query, None) for query in asked.negatives]
    rows = [part.probe.vectors for part in wanted]
    away = [part.probe.vectors for part in unwanted]
    if asked.text:
        rows.append(resolver.text(asked.text))
    if asked.negative_text:
        away.append(resolver.text(asked.negative_text))
    own = tuple(dict.fromkeys(row for part in wanted for row in part.own_rows))
    picture = wanted[0].probe.image if len(wanted) == 1 else None
    return Resolved(Probe(_combined(rows, away, asked), picture), own, asked.box is not None)


def _combined(rows: Sequence[Vectors], away: Sequence[Vectors], asked: Asked) -> Vectors:
    """Wanted (each with its mirrored and turned copies) and unwanted vectors to the rows of a probe."""
    if len(rows) == 1 and not away and asked.weights is None:
        return rows[0]
    negatives = np.concatenate(away) if away else None
    if asked.combine == "max":
        return combine(np.concatenate(rows), asked.weights, negatives, "max")
    # The mean of all as they are, of all mirrored, and so on.
    copies = max(len(one) for one in rows)
    stacked = [np.stack([one[min(copy, len(one) - 1)] for one in rows]) for copy in range(copies)]
    return np.concatenate([combine(each, asked.weights, negatives, "mean") for each in stacked])


@dataclass(frozen=True)
class _Resolver:
    """One query at a time to its probe."""

    encoder: Callable[[], Encoder]
    known: Known
    invariant: tuple[str, ...] = ()

    def text(self, text: str) -> Vectors:
        encoder = self.encoder()
        if not isinstance(encoder, TextEncoder):
            raise QueryError(f"{encoder.name} cannot read; text needs an encoder such as siglip2-base")
        with stage("encode"):
            return normalise(encoder.encode_text([text]))

    def one(self, query: Query, box: Box | None) -> Resolved:
        if isinstance(query, np.ndarray):
            if self.invariant or box:
                raise QueryError("a vector has no picture that could be cut, mirrored or turned")
            return Resolved(Probe(normalise(query)))
        try:
            if isinstance(query, Image.Image):
                return Resolved(self._encode(query, box))
            if isinstance(query, bytes):
                return self._of_bytes(query, (), box)
            return self._of_name(query, box)
        except ImageError as error:
            raise QueryError(f"{_name(query)}: {error}") from error

    def _of_name(self, query: str | Path | Key, box: Box | None) -> Resolved:
        if isinstance(query, Key):
            return self._of_row(_row_of(query, self.known), box)
        path = Path(query).expanduser()
        if not sources.is_url(str(query)) and (path.exists() or path.is_symlink()):
            return self._of_bytes(images.read(path), self.known.rows_of_file(path), box)
        row = self.known.row(str(query))
        if row is not None:
            return self._of_row(row, box)
        if sources.is_url(str(query)):
            return self._of_bytes(sources.fetch(str(query)), (), box)
        raise QueryError(f"{query}: no such file, and no such key in the collection")

    def _of_bytes(self, data: bytes, own: Sequence[int], box: Box | None) -> Resolved:
        same = self.known.rows_of_content(hashlib.sha256(data).hexdigest())
        own = tuple(own or same)
        if same and not box and not self.invariant:
            # The same bytes under the same encoder: the stored vector is the answer, and no model need be loaded.
            return Resolved(Probe(self.known.vectors(np.array(same[:1])), lambda: images.decode(data).image), own)
        return Resolved(self._encode(data, box), own)

    def _of_row(self, row: int, box: Box | None) -> Resolved:
        if box or self.invariant:
            return Resolved(self._encode(self.known.read(row), box), (row,))
        stored = self.known.vectors(np.array([row]))
        return Resolved(Probe(stored, lambda: images.decode(self.known.read(row)).image), (row,))

    def _encode(self, query: Image.Image | bytes, box: Box | None) -> Probe:
        encoder = self.encoder()
        with stage("decode"):
            decoded = images.load(query, size=encoder.decode_size, box=box)
            prepared = [images.prepare(encoder, copy) for copy in self._copies(decoded)]
        with stage("encode"):
            vectors = normalise(encoder.encode_batch(prepared))
        return Probe(vectors, lambda: images.load(query, box=box).image)

    def _copies(self, decoded: images.Decoded) -> list[images.Decoded]:
        turned = replace(decoded, width=decoded.height, height=decoded.width)
        quarters = "rotate" in self.invariant
        return [
            replace(turned if quarters and number % 2 else decoded, image=copy)
            for number, copy in enumerate(variants(decoded.image, self.invariant))
        ]


def query_picture(query: Query, box: Box | None, known: Known) -> Image.Image:
    """The upright picture of a query at full size, cut to its box; raises QueryError where it has none."""
    try:
        if isinstance(query, np.ndarray):
            raise QueryError("a vector has no picture")
        if isinstance(query, Key):
            query = known.read(_row_of(query, known))
        if isinstance(query, str | Path):
            path = Path(query).expanduser()
            if sources.is_url(str(query)) or not path.exists():
                row = known.row(str(query))
                if row is None and not sources.is_url(str(query)):
                    raise QueryError(f"{query}: no such file, and no such key in the collection")
                query = sources.fetch(str(query)) if row is None else known.read(row)
        return images.load(query, box=box).image
    except ImageError as error:
        raise QueryError(f"{_name(query)}: {error}") from error


def _row_of(key: Key, known: Known) -> int:
    row = known.row(key.name)
    if row is None:
        raise QueryError(f"{key}: no such key in the collection")
    return row


def _name(query: Query) -> str:
    return str(query) if isinstance(query, str | Path | Key) else "the query image"
