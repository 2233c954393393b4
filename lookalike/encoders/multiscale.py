"""An encoder at several scales of its input to an encoder of their mean: the descriptor of the revisited protocols.

Radenović et al., TPAMI 2019, and DELG (Cao et al., ECCV 2020) encode a picture at 0.7, 1 and 1.4 times its size and
take the mean of the three unit vectors.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.encoders.pooling import unit
from lookalike.errors import EncoderError
from lookalike.images.decode import encode_images
from lookalike.types import Encoder, Picture, Vectors

SMALLEST, LARGEST, MOST = 0.1, 4.0, 8


@runtime_checkable
class ScaledEncoder(Encoder, Protocol):
    """An encoder whose input has a size that can be multiplied."""

    def prepare_scaled(self, image: Image, full_size: tuple[int, int] | None, scale: float) -> NDArray[Any]:
        """As `prepare`, with sides of about `scale` times as many pixels."""
        ...


def parse_scales(text: str) -> tuple[float, ...]:
    """`0.7:1:1.4` as numbers; raises EncoderError."""
    try:
        scales = tuple(float(part) for part in text.split(":"))
    except ValueError:
        scales = ()
    if not scales or len(set(scales)) < len(scales) or not all(SMALLEST <= scale <= LARGEST for scale in scales):
        raise EncoderError(
            f"scales {text!r}: write different numbers from {SMALLEST:g} to {LARGEST:g}, as in 0.7:1:1.4"
        )
    if len(scales) > MOST:
        raise EncoderError(f"scales {text!r}: at most {MOST}, as each takes a run of the network")
    return scales


class MultiScale:
    """The mean of unit vectors at several scales, at unit length. Meets `types.Encoder`."""

    def __init__(self, encoder: Encoder, scales: tuple[float, ...], name: str) -> None:
        """`name` is the one by which it is loaded again. Raises EncoderError for an encoder of a fixed input."""
        if not isinstance(encoder, ScaledEncoder):
            raise EncoderError(f"{encoder.name} takes pictures of one size and has no scales; leave them out")
        self._inner, self._scales, self.name = encoder, scales, name
        words = ":".join(f"{scale:g}" for scale in scales)
        self.fingerprint = hashlib.sha256(f"{encoder.fingerprint}|scales 1|{words}".encode()).hexdigest()
        self.dim = encoder.dim
        size = encoder.decode_size
        self.decode_size: int | None = None if size is None else round(size * max(scales))
        self.batch_size = int(getattr(encoder, "batch_size", 1))

    def prepare(self, image: Image, full_size: tuple[int, int] | None = None) -> Any:
        """An upright RGB picture to the inputs of all scales."""
        return [self._inner.prepare_scaled(image, full_size, scale) for scale in self._scales]

    def encode_batch(self, prepared: Sequence[Any]) -> Vectors:
        """Inputs from `prepare` to (n, dim) unit rows."""
        rows = self._inner.encode_batch([array for scaled in prepared for array in scaled])
        return unit(np.asarray(rows.reshape(len(prepared), len(self._scales), -1).mean(axis=1), np.float32))

    def encode(self, images: Sequence[Picture]) -> Vectors:
        """Images or paths to (n, dim) unit rows."""
        return encode_images(self, images)
