"""The last feature map of an encoder to vectors of its windows, in the space of the encoder's own vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from lookalike.encoders.pooling import POWER, unit
from lookalike.encoders.whitening import Whitening
from lookalike.types import Box, Encoder, Vectors

Rows = NDArray[np.float32]
Windows = NDArray[np.int64]
"""(n, 4) first row, first column, end row and end column of cells; ends are exclusive."""


@dataclass(frozen=True)
class MapHead:
    """What follows the last map of an encoder: mean or generalised mean of its cells, linear layer, unit length, maps.

    With the power 3, cells are at least `least` where that is given; without it the root keeps the sign (`pooling`).
    `weight` is (dim, channels), `bias` (dim,).
    """

    power: int = 1
    least: float | None = None
    weight: Rows | None = None
    bias: Rows | None = None
    linear_maps: tuple[Whitening, ...] = ()

    def followed_by(self, linear_map: Whitening) -> "MapHead":
        """The head of an encoder whose vectors are whitened or adapted."""
        return replace(self, linear_maps=(*self.linear_maps, linear_map))

    def vectors(self, cells: Rows, windows: Windows) -> Vectors:
        """A map (rows, columns, channels) and n windows of it to (n, dim) unit rows."""
        shape = cells.shape
        if self.least is not None:
            cells = np.maximum(cells, np.float32(self.least))
        lifted = cells if self.power == 1 else cells**POWER
        flat = lifted.reshape(-1, shape[2])
        means = shares(shape[0], shape[1], windows) @ flat
        # A ReLU may leave nothing of an even ground: such a window stands for the whole.
        means[~means.any(axis=1)] = flat.mean(axis=0)
        rows = means if self.power == 1 else np.cbrt(means)
        if self.weight is not None and self.bias is not None:
            rows = rows @ self.weight.T + self.bias
        vectors = unit(rows)
        for linear_map in self.linear_maps:
            vectors = linear_map.apply(vectors)
        return vectors


class MapEncoder(Encoder, Protocol):
    """An encoder whose vector is pooled from a map: any window of the map has a vector, too."""

    @property
    def map_head(self) -> MapHead | None:
        """What makes the vector of the map; None where the vector is no mean of it, as that of a class token."""
        ...

    @property
    def map_side(self) -> int:
        """The longest side that a picture has for its own vector, in pixels."""
        ...

    def prepare_map(self, image: Image, side: int) -> NDArray[Any]:
        """An upright RGB picture with its proportions, its longest side at about `side` pixels."""
        ...

    def encode_maps(self, prepared: Sequence[NDArray[Any]]) -> list[Rows]:
        """For each picture its map (rows, columns, channels), which covers all of it."""
        ...


def map_encoder(encoder: Encoder) -> MapEncoder | None:
    """The encoder, where windows of its map have vectors."""
    return encoder if getattr(encoder, "map_head", None) is not None else None  # type: ignore[return-value]


def shares(rows: int, columns: int, windows: Windows) -> Rows:
    """(n, rows * columns): the share of each cell in the mean of each window."""
    place = np.arange(rows)[None, :, None], np.arange(columns)[None, None, :]
    top, left, bottom, right = (windows[:, number, None, None] for number in range(4))
    inside = (place[0] >= top) & (place[0] < bottom) & (place[1] >= left) & (place[1] < right)
    flat = inside.reshape(len(windows), -1).astype(np.float32)
    return np.asarray(flat / flat.sum(axis=1, keepdims=True), np.float32)


def boxes(windows: Windows, grid: tuple[int, int], width: int, height: int) -> list[Box]:
    """Windows of a grid (rows, columns) as boxes of the picture of this size."""
    scale = np.array([height / grid[0], width / grid[1]] * 2)
    return [Box(left, top, right, bottom) for top, left, bottom, right in (windows * scale).tolist()]


@lru_cache(maxsize=64)
def pyramid(
    rows: int, columns: int, sides: tuple[float, ...], aspects: tuple[float, ...], step: float, least: int = 2
) -> Windows:
    """All windows of these sides (in shares of the longer side) and aspects; neighbours are `step` of a side apart.

    Their order is by size, the largest first, then by place.
    """
    found: dict[tuple[int, int, int, int], None] = {}
    longer = max(rows, columns)
    for side in sorted(sides, reverse=True):
        for aspect in aspects:
            height = min(rows, max(least, round(side * longer / aspect**0.5)))
            width = min(columns, max(least, round(side * longer * aspect**0.5)))
            for top in _starts(rows, height, step):
                for left in _starts(columns, width, step):
                    found[(top, left, top + height, left + width)] = None
    windows = np.array(list(found), np.int64)
    windows.flags.writeable = False
    return windows


def _starts(length: int, part: int, step: float) -> list[int]:
    count = int(np.ceil((length - part) / max(1.0, part * step))) + 1
    return [int(start) for start in np.unique(np.rint(np.linspace(0, length - part, count)))]
