"""Pictures to vectors of fixed crops, each encoded as a picture of its own: for every encoder."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.types import Box, Encoder, Vectors


@dataclass(frozen=True)
class PreparedCrops:
    """The crops of a picture as arrays for the encoder."""

    boxes: list[Box]
    arrays: list[NDArray[Any]]


@dataclass(frozen=True)
class Grid:
    """Crops of half of each side: the four quarters of the picture and its middle, each encoded as a picture.

    With the scale that parts have in the whole picture (`full_size`, as for a query's box) they found a quarter of what
    they find so: EfficientNet-Lite0 has 7 of 60 pasted things first with the one, 31 with the other.
    """

    encoder: Encoder

    spec = "grid"
    most = 5
    passes = 5.0
    sides = ((2, 1 / 2), (1, 1 / 2))
    """Crops a side, and their side in shares of the picture's."""

    @property
    def name(self) -> str:
        """The name of the encoder and the spec."""
        return f"{self.encoder.name}+regions={self.spec}"

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the encoder's fingerprint and the spec."""
        return hashlib.sha256(f"{self.encoder.fingerprint}|regions|{self.spec}".encode()).hexdigest()

    @property
    def dim(self) -> int:
        """The encoder's."""
        return self.encoder.dim

    @property
    def decode_size(self) -> int | None:
        """Twice the encoder's: crops have half of the picture's side."""
        return None if self.encoder.decode_size is None else 2 * self.encoder.decode_size

    def prepare(self, image: Image, full_size: tuple[int, int] | None = None) -> PreparedCrops:
        """Cut and prepare each part, at the scale of a whole picture."""
        boxes = [box for count, share in self.sides for box in _pyramid(image.width, image.height, count, share)]
        boxes = list(dict.fromkeys(boxes))
        corners = [(int(box.left), int(box.top), int(box.right), int(box.bottom)) for box in boxes]
        return PreparedCrops(boxes, [self.encoder.prepare(image.crop(corner)) for corner in corners])

    def encode_batch(self, prepared: Sequence[PreparedCrops]) -> list[tuple[list[Box], Vectors]]:
        """The parts of each picture; the crops of all are one batch."""
        rows = self.encoder.encode_batch([array for crops in prepared for array in crops.arrays])
        parts, start = [], 0
        for crops in prepared:
            parts.append((crops.boxes, rows[start : start + len(crops.boxes)]))
            start += len(crops.boxes)
        return parts


def _pyramid(width: int, height: int, count: int, share: float) -> list[Box]:
    columns, rows = _steps(width, count, share), _steps(height, count, share)
    return [Box(left, top, right, bottom) for top, bottom in rows for left, right in columns]


def _steps(length: int, count: int, share: float) -> list[tuple[int, int]]:
    """Starts and ends of `count` equal parts over `length` pixels, each with at least one."""
    part = max(1, round(length * share))
    places = [place / (count - 1) for place in range(count)] if count > 1 else [1 / 2]
    starts = [round((length - part) * place) for place in places]
    return [(start, start + part) for start in starts]
