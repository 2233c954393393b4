"""A picture to a vector of its coarse shape and colour, which finds copies of a picture and needs no download."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.images.decode import encode_images
from lookalike.types import Picture, Vectors

SIDE = 32
GREY_COEFFICIENTS = 12
COLOUR_COEFFICIENTS = 4
# The vector of an even picture holds only its colour and this constant. In a photo the two are some 5 % of the length,
# so that brightness and contrast hardly count.
MEAN_WEIGHT = 0.05
CONSTANT = 200.0


@dataclass(frozen=True)
class Thumbnail:
    """Low frequencies of a 32 x 32 thumbnail, weighted by frequency (the pHash idea, kept as a vector).

    The discrete cosine transform of the luma gives 12 x 12 numbers and each chroma 4 x 4. Weighting a coefficient by
    its frequency evens out the spectrum of natural photos, which falls as 1/f. Two photos with the same large shapes (a
    bright sky over dark ground) thus get different vectors.
    """

    name: str = "thumbnail"
    dim: int = field(default=GREY_COEFFICIENTS**2 + 2 * COLOUR_COEFFICIENTS**2 + 1, init=False)
    decode_size: int | None = field(default=SIDE, init=False)
    batch_size: int = field(default=1, init=False)
    """`prepare` does most of the work, so a query gains nothing by waiting for others."""
    index_batch: ClassVar[int] = 64
    """Where thousands are indexed, so many at once cost little beside decoding."""

    @property
    def fingerprint(self) -> str:
        """A digest of the parameters; there are no weights."""
        values = (self.name, 1, SIDE, GREY_COEFFICIENTS, COLOUR_COEFFICIENTS, MEAN_WEIGHT, CONSTANT)
        return hashlib.sha256(repr(values).encode()).hexdigest()

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """(32, 32, 3) uint8 YCbCr of the whole picture, without its proportions."""
        pixels = image.resize((SIDE, SIDE), Image.Resampling.BOX).convert("YCbCr").tobytes()
        # Not by np.asarray, which takes four times as long for so few pixels.
        return np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE, 3)

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        """Thumbnails to (n, dim) unit rows."""
        pixels = np.stack(prepared).astype(np.float32) - 128
        planes = [_low_frequencies(pixels[..., 0], GREY_COEFFICIENTS)]
        planes += [_low_frequencies(pixels[..., channel], COLOUR_COEFFICIENTS) for channel in (1, 2)]
        rows = np.concatenate([*planes, np.full((len(pixels), 1), CONSTANT, np.float32)], axis=1)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def encode(self, images: Sequence[Picture]) -> Vectors:
        """Images or paths to (n, dim) unit rows."""
        return encode_images(self, images)


def _low_frequencies(plane: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """(n, 32, 32) to the (n, count * count) lowest DCT-II coefficients, each times its frequency."""
    basis = _cosines()[:count]
    coefficients = basis @ plane @ basis.T * _weights(count)
    return np.asarray(coefficients.reshape(len(plane), -1), np.float32)


@functools.cache
def _cosines() -> NDArray[np.float32]:
    """The orthonormal DCT-II matrix (32, 32)."""
    frequency, place = np.mgrid[:SIDE, :SIDE]
    matrix = np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE)) * np.sqrt(2 / SIDE)
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, np.float32)


@functools.cache
def _weights(count: int) -> NDArray[np.float32]:
    """The frequency of each coefficient (count, count)."""
    weights = np.hypot(*np.mgrid[:count, :count]).astype(np.float32)
    weights[0, 0] = MEAN_WEIGHT
    return np.asarray(weights, np.float32)
