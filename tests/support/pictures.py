"""Made-up pictures, and an encoder that is quick and honest."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.images import decode as images
from lookalike.types import Picture, Vectors


class PixelEncoder:
    """An image's 8 x 8 colours as a unit vector: what a pipeline needs to be tested, in a millisecond."""

    name = "pixels"
    dim = 192
    fingerprint = hashlib.sha256(b"pixels").hexdigest()
    decode_size = 8

    def __init__(self) -> None:
        self.encoded = 0

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        return np.asarray(image.resize((8, 8), Image.Resampling.BOX), np.float32)

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        self.encoded += len(prepared)
        rows = np.stack(prepared).reshape(len(prepared), -1) - 127.25
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def encode(self, pictures: Sequence[Picture]) -> Vectors:
        return images.encode_images(self, pictures)


def picture(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture of coarse coloured blocks, different for every seed."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)
