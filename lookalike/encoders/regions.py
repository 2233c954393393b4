"""Pictures to vectors of their parts: the seam between a collection's regions and whatever chooses and encodes them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.errors import EncoderError
from lookalike.types import Box, Encoder, Vectors

DEFAULT = "grid"
"""The spec where none is named."""
Regions = tuple[list[Box], Vectors]
"""The parts of a picture, in its pixels, and their unit rows (len(boxes), dim)."""


class RegionEncoder(Protocol):
    """Pictures to the vectors of their parts, in the space of the encoder behind it (with its whitening)."""

    @property
    def spec(self) -> str:
        """The canonical text of what it does: equal specs choose equal parts."""
        ...

    @property
    def name(self) -> str:
        """The name of the encoder and the spec."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of the encoder's fingerprint and the spec; rows with different ones are never compared."""
        ...

    @property
    def dim(self) -> int:
        """The length of its vectors: the encoder's."""
        ...

    @property
    def most(self) -> int:
        """So many parts has a picture at most; it has at least one."""
        ...

    @property
    def passes(self) -> float:
        """How long a picture takes at most, in times of the encoder for a whole one."""
        ...

    @property
    def decode_size(self) -> int | None:
        """As the encoder's: a picture may be reduced until its shorter side has this many pixels; None: full size."""
        ...

    def prepare(self, image: Image, full_size: tuple[int, int] | None = None) -> Any:
        """An upright RGB picture to what `encode_batch` takes; called from several threads at once."""
        ...

    def encode_batch(self, prepared: Sequence[Any]) -> list[Regions]:
        """For each picture its parts, in pixels of the image that was prepared."""
        ...


def region_encoder(encoder: Encoder, spec: str | None = None) -> RegionEncoder:
    """The parts of pictures as `spec` says, encoded by `encoder`; raises EncoderError for a spec that is none."""
    spec = spec or DEFAULT
    if spec != "grid":
        raise EncoderError(f"{spec}: no such spec of regions; there is grid")
    return Grid(encoder)


@dataclass(frozen=True)
class PreparedCrops:
    """The crops of a picture as arrays for the encoder."""

    boxes: list[Box]
    arrays: list[NDArray[Any]]


@dataclass(frozen=True)
class Grid:
    """A fixed pyramid of crops: 2 x 2 crops of two thirds of each side and 3 x 3 of a half."""

    encoder: Encoder

    spec = "grid"
    most = 13
    passes = 13.0
    sides = ((2, 2 / 3), (3, 1 / 2))
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
        """Twice the encoder's: the smallest crops have half of the picture's side."""
        return None if self.encoder.decode_size is None else 2 * self.encoder.decode_size

    def prepare(self, image: Image, full_size: tuple[int, int] | None = None) -> PreparedCrops:
        """Cut and prepare each part."""
        boxes = [box for count, share in self.sides for box in _pyramid(image.width, image.height, count, share)]
        boxes = list(dict.fromkeys(boxes))
        corners = [(int(box.left), int(box.top), int(box.right), int(box.bottom)) for box in boxes]
        return PreparedCrops(boxes, [self.encoder.prepare(image.crop(corner), full_size) for corner in corners])

    def encode_batch(self, prepared: Sequence[PreparedCrops]) -> list[Regions]:
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
    starts = [round((length - part) * place / (count - 1)) for place in range(count)]
    return [(start, start + part) for start in starts]
