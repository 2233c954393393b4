"""The types that all modules share: vectors, ids, boxes, hits, and the Protocols of encoders and galleries."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

Vectors = NDArray[np.float32]
"""(n, dim) float32, rows of unit length."""
Ids = NDArray[np.int64]
"""Row numbers of the collection; -1 means no result, as in FAISS."""
Scores = NDArray[np.float32]
"""Cosines, higher is better, in step with an array of ids."""
Picture = Image | str | Path
"""An image as an argument of the Python API: already open, or a path to it."""


Progress = Callable[[int, int | None], None]
"""Called repeatedly with (done, total); total is None while it is not known."""
Opener = Callable[[int | None], Image]
"""Decodes a stored image: upright RGB, whole, or its longer side at most so many pixels. Raises ImageError."""


@dataclass(frozen=True)
class Box:
    """A region of an image: corners, not width and height.

    Parameters
    ----------
    left, top
        The first column and row, in pixels of the upright image.
    right, bottom
        The end of the region, in the same pixels; exclusive.

    Examples
    --------
    >>> Box(10, 20, 110, 70).scaled(0.5, 0.5)
    Box(left=5.0, top=10.0, right=55.0, bottom=35.0)
    """

    left: float
    top: float
    right: float
    bottom: float

    def corners(self) -> list[float]:
        """left, top, right, bottom."""
        return [self.left, self.top, self.right, self.bottom]

    def scaled(self, factor_x: float, factor_y: float) -> "Box":
        """The same region on an image resized by these factors."""
        return Box(self.left * factor_x, self.top * factor_y, self.right * factor_x, self.bottom * factor_y)


@dataclass(frozen=True)
class Hit:
    """A result of a search.

    Parameters
    ----------
    rank
        The position in the results, from 1; with an offset, from offset + 1.
    key
        The name of the image in the collection: a relative path with ``/``.
    path
        Its file; None for an image in an archive or at a URL.
    score
        The cosine of its vector and the query's, -1 to 1; higher is more similar.
    confidence
        The probability, 0 to 1, that it shows the same thing as the query; None where none was measured for the encoder
        or for such a query.
    box
        The part of it that looks like the query, in pixels of the upright image; None where the whole does, and where
        the collection has no regions.
    opener
        What decodes its picture, as a search gives it; see `image` and `thumbnail`.

    Examples
    --------
    >>> Hit(1, "beach/a.jpg", Path("photos/beach/a.jpg"), 0.93).key
    'beach/a.jpg'
    """

    rank: int
    key: str
    path: Path | None
    score: float
    confidence: float | None = None
    box: Box | None = None
    opener: Opener | None = field(default=None, repr=False, compare=False, kw_only=True)

    @property
    def image(self) -> Image:
        """The upright picture at full size, in RGB, read from its file now.

        Raises ImageError where the file is gone or cannot be decoded.

        Examples
        --------
        >>> lookalike.open("photos").search("door.jpg", k=1)[0].image.size
        (64, 48)
        """
        return opened(self.opener, self.key, None)

    def thumbnail(self, size: int = 256) -> Image:
        """As `image`, with a longer side of at most `size` pixels: of a large JPEG that takes a fraction of the time.

        Examples
        --------
        >>> lookalike.open("photos").search("door.jpg", k=1)[0].thumbnail(32).size
        (32, 24)
        """
        return opened(self.opener, self.key, size)


@dataclass(frozen=True)
class Photo:
    """An image of a collection, as ``collection[key]`` gives it; its picture is read when it is asked for.

    Parameters
    ----------
    key
        The name of the image in the collection: a relative path with ``/``.
    path
        Its file; None for an image in an archive or at a URL.
    width, height
        The size of the upright picture, in pixels.
    opener
        What decodes its picture; see `image` and `thumbnail`.

    Examples
    --------
    >>> photo = lookalike.open("photos")["door.jpg"]
    >>> photo.width, photo.height, photo.thumbnail(32).size
    (64, 48, (32, 24))
    """

    key: str
    path: Path | None
    width: int
    height: int
    opener: Opener | None = field(default=None, repr=False, compare=False, kw_only=True)

    @property
    def image(self) -> Image:
        """The upright picture at full size, in RGB; raises ImageError."""
        return opened(self.opener, self.key, None)

    def thumbnail(self, size: int = 256) -> Image:
        """As `image`, with a longer side of at most `size` pixels."""
        return opened(self.opener, self.key, size)


def opened(opener: Opener | None, key: str, size: int | None) -> Image:
    """What an opener decodes; raises ValueError where there is none."""
    if opener is None:
        raise ValueError(f"{key}: it was made by hand and not by a search, so nothing says where its picture is")
    return opener(size)


@dataclass(frozen=True)
class Ranking:
    """Candidates best first: `ids` (n,) without -1 and `scores` (n,) in step with it.

    `boxes` are parts of images that a re-ranker looked for, by their ids.
    """

    ids: Ids
    scores: Scores
    boxes: Mapping[int, Box] = field(default_factory=dict)

    def head(self, n: int) -> "Ranking":
        """The best `n`."""
        return Ranking(self.ids[:n], self.scores[:n], self.boxes)

    def after(self, n: int) -> "Ranking":
        """All but the best `n`."""
        return Ranking(self.ids[n:], self.scores[n:], self.boxes)


@dataclass(frozen=True)
class Probe:
    """A query resolved to vectors (m, dim); an item's score is its best cosine to any of the rows.

    `image()` decodes the query (upright, cut to its box, full size) for re-rankers that need pixels; None where the
    query is not a single image. It raises ImageError where the file is gone. `reduced(size)` is the same picture,
    decoded at a fraction of its size as long as the shorter side has twice `size` pixels.
    """

    vectors: Vectors
    image: Callable[[], Image] | None = None
    reduced: Callable[[int], Image] | None = None


class Preparation(Protocol):
    """Preprocessing of a single image, before the batch goes to an encoder's model."""

    @property
    def decode_size(self) -> int | None:
        """A decoded image may be reduced until its shorter side has this many pixels; None: full size."""
        ...

    def prepare(self, image: Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """An upright RGB image to the array that `encode_batch` takes; called from several threads at once.

        `full_size` is (width, height) of the whole upright picture at the scale of `image`. It is larger than `image`
        where that is a region, so that the region gets the scale that the whole picture has in the gallery.
        """
        ...


@runtime_checkable
class Encoder(Preparation, Protocol):
    """Images to unit vectors: preprocessing, backbone, pooling and, if fitted, whitening.

    A class meets this Protocol with `name`, `dim`, `fingerprint`, `decode_size`, `prepare`, `encode_batch` and
    `encode`. `prepare` works on a single image, in decoding threads; `encode_batch` works on a batch. `encode` does
    both, for callers with a few images.

    Examples
    --------
    >>> lookalike.load_encoder("thumbnail").encode([Image.new("RGB", (64, 48))]).shape
    (1, 177)
    """

    @property
    def name(self) -> str:
        """The name by which `load_encoder` makes this encoder again."""
        ...

    @property
    def dim(self) -> int:
        """The length of its vectors."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of weights, preprocessing, pooling and whitening; vectors with different ones are never compared."""
        ...

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        """Arrays from `prepare` to (n, dim) float32 rows of unit length, in their order."""
        ...

    def encode(self, images: Sequence[Picture]) -> Vectors:
        """Images or paths to (n, dim) float32 rows of unit length, in their order; raises ImageError."""
        ...


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder that also embeds text in the same space."""

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """Texts to (n, dim) unit rows."""
        ...


class Gallery(Protocol):
    """The images that are searched, as re-rankers see them; ids are the row numbers in a `Ranking`."""

    def __len__(self) -> int: ...

    def vectors(self, ids: Ids) -> Vectors:
        """The stored unit rows (len(ids), dim)."""
        ...

    def search(self, vectors: Vectors, k: int) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) scores and ids, by the same search as the first ranking; -1 pads."""
        ...

    def image(self, row: int) -> Image:
        """The upright picture of a row; raises ImageError where it is gone."""
        ...

    def content(self, row: int) -> str:
        """The SHA-256 of a row's image file, as hexadecimal digits."""
        ...

    @property
    def cache_dir(self) -> Path | None:
        """A folder for features of the images, which may be deleted at any time; None where there is none."""
        ...


Reranker = Callable[[Probe, Ranking, Gallery], Ranking]
"""A method that reorders (and may extend) a ranking; an empty list of these means no re-ranking."""
