"""The nouns that every module shares: vectors, ids, boxes, hits, and the Protocols that implementations meet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
"""An image at the door of the Python API: already open, or a path to it."""


Progress = Callable[[int, int | None], None]
"""Called now and then with (done, total); total is None while it is not known."""


@dataclass(frozen=True)
class Box:
    """A region in pixels of the upright image: corners, not width and height; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    def scaled(self, factor_x: float, factor_y: float) -> "Box":
        """The same region on an image resized by these factors."""
        return Box(self.left * factor_x, self.top * factor_y, self.right * factor_x, self.bottom * factor_y)


@dataclass(frozen=True)
class Hit:
    """One result: `rank` counts from 1, `score` is the cosine, `path` is None for images inside an archive."""

    rank: int
    key: str
    path: Path | None
    score: float


@dataclass(frozen=True)
class Ranking:
    """Candidates best first: `ids` (n,) without -1 and `scores` (n,) in step with it."""

    ids: Ids
    scores: Scores

    def head(self, n: int) -> "Ranking":
        """The best `n`."""
        return Ranking(self.ids[:n], self.scores[:n])


@dataclass(frozen=True)
class Probe:
    """A query resolved to vectors (m, dim); an item's score is its best cosine to any of the rows.

    `image()` decodes the query (upright, cut to its box, full size) for re-rankers that look at pixels; None where the
    query is no single image. It raises ImageError where the file is gone.
    """

    vectors: Vectors
    image: Callable[[], Image] | None = None


class Preparation(Protocol):
    """What is done for one image alone, before an encoder's model sees it."""

    @property
    def decode_size(self) -> int | None:
        """A decoded image may be reduced as long as its shorter side stays at or above this; None: full size."""
        ...

    def prepare(self, image: Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """An upright RGB image to the array that `encode_batch` takes; called from several threads at once.

        `full_size` is (width, height) of the whole upright picture at the scale of `image`; it is larger than `image`
        where that is a region, which can so be given the scale that its whole picture has in the gallery.
        """
        ...


@runtime_checkable
class Encoder(Preparation, Protocol):
    """Preprocessing + backbone + pooling (+ whitening): images to unit vectors.

    `prepare` is what a decoding thread can do for one image alone; `encode_batch` is what profits from a batch.
    `encode` is the two in a row, and what a caller with a few images wants.
    """

    @property
    def name(self) -> str:
        """What `load_encoder` takes to make this encoder again."""
        ...

    @property
    def dim(self) -> int:
        """The length of its vectors."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of weights, preprocessing, pooling and whitening: vectors of two fingerprints are never compared."""
        ...

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        """Arrays from `prepare` to (n, dim) unit rows."""
        ...

    def encode(self, images: Sequence[Picture]) -> Vectors:
        """Images or paths to (n, dim) unit rows."""
        ...


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder that also reads text into the same space."""

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """Texts to (n, dim) unit rows."""
        ...


class Gallery(Protocol):
    """What a re-ranker may ask of the images that are searched; ids are the row numbers in a `Ranking`."""

    def __len__(self) -> int: ...

    def vectors(self, ids: Ids) -> Vectors:
        """The stored unit rows (len(ids), dim)."""
        ...

    def search(self, vectors: Vectors, k: int) -> tuple[Scores, Ids]:
        """The same exact or indexed search as the first list came from; -1 pads."""
        ...

    def image(self, row: int) -> Image:
        """The upright picture itself; raises ImageError where it is gone."""
        ...

    def content(self, row: int) -> str:
        """The SHA-256 of a row's image file, as hexadecimal digits."""
        ...

    @property
    def cache_dir(self) -> Path | None:
        """A folder for what is computed of the images, which may be deleted at any time; None where there is none."""
        ...


Reranker = Callable[[Probe, Ranking, Gallery], Ranking]
"""A method that reorders (and may extend) a ranking; "no re-ranking" is an empty list of these."""
