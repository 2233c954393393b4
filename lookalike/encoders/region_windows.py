"""Pictures to vectors of windows of the encoder's last feature map: one run of the network, many parts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.encoders.maps import MapEncoder, MapHead, Windows, boxes, map_encoder, pyramid
from lookalike.errors import EncoderError
from lookalike.types import Box, Encoder, Vectors
from lookalike.utils.cores import cores
from lookalike.utils.threads import Threads

VERSION = 1  # of how windows are laid and chosen: part of the fingerprint
LARGER = 2.0
"""The side of the map's input beside that of a whole picture, where no size is named."""
SIDES = (0.16, 0.22, 0.3, 0.4, 0.55, 0.75)
"""The sides of windows, in shares of the picture's longer side: from 2 % of the area on."""
ASPECTS = (1.0, 1.5, 1 / 1.5)
STEP = 0.5


@dataclass(frozen=True)
class PreparedMap:
    """A picture of this size as the input of the network."""

    width: int
    height: int
    pixels: NDArray[Any]


@dataclass(frozen=True)
class Pooled:
    """At most `most` windows that stand for all others: of each window of a dense pyramid, a similar one is kept.

    So near-identical windows are kept once, an even ground takes a single one, and each thing gets its own. `size` is
    the longer side of the network's input in pixels; 0: twice that of whole pictures. Raises EncoderError
    for an encoder without a map.
    """

    encoder: Encoder
    most: int = 8
    size: int = 0
    maps: MapEncoder = field(init=False, repr=False)
    head: MapHead = field(init=False, repr=False)

    def __post_init__(self) -> None:
        maps = map_encoder(self.encoder)
        if maps is None or maps.map_head is None:
            way = (
                "use the spec grid, or an encoder that pools its map, such as efficientnet-lite0 or a ViT with pool=gem"
            )
            raise EncoderError(f"regions pooled: {self.encoder.name} has no map whose windows have vectors; {way}")
        object.__setattr__(self, "maps", maps)
        object.__setattr__(self, "head", maps.map_head)

    @property
    def spec(self) -> str:
        """With the options that differ from the defaults."""
        most = "" if self.most == Pooled.most else f",most={self.most}"
        return f"pooled{most}{f',size={self.size}' if self.size else ''}"

    @property
    def side(self) -> int:
        """The longer side of the network's input, in pixels."""
        return self.size or round(LARGER * self.maps.map_side)

    @property
    def passes(self) -> float:
        """The network's work grows with the area of its input; choosing windows takes about as long as a picture."""
        return (self.side / self.maps.map_side) ** 2 + 1

    @property
    def name(self) -> str:
        """The name of the encoder and the spec."""
        return f"{self.encoder.name}+regions={self.spec}"

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the encoder's fingerprint and all that decides the windows."""
        parts = (self.encoder.fingerprint, "pooled", VERSION, self.side, self.most)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def dim(self) -> int:
        """The encoder's."""
        return self.encoder.dim

    @property
    def decode_size(self) -> int | None:
        """The side of the network's input."""
        return self.side

    def prepare(self, image: Image, full_size: tuple[int, int] | None = None) -> PreparedMap:
        """Resize the picture for the network; a region of one is resized as if it were a picture."""
        return PreparedMap(image.width, image.height, self.maps.prepare_map(image, self.side))

    def encode_batch(self, prepared: Sequence[PreparedMap]) -> list[tuple[list[Box], Vectors]]:
        """The windows of each picture, largest first, with their vectors."""
        maps = self.maps.encode_maps([picture.pixels for picture in prepared])
        if len(maps) == 1 or cores() == 1:
            return [self._parts(*pair) for pair in zip(prepared, maps, strict=True)]
        with Threads(cores(), thread_name_prefix="lookalike-windows") as pool:
            return list(pool.map(self._parts, prepared, maps))

    def _parts(self, picture: PreparedMap, cells: NDArray[np.float32]) -> tuple[list[Box], Vectors]:
        windows, vectors = self._windows(cells)
        return boxes(windows, cells.shape[:2], picture.width, picture.height), vectors

    def _windows(self, cells: NDArray[np.float32]) -> tuple[Windows, Vectors]:
        windows = pyramid(*cells.shape[:2], SIDES, ASPECTS, STEP)
        vectors = self.head.vectors(cells, windows)
        kept = representatives(vectors, importance(windows), self.most)
        return windows[kept], vectors[kept]


def representatives(vectors: Vectors, weights: NDArray[np.float32], most: int) -> list[int]:
    """The rows, at most `most`, that together stand for all (n, dim) unit rows; each counts by its weight (n,).

    The greedy choice of the facility location problem (Nemhauser et al., 1978). Gains are squared, so that a window
    far from all kept ones counts more than many that are a little nearer: small things, which few windows show.
    """
    similar = vectors @ vectors.T
    beyond = np.empty_like(similar)
    nearest = np.zeros(len(vectors), np.float32)
    kept: list[int] = []
    for _ in range(min(most, len(vectors))):
        np.subtract(similar, nearest[:, None], out=beyond)
        np.square(np.maximum(beyond, 0, out=beyond), out=beyond)
        gains = weights @ beyond
        gains[kept] = -1
        kept.append(int(gains.argmax()))
        nearest = np.maximum(nearest, similar[:, kept[-1]])
    return kept


def importance(windows: Windows) -> NDArray[np.float32]:
    """(n,): small windows are more, and each counts less."""
    areas = (windows[:, 2] - windows[:, 0]) * (windows[:, 3] - windows[:, 1])
    return np.asarray(1 / areas, np.float32)
