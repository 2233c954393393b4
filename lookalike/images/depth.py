"""Samples of more than 8 bits to 8, by a rule that looks at the values alone: the same picture gives the same result.

Cameras, scanners and depth sensors put 10, 12 or 14 bits into 16, mostly without a note of it. Samples up to 65,535 are
taken to have the smallest of `DEPTHS` that holds the highest one, and lose their lowest bits: a picture that is filled
to the top keeps its high byte. A few fixed depths, not the exact maximum: frames of one camera stay comparable.

Where the samples cover less than an eighth of that (thermal cameras, medical images, labels), they are stretched from
the lowest to the highest. Of 16-bit samples really the lowest and highest, since a percentile would turn the noise of a
white page with a thin line into a picture; 0 and 65,535 do not count, as sensors mark missing and saturated pixels
with them. Wider integers and floats have no depth: they are stretched between the 0.1 and 99.9 percentiles, where they
are not fractions (0 to 1) or bytes (0 to 255) that use at least an eighth of their range.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DEPTHS = (8, 10, 12, 14, 16)
FLAT = 8
"""Samples that cover less than this part of the range are stretched."""
TOP = 65_535
NO_DATA = (-9999, -32_767, -32_768)
"""What maps and medical images hold where nothing was measured."""
ABSURD = 1e30
"""Floats from here on mark missing data too; the usual one is -3.4e38."""
TINY = 1e-30
"""Below, single precision has no digits left."""
SAMPLED = 1_000_000
"""Percentiles are of about so many samples, taken at equal steps."""
SWAPPED = {"L": "B", "B": "L", "N": "B" if np.little_endian else "L"}

Bytes = NDArray[np.uint8]


def to_bytes(values: NDArray[Any], no_data: float | None = None) -> Bytes:
    """Samples of any integer or float type, of one or several channels, to 8 bits; `no_data` does not count."""
    if no_data is None and values.dtype.kind != "f" and values.size and values.min() >= 0 and values.max() <= TOP:
        # One value alone, in a file of 16 bits, says nothing of their use.
        is_plain = values.dtype.itemsize == 2 and values.min() == values.max()
        return _shifted(values, 16) if is_plain else _of_16_bits(values.astype(np.uint16, copy=False))
    return _of_wide(values, no_data)


def _of_16_bits(values: NDArray[np.uint16]) -> Bytes:
    inner = values[(values > 0) & (values < TOP)]
    lowest, highest = (int(inner.min()), int(inner.max())) if inner.size else (0, 0)
    depth = _depth(highest)
    if lowest == highest:
        lowest = int(values.min(initial=lowest))
    if 0 < highest - lowest < (1 << depth) // FLAT:
        return _stretched(values, lowest, highest)
    return _shifted(values, depth)


def _depth(highest: int) -> int:
    """The bits of samples of which this is the highest."""
    return next(depth for depth in DEPTHS if highest < 1 << depth)


def _shifted(values: NDArray[np.uint16], depth: int) -> Bytes:
    return np.asarray(np.minimum(values >> (depth - 8), 255), np.uint8)


def _of_wide(values: NDArray[Any], no_data: float | None) -> Bytes:
    real = np.isfinite(values) & (np.abs(values) < ABSURD) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    inner = values[real & ~np.isin(values, NO_DATA if no_data is None else (*NO_DATA, no_data))]
    if not inner.size:
        return np.zeros(values.shape, np.uint8)
    lowest, highest = float(inner.min()), float(inner.max())
    full = 1 if highest <= 1 else 255
    if lowest >= 0 and highest <= full and (highest == lowest or highest - lowest >= full / FLAT):
        lowest, highest = 0.0, float(full)
    elif lowest < highest:
        lowest, highest = _percentiles(inner, lowest, highest)
    else:
        # One value alone: black below zero, else white, and nothing to compare it with.
        lowest, highest = 0.0, max(highest, 1.0)
    return _stretched(np.where(real, values, lowest), lowest, highest)


def _percentiles(values: NDArray[Any], lowest: float, highest: float) -> tuple[float, float]:
    """The 0.1 and 99.9 percentiles; `lowest` and `highest` where these are equal."""
    sample = np.sort(values[:: max(1, values.size // SAMPLED)])
    last = len(sample) - 1
    low, high = float(sample[int(np.floor(0.001 * last))]), float(sample[int(np.ceil(0.999 * last))])
    return (low, high) if low < high else (lowest, highest)


def _stretched(values: NDArray[Any], lowest: float, highest: float) -> Bytes:
    extent = highest - lowest
    is_narrow = (values.dtype.itemsize > 2 and extent < abs(highest) / 1000) or extent < TINY
    precise = np.float64 if is_narrow else np.float32
    scaled = (np.clip(values, lowest, highest).astype(precise) - precise(lowest)) / precise(extent) * precise(255)
    return np.asarray(np.rint(scaled), np.uint8)


# Pillow has no mode of several 16-bit channels: it keeps the high bytes. The low ones come from reading the file once
# more as if its samples had the other byte order.


def raw_mode(image: Image.Image) -> str:
    """How the samples lie in a file that is open and not loaded yet; empty where Pillow does not say."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return mode if isinstance(mode, str) else ""


def is_deep(mode: str) -> bool:
    """Whether a raw mode has several channels of 16 bits, whose high bytes alone are loaded."""
    name, _, depth = mode.partition(";")
    return name in ("RGB", "RGBX", "RGBA", "LA", "CMYK") and depth in ("16B", "16L", "16N")


def swapped(mode: str) -> str:
    """The raw mode that loads the low bytes; of grey with alpha, both bytes of both as four channels."""
    return "RGBA" if mode == "LA;16B" else mode[:-1] + SWAPPED[mode[-1]]


def of_high_bytes(image: Image.Image, mode: str, reread: Callable[[str], Image.Image]) -> Image.Image:
    """A picture of high bytes as `to_bytes` makes it of the whole samples; `reread` loads it in another raw mode."""
    high, key = np.asarray(image), image.info.get("transparency")
    if _is_full(high[..., :3]) and not isinstance(key, tuple):
        return image
    low = np.asarray(reread(swapped(mode)))
    if mode == "LA;16B":
        pairs = low.astype(np.uint16)
        whole = np.asarray((pairs[..., (0, 0, 0, 2)] << 8) | pairs[..., (1, 1, 1, 3)], np.uint16)
    else:
        whole = np.asarray((high.astype(np.uint16) << 8) | low, np.uint16)
    if image.mode == "CMYK":
        return Image.fromarray(to_bytes(whole), "CMYK")
    if isinstance(key, tuple):
        whole = np.dstack((whole, np.where((whole == key).all(axis=-1), 0, TOP).astype(np.uint16)))
    return Image.fromarray(_with_alpha(whole) if whole.shape[-1] == 4 else to_bytes(whole))


def _with_alpha(whole: NDArray[np.uint16]) -> Bytes:
    """Colours count where they can be seen; alpha has a depth of its own, and is not stretched."""
    alpha = whole[..., 3]
    colours = np.where(alpha[..., None] > 0, whole[..., :3], np.uint16(0))
    return np.dstack((to_bytes(colours), _shifted(alpha, _depth(int(alpha.max(initial=0))))))


def _is_full(high: Bytes) -> bool:
    """Whether the high bytes alone show that the samples have 16 bits and cover an eighth of them."""
    inner = high[(high > 0) & (high < 255)]
    return bool(inner.size) and int(inner.max()) >= 64 and int(inner.max()) - int(inner.min()) > 256 // FLAT
