"""A picture to a part of itself enlarged, number by number as Pillow computes it in the whole.

`Image.resize(box=…)` does not give these numbers: they differ by up to 27 grey levels.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders.positions import A_ANTIALIASED, cubic

UNIT = 1 << 22
"""Pillow's weights are whole multiples of 1/UNIT."""
Numbers = NDArray[np.float64]
BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
KERNELS: dict[Image.Resampling, tuple[int, Callable[[Numbers], Numbers]]] = {
    BICUBIC: (2, lambda distance: cubic(distance, A_ANTIALIASED)),
    BILINEAR: (1, lambda distance: np.maximum(1 - np.abs(distance), 0)),
}
"""How many samples to each side count, and with which weight at which distance."""


def enlarged_part(
    image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int], resample: Image.Resampling = BICUBIC
) -> Image.Image:
    """`image.resize(size, resample).crop(box)` of an RGB image; the rest of it is never computed.

    `size` is no smaller than the image, in width and in height: only then does Pillow always begin with the rows.
    """
    left, top, right, bottom = box
    first_column, columns = _weights(image.width, size[0], left, right, resample)
    first_row, rows = _weights(image.height, size[1], top, bottom, resample)
    used = (first_column, first_row, first_column + columns.shape[1], first_row + rows.shape[1])
    pixels = np.asarray(image.crop(used), np.float64)
    across = _rounded(np.tensordot(pixels, columns, axes=(1, 1)))
    down = _rounded(np.tensordot(rows, across, axes=(1, 0)))
    return Image.fromarray(down.transpose(0, 2, 1).astype(np.uint8))


def _weights(size: int, target: int, start: int, end: int, resample: Image.Resampling) -> tuple[int, Numbers]:
    """For the samples from `start` to `end` of `target`: the first of `size` that counts, and (end - start, n) weights.

    The order of the operations is Pillow's, so that they round alike.
    """
    reach, kernel = KERNELS[resample]
    centres = (np.arange(start, end) + 0.5)[:, None] * (size / target)
    low = np.maximum(np.trunc(centres - reach + 0.5), 0).astype(int)
    high = np.minimum(np.trunc(centres + reach + 0.5), size).astype(int)
    samples = np.arange(low.min(), high.max())
    weights = np.where((samples >= low) & (samples < high), kernel(samples - centres + 0.5), 0)
    weights /= np.cumsum(weights, axis=1)[:, -1:]
    return int(samples[0]), np.trunc(weights * UNIT + np.copysign(0.5, weights))


def _rounded(sums: Numbers) -> Numbers:
    """Weighted sums, which float64 holds exactly, to whole grey levels."""
    return np.clip(np.floor(sums / UNIT + 0.5), 0, 255)
