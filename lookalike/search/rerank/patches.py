"""Re-ranking by the patch tokens of a vision transformer: which parts of two pictures look alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.errors import QueryError
from lookalike.search.rerank.cache import remembered
from lookalike.search.rerank.candidates import Values, by_value, check
from lookalike.search.rerank.spatial import picture
from lookalike.types import Gallery, Probe, Ranking
from lookalike.utils.cores import cores
from lookalike.utils.threads import Threads

How = Literal["mutual", "chamfer"]
MAGIC = b"lkt1"


@runtime_checkable
class PatchEncoder(Protocol):
    """An encoder that also gives the tokens of an image's patches."""

    @property
    def fingerprint(self) -> str:
        """As of every encoder."""
        ...

    def prepare(self, image: Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """As of every encoder."""
        ...

    def encode_patches(self, prepared: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """For each image its tokens (h, w, dim), row by row as the patches lie in it."""
        ...


@dataclass(frozen=True)
class PatchTokens:
    """The patch tokens (h, w, dim) of a picture as signed bytes; only their direction is meaningful."""

    values: NDArray[np.int8]

    @classmethod
    def of(cls, tokens: NDArray[np.float32]) -> "PatchTokens":
        """Each token is scaled so that its largest number is 127."""
        highest = np.maximum(np.abs(tokens).max(axis=-1, keepdims=True), 1e-9)
        return cls(np.rint(tokens * (127 / highest)).astype(np.int8))

    def unit(self) -> NDArray[np.float32]:
        """Rows of unit length (h * w, dim)."""
        rows = self.values.reshape(-1, self.values.shape[-1]).astype(np.float32)
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)

    def to_bytes(self) -> bytes:
        """The shape, then the numbers."""
        return MAGIC + np.array(self.values.shape, "<u4").tobytes() + self.values.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "PatchTokens | None":
        """The inverse of `to_bytes`; None for anything else."""
        if data[:4] != MAGIC or len(data) < 16:
            return None
        height, width, dim = np.frombuffer(data, "<u4", 3, 4).tolist()
        if not height * width * dim or len(data) != 16 + height * width * dim:
            return None
        return cls(np.frombuffer(data, np.int8, -1, 16).reshape(height, width, dim))


@dataclass(frozen=True)
class Patches:
    """Compares patch tokens of the query and the first `top` candidates.

    `mutual`: the sum of the cosines of patches that are each other's nearest, over the number of the query's patches.
    `chamfer`: the mean over the query's patches of the best cosine with any of the candidate's (Razavian et al.,
    "Visual Instance Retrieval with Deep Convolutional Networks", 2016). The score is that plus the pictures' cosine.

    The encoder is `encoder`, or else the attribute `encoder` of the gallery. Tokens are computed when first needed, at
    the cost of encoding the picture, and stored in the gallery's cache.
    """

    top: int = 100
    how: How = "mutual"
    encoder: PatchEncoder | None = None

    def __post_init__(self) -> None:
        check("patches", top=(self.top, 1, 10_000))
        if self.how not in get_args(How):
            raise QueryError(f"patches: how = {self.how}; there are {', '.join(get_args(How))}")

    def __call__(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        """The first `top` by both scores; raises QueryError where the query is no picture, or the encoder no ViT."""
        return by_value(self, probe, ranking, gallery)

    def values(self, probe: Probe, ranking: Ranking, gallery: Gallery) -> Values:
        """The cosine plus the score of the patches (n,), which is 0 for a picture that cannot be read."""
        encoder = self._encoder(gallery)
        query = encode(encoder, picture("patches", probe)).unit()
        with Threads(cores(), thread_name_prefix="lookalike-patches") as pool:
            tokens = remembered(
                ranking.ids,
                gallery,
                f"|patches 1|{encoder.fingerprint}",
                pool,
                _maker(encoder, gallery),
                PatchTokens.from_bytes,
            )
        compare = {"mutual": mutual, "chamfer": chamfer}[self.how]
        values = [compare(query @ tokens[row].unit().T) if row in tokens else 0.0 for row in ranking.ids.tolist()]
        return np.asarray(ranking.scores + np.array(values, np.float64), np.float64)

    def _encoder(self, gallery: Gallery) -> PatchEncoder:
        encoder = self.encoder or getattr(gallery, "encoder", None)
        if not isinstance(encoder, PatchEncoder):
            name = getattr(encoder, "name", "this collection's encoder")
            raise QueryError(f"patches needs an encoder with patch tokens, such as dinov2-base; {name} has none")
        return encoder


def encode(encoder: PatchEncoder, image: Image) -> PatchTokens:
    """A picture to its tokens."""
    return PatchTokens.of(encoder.encode_patches([encoder.prepare(image)])[0])


def chamfer(similar: NDArray[np.float32]) -> float:
    """(n, m) cosines of the query's patches with a candidate's: the mean of the best of each of the query's."""
    return float(similar.max(axis=1).mean())


def mutual(similar: NDArray[np.float32]) -> float:
    """(n, m) cosines: the sum over pairs that are each other's nearest, over n."""
    pairs = mutual_pairs(similar)
    return float(similar[pairs[:, 0], pairs[:, 1]].sum() / len(similar))


def mutual_pairs(similar: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n, m) cosines to (pairs, 2) patches that are each other's nearest."""
    best = similar.argmax(axis=1)
    rows = np.flatnonzero(similar.argmax(axis=0)[best] == np.arange(len(similar)))
    return np.stack([rows, best[rows]], axis=1)


def _maker(encoder: PatchEncoder, gallery: Gallery) -> Any:
    encoding = Lock()  # Pictures are read in threads; the encoder has threads of its own.

    def make(row: int) -> PatchTokens:
        image = gallery.image(row)
        with encoding:
            return encode(encoder, image)

    return make
