"""Queries: positive and negative images, regions, items of the collection, vectors and text, resolved to a probe."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.errors import ImageError, QueryError
from lookalike.images import decode as images
from lookalike.images import sources
from lookalike.images.augment import SMALLER, middle, parse, variants
from lookalike.search.combine import Combine, combine
from lookalike.search.searched import SearchedGallery
from lookalike.types import Box, Encoder, Picture, Probe, TextEncoder, Vectors
from lookalike.utils.arguments import number, one_of, optional, several, shown
from lookalike.utils.arguments import text as written
from lookalike.utils.timing import stage


@dataclass(frozen=True)
class Key:
    """A key of the collection that is never read as a path or a URL: for keys in requests from outside."""

    name: str

    def __str__(self) -> str:
        return self.name


Example = Picture | Key | bytes | NDArray[np.float32] | Probe
"""A part of a query: an open image, a path, a key of the collection, a URL, encoded image bytes, a vector (dim,), the
pixels of a picture (height, width, 3) as uint8 in RGB, or a probe, which is a resolved query."""
Region = Box | Sequence[float]
"""A box, or its four numbers: left, top, right, bottom."""


@dataclass(frozen=True)
class Query:
    """All parts of a query.

    Parameters
    ----------
    examples
        Images to find similar ones of: pictures, paths, keys, URLs, or vectors (dim,). An array (height, width, 3) of
        uint8 is a picture in RGB; one of OpenCV is in BGR, so give ``array[..., ::-1]``.
    text, negative_text
        A description of what to find, and of what not to find.
    negatives
        Images of what not to find, as `examples`.
    box
        A region of the only example, in pixels of the upright picture: a `Box`, or left, top, right, bottom.
    weights
        A positive weight for each example, in their order; they need not add up to 1.
    combine
        Several examples are combined by their ``mean``, or by the ``max`` of their cosines.
    invariant
        ``"flip"``, ``"rotate"``, ``"scale"``: also search for mirrored, turned, and smaller and larger copies of the
        examples.

    Raises
    ------
    QueryError
        Where there is nothing to search for, or the parts do not fit together.

    Examples
    --------
    >>> Query(("door.jpg",), text="a red door").text_part.text
    'a red door'
    """

    examples: tuple[Example, ...] = ()
    text: str | None = None
    negatives: tuple[Example, ...] = ()
    negative_text: str | None = None
    box: Box | None = None
    weights: tuple[float, ...] | None = None
    combine: Combine = "mean"
    invariant: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Validated here, once; a tuple is taken for a box, an array for a picture, one for several."""
        settle = partial(object.__setattr__, self)
        settle("box", box_of(self.box))
        settle("examples", tuple(map(example_of, examples(self.examples))))
        settle("negatives", tuple(map(example_of, examples(self.negatives))))
        settle("invariant", _kinds(self.invariant))
        for name in ("text", "negative_text"):
            settle(name, optional(written, name, getattr(self, name)))
        settle("weights", weights_of(self.weights))
        one_of("several queries are combined by", self.combine, get_args(Combine))
        if not (self.examples or self.text or self.negatives or self.negative_text):
            raise QueryError("no query was given")
        if self.box and len(self.examples) != 1:
            raise QueryError("a box goes with one query image, not with several" if self.examples else "a box of what?")
        if not (self.examples or self.text):
            raise QueryError("something must be wanted, not only unwanted: give an image or a text")

    @property
    def image_part(self) -> "Query | None":
        """The part of pictures and vectors; where these are only negatives, they become the examples."""
        if not self.examples and not self.negatives:
            return None
        if not self.examples:
            return Query(self.negatives)
        return replace(self, text=None, negative_text=None)

    @property
    def is_one_picture(self) -> bool:
        """Whether it is a single picture (or a part of it, or a vector) and nothing else."""
        return len(self.examples) == 1 and not (self.text or self.negatives or self.negative_text or self.invariant)

    @property
    def text_part(self) -> "Query | None":
        """The part of text; a negative text alone becomes the text."""
        if not self.text and not self.negative_text:
            return None
        return Query(text=self.text, negative_text=self.negative_text) if self.text else Query(text=self.negative_text)


@dataclass(frozen=True)
class Resolved:
    """A probe, with the rows of the collection that are the query itself."""

    probe: Probe
    own_rows: tuple[int, ...] = ()
    is_region: bool = False


def examples(query: Example | Sequence[Example] | None) -> tuple[Example, ...]:
    """An example, several or none, as a tuple."""
    if query is None:
        return ()
    if isinstance(query, Sequence) and not isinstance(query, str | bytes):
        return tuple(query)
    return (query,)


def example_of(example: Any) -> Example:
    """An example that can be searched for; the pixels of a picture become an image. Raises QueryError."""
    if isinstance(example, np.ndarray):
        return _of_array(example)
    if isinstance(example, bytearray | memoryview):
        return bytes(example)
    if not isinstance(example, Image.Image | str | Path | Key | bytes | Probe):
        kinds = "a path, a key, a URL, an open image, its bytes, or a numpy array"
        raise QueryError(f"the query {shown(example)} is no picture: give {kinds}")
    return example


def _of_array(array: NDArray[Any]) -> Image.Image | NDArray[np.float32]:
    """A picture (height, width, 3 or 4) or a vector (dim,), also as rows (n, dim); raises QueryError."""
    what = f"an array {array.shape} of {array.dtype}"
    way = "a picture is (height, width, 3) of uint8 in RGB (of BGR give array[..., ::-1]), a vector (dim,) of floats"
    if array.ndim == 3 and array.dtype == np.uint8 and array.shape[2] in (3, 4) and array.size:
        return Image.fromarray(np.ascontiguousarray(array))
    is_number = np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    if array.ndim not in (1, 2) or not array.size or not is_number or (array.ndim == 2 and array.dtype == np.uint8):
        raise QueryError(f"the query is {what}: {way}")
    return array


def box_of(box: Any) -> Box | None:
    """A `Box`, or four numbers as one; None stays. Raises QueryError."""
    if box is None or isinstance(box, Box):
        return box
    try:
        left, top, right, bottom = (number("box", side) for side in box)
    except (TypeError, ValueError, QueryError) as error:
        raise QueryError(f"box is {shown(box)}: give four numbers, left, top, right, bottom, in pixels") from error
    return Box(left, top, right, bottom)


def weights_of(weights: float | Sequence[float] | None) -> tuple[float, ...] | None:
    """Weights as numbers, one for each example; None stays. Raises QueryError."""
    if weights is None:
        return None
    return (number("weights", weights),) if isinstance(weights, Real) else several("weights", weights, number)


def _kinds(invariant: Any) -> tuple[str, ...]:
    kinds = several("invariant", invariant, written)
    return parse(",".join(kinds)) if kinds else ()


def normalise(vectors: NDArray[np.float32]) -> Vectors:
    """Rows to unit length; raises QueryError for a row that has no direction."""
    vectors = np.atleast_2d(np.asarray(vectors, np.float32))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths < 1e-12).any():
        raise QueryError("a query vector must be finite and not zero")
    return np.asarray(vectors / lengths, np.float32)


def resolve(query: Query, encoder: Callable[[], Encoder], gallery: SearchedGallery) -> Resolved:
    """A query as vectors of an encoder; `encoder` is called only where something must be encoded. Raises QueryError."""
    resolver = _Resolver(encoder, gallery, query.invariant)
    positives = [resolver.example(example, query.box) for example in query.examples]
    negatives = [replace(resolver, invariant=()).example(example, None) for example in query.negatives]
    rows = [positive.probe.vectors for positive in positives]
    away = [negative.probe.vectors for negative in negatives]
    if query.text:
        rows.append(resolver.text(query.text))
    if query.negative_text:
        away.append(resolver.text(query.negative_text))
    own = tuple(dict.fromkeys(row for positive in positives for row in positive.own_rows))
    only = positives[0].probe if len(positives) == 1 else Probe(rows[0])
    return Resolved(Probe(_combined(rows, away, query), only.image, only.reduced), own, query.box is not None)


def _combined(rows: Sequence[Vectors], away: Sequence[Vectors], query: Query) -> Vectors:
    """Positive (each with its mirrored and turned copies) and negative vectors to the rows of a probe."""
    if len(rows) == 1 and not away and query.weights is None:
        return rows[0]
    negatives = np.concatenate(away) if away else None
    if query.combine == "max":
        return combine(np.concatenate(rows), query.weights, negatives, "max")
    # The mean of all as they are, of all mirrored, and so on.
    copies = max(len(vectors) for vectors in rows)
    stacked = [np.stack([vectors[min(copy, len(vectors) - 1)] for vectors in rows]) for copy in range(copies)]
    return np.concatenate([combine(each, query.weights, negatives, "mean") for each in stacked])


@dataclass(frozen=True)
class _Resolver:
    """Resolves an example to its probe."""

    encoder: Callable[[], Encoder]
    gallery: SearchedGallery
    invariant: tuple[str, ...] = ()

    def text(self, text: str) -> Vectors:
        encoder = self.encoder()
        if not isinstance(encoder, TextEncoder):
            raise QueryError(f"{encoder.name} cannot read; text needs an encoder such as siglip2-base")
        with stage("encode"):
            return normalise(encoder.encode_text([text]))

    def example(self, example: Example, box: Box | None) -> Resolved:
        if isinstance(example, Probe):
            if self.invariant or box:
                raise QueryError("a probe cannot be cut, mirrored or turned any more")
            return Resolved(example)
        if isinstance(example, np.ndarray):
            if self.invariant or box:
                raise QueryError("a vector has no picture that could be cut, mirrored or turned")
            return Resolved(Probe(normalise(example)))
        try:
            if isinstance(example, Image.Image):
                return Resolved(self._encode(example, box))
            if isinstance(example, bytes):
                return self._of_bytes(example, (), box)
            return self._of_name(example, box)
        except ImageError as error:
            raise QueryError(f"{_name(example)}: {error}") from error

    def _of_name(self, example: str | Path | Key, box: Box | None) -> Resolved:
        if isinstance(example, Key):
            return self._of_row(_row_of(example, self.gallery), box)
        path = Path(example).expanduser()
        if not sources.is_url(str(example)) and (path.exists() or path.is_symlink()):
            return self._of_bytes(images.read(path), self.gallery.rows_of_file(path), box)
        row = self.gallery.row(str(example))
        if row is not None:
            return self._of_row(row, box)
        if sources.is_url(str(example)):
            return self._of_bytes(sources.fetch(str(example)), (), box)
        raise QueryError(f"{example}: no such file, and no such key in the collection")

    def _of_bytes(self, data: bytes, own: Sequence[int], box: Box | None) -> Resolved:
        same = self.gallery.rows_of_content(hashlib.sha256(data).hexdigest())
        own = tuple(own or same)
        intact = next((row for row in same if self.gallery.intact_item(row)), None)
        if intact is not None and not box and not self.invariant:
            # The same bytes and the same encoder: the stored vector is the probe, and no model need be loaded.
            return Resolved(_pictured(self.gallery.vectors(np.array([intact])), lambda: data), own)
        return Resolved(self._encode(data, box), own)

    def _of_row(self, row: int, box: Box | None) -> Resolved:
        if box or self.invariant or self.gallery.intact_item(row) is None:
            return Resolved(self._encode(self.gallery.read(row), box), (row,))
        stored = self.gallery.vectors(np.array([row]))
        return Resolved(_pictured(stored, lambda: self.gallery.read(row)), (row,))

    def _encode(self, example: Image.Image | bytes, box: Box | None) -> Probe:
        encoder = self.encoder()
        with stage("decode"):
            decoded = images.load(example, size=encoder.decode_size, box=box)
            prepared = [images.prepare(encoder, copy) for copy in self._copies(decoded)]
        with stage("encode"):
            vectors = normalise(encoder.encode_batch(prepared))
        return _pictured(vectors, lambda: example, box)

    def _copies(self, decoded: images.Decoded) -> list[images.Decoded]:
        turned = replace(decoded, width=decoded.height, height=decoded.width)
        quarters = "rotate" in self.invariant
        copies = [
            replace(turned if quarters and number % 2 else decoded, image=copy)
            for number, copy in enumerate(variants(decoded.image, self.invariant))
        ]
        return [scaled for copy in copies for scaled in _scales(copy)] if "scale" in self.invariant else copies


def _scales(decoded: images.Decoded) -> list[images.Decoded]:
    """The picture, as a part of larger ones, and its middle as a picture of its own."""
    inner = middle(decoded.image)
    zoomed = replace(
        decoded, image=inner, width=round(inner.width / decoded.scale), height=round(inner.height / decoded.scale)
    )
    smaller = [replace(decoded, width=round(k * decoded.width), height=round(k * decoded.height)) for k in SMALLER]
    return [decoded, *smaller, zoomed]


def _pictured(vectors: Vectors, read: Callable[[], Image.Image | bytes], box: Box | None = None) -> Probe:
    """A probe of the picture that `read()` gives, cut to its box."""

    def picture(size: int | None = None) -> Image.Image:
        return images.load(read(), size=size, box=box).image

    return Probe(vectors, picture, picture)


def query_picture(example: Example, box: Region | None, gallery: SearchedGallery) -> Image.Image:
    """The upright picture of an example at full size, cut to its box; raises QueryError where there is none."""
    example, box = example_of(example), box_of(box)
    try:
        if isinstance(example, Probe):
            if example.image is None:
                raise QueryError("a vector has no picture")
            return example.image()
        if isinstance(example, np.ndarray):
            raise QueryError("a vector has no picture")
        if isinstance(example, Key):
            example = gallery.read(_row_of(example, gallery))
        if isinstance(example, str | Path):
            path = Path(example).expanduser()
            if sources.is_url(str(example)) or not path.exists():
                row = gallery.row(str(example))
                if row is None and not sources.is_url(str(example)):
                    raise QueryError(f"{example}: no such file, and no such key in the collection")
                example = sources.fetch(str(example)) if row is None else gallery.read(row)
        return images.load(example, box=box).image
    except ImageError as error:
        raise QueryError(f"{_name(example)}: {error}") from error


def _row_of(key: Key, gallery: SearchedGallery) -> int:
    row = gallery.row(key.name)
    if row is None:
        raise QueryError(f"{key}: no such key in the collection")
    return row


def _name(example: Example) -> str:
    return str(example) if isinstance(example, str | Path | Key) else "the query image"
