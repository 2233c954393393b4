"""An encoder and a whitening (or another linear map) to an encoder of mapped vectors, for queries and new images."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.encoders.maps import MapHead
from lookalike.encoders.whitening import Whitening
from lookalike.errors import EncoderError
from lookalike.images.decode import encode_images
from lookalike.types import Encoder, Picture, TextEncoder, Vectors

FORWARDED = (
    "batch_size", "index_batch", "encode_patches", "patch_region", "preparation",
    "encode_maps", "prepare_map", "map_side",
)  # fmt: skip
"""Attributes that only some encoders have, and that whitening does not change."""


Kind = Literal["whitened", "adapted"]
"""How a map was learned: without labels (`whiten`), or with them (`adapt`)."""


def whitened(encoder: Encoder, whitening: Whitening, kind: Kind = "whitened") -> "WhitenedEncoder":
    """`encoder` followed by `whitening`; a text encoder stays one."""
    return (
        WhitenedTextEncoder(encoder, whitening, kind)
        if isinstance(encoder, TextEncoder)
        else WhitenedEncoder(encoder, whitening, kind)
    )


def fingerprint(encoder: str, whitening: Whitening, kind: Kind = "whitened") -> str:
    """The fingerprint of an encoder, given by its own, followed by a whitening."""
    return hashlib.sha256(f"{encoder}|{kind}|{whitening.fingerprint}".encode()).hexdigest()


def bare(encoder: Encoder) -> Encoder:
    """An encoder without the linear maps that follow it."""
    while isinstance(encoder, WhitenedEncoder):
        encoder = encoder.inner
    return encoder


class WhitenedEncoder:
    """Meets `types.Encoder`. `name` is the inner encoder's, by which it is loaded; the collection has the whitening."""

    def __init__(self, encoder: Encoder, whitening: Whitening, kind: Kind = "whitened") -> None:
        """Raises EncoderError where their dimensions differ."""
        if encoder.dim != whitening.dim_in:
            raise EncoderError(
                f"{encoder.name} gives {encoder.dim} numbers, the whitening takes {whitening.dim_in}; "
                "it was learned with another encoder"
            )
        self.inner, self._whitening = encoder, whitening
        self.fingerprint = fingerprint(encoder.fingerprint, whitening, kind)

    def __getattr__(self, name: str) -> Any:
        if name not in FORWARDED:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.inner, name)

    @property
    def name(self) -> str:
        """The name by which `load_encoder` loads the inner encoder."""
        return self.inner.name

    @property
    def dim(self) -> int:
        """The length of the whitened vectors."""
        return self._whitening.dim

    @property
    def map_head(self) -> MapHead | None:
        """The inner encoder's, followed by the whitening; None where it has none."""
        head: MapHead | None = getattr(self.inner, "map_head", None)
        return head.followed_by(self._whitening) if head else None

    @property
    def decode_size(self) -> int | None:
        """The inner encoder's."""
        return self.inner.decode_size

    def prepare(self, image: Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """The inner encoder's."""
        return self.inner.prepare(image, full_size)

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        """Arrays from `prepare` to (n, dim) whitened unit rows."""
        return self._whitening.apply(self.inner.encode_batch(prepared))

    def encode(self, images: Sequence[Picture]) -> Vectors:
        """Images or paths to (n, dim) whitened unit rows."""
        return encode_images(self, images)


class WhitenedTextEncoder(WhitenedEncoder):
    """A whitened encoder that also encodes text."""

    inner: TextEncoder

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """Texts to (n, dim) whitened unit rows."""
        return self._whitening.apply(self.inner.encode_text(texts))
