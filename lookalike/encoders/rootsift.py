"""RootSIFT + VLAD: a descriptor (embedding) that needs no download; its vocabulary ships inside the package.

RootSIFT: Arandjelović & Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012.
VLAD: Jégou et al., "Aggregating local descriptors into a compact image representation", CVPR 2010, with residual
normalisation and power law (Delhumeau et al., "Revisiting the VLAD image representation", ACM MM 2013) and
intra-normalisation (Arandjelović & Zisserman, "All about VLAD", CVPR 2013).
"""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders import dense_sift
from lookalike.errors import EncoderError
from lookalike.images.decode import REDUCING_GAP, encode_images
from lookalike.types import Picture, Vectors

VOCABULARY = Path(__file__).parent / "data" / "rootsift.safetensors"
VERSION = 1
SIDE = 640
"""The longest side of a picture before descriptors are computed, in pixels."""
MOST_ENLARGED = 2.0
"""The largest factor for small pictures; beyond it, descriptors would describe only the blur."""
POWER = 0.5


class RootSift:
    """Dense upright RootSIFT, aggregated to a VLAD, reduced and partly whitened by PCA: (dim,) float32, unit length."""

    decode_size: int | None = SIDE // REDUCING_GAP
    batch_size = 1
    """`prepare` does all the work, so batches gain nothing."""

    def __init__(self, name: str = "rootsift") -> None:
        """Raises EncoderError where the package's own vocabulary is missing or damaged."""
        self.name = name
        self._vocabulary = load_vocabulary()
        self.dim = int(self._vocabulary["projection"].shape[1])

    @property
    def fingerprint(self) -> str:
        """A digest of the vocabulary and the parameters above."""
        parameters = (VERSION, SIDE, MOST_ENLARGED, POWER, dense_sift.PARAMETERS)
        return hashlib.sha256(_digest() + repr(parameters).encode()).hexdigest()

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """The vector (dim,) of an image. A region gets the scale of its whole picture."""
        gray = to_gray(image, full_size or image.size)
        vlad = aggregate(dense_sift.described(gray), self._vocabulary)
        vector = (vlad - self._vocabulary["vlad_mean"]) @ self._vocabulary["projection"]
        length = float(np.linalg.norm(vector))
        if not vlad.any() or length < 1e-6:
            return self._of_colour(image)
        return np.asarray(vector / length, np.float32)

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        """Stacks vectors from `prepare`; they are the same to the last bit in any batch."""
        return np.stack(prepared)

    def encode(self, images: Sequence[Picture]) -> Vectors:
        """Images or paths to (n, dim) unit rows."""
        return encode_images(self, images)

    def _of_colour(self, image: Image.Image) -> NDArray[np.float32]:
        """The vector of a picture without texture: its colour, in a corner that no other picture reaches."""
        red, green, blue = image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))  # type: ignore[misc]
        vector = np.zeros(self.dim, np.float32)
        vector[-4:] = 2.0, red / 255 - 0.5, green / 255 - 0.5, blue / 255 - 0.5
        return np.asarray(vector / np.linalg.norm(vector), np.float32)


@functools.cache
def load_vocabulary() -> dict[str, NDArray[np.float32]]:
    """mean (128,), axes (128, d), centroids (K, d), vlad_mean (K d,), projection (K d, dim), as float32."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        stored = load_file(VOCABULARY)
        scale = stored.pop("projection_scale").astype(np.float32)
        projection = stored.pop("projection").astype(np.float32) * scale
        return {**{name: values.astype(np.float32) for name, values in stored.items()}, "projection": projection}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise EncoderError(
            f"{VOCABULARY.name} of the package cannot be read ({error}); install lookalike again"
        ) from error


@functools.cache
def _digest() -> bytes:
    return hashlib.sha256(VOCABULARY.read_bytes()).digest()


def to_gray(image: Image.Image, full_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Luma, resized by the scale that brings the longest side of the whole picture to `SIDE`."""
    import cv2

    factor = min(SIDE / max(full_size), MOST_ENLARGED)
    width, height = max(16, round(image.width * factor)), max(16, round(image.height * factor))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.asarray(image.convert("L")), (width, height), interpolation=how), np.uint8)


def aggregate(descriptors: NDArray[np.float32], vocabulary: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """(n, 128) RootSIFT to a VLAD (K d,) of unit length; zeros where there are no descriptors."""
    centroids = vocabulary["centroids"]
    reduced = (descriptors - vocabulary["mean"]) @ vocabulary["axes"]
    nearest = (reduced @ centroids.T - 0.5 * (centroids**2).sum(axis=1)).argmax(axis=1)
    belongs = np.zeros((len(reduced), len(centroids)), np.float32)
    belongs[np.arange(len(reduced)), nearest] = 1
    even = unit(belongs.T @ unit(reduced - centroids[nearest]))
    powered = np.asarray(np.sign(even) * np.abs(even) ** POWER, np.float32)
    return np.asarray(unit(powered.reshape(1, -1))[0], np.float32)


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows divided by their lengths; rows of zeros stay."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
