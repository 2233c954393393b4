"""Painting with numpy and OpenCV: a canvas with masks of what is covered and what glows, noise, wall textures."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Colour = tuple[int, int, int]
Pixels = NDArray[np.uint8]
"""(height, width, 3) RGB."""
Points = Sequence[tuple[float, float]]

SUBPIXEL = 4
"""OpenCV's fixed-point bits, so that shapes keep fractions of a pixel."""


class Canvas:
    """Pixels, a mask of the painted ones (`cover`), and a mask of those that give light at night (`glow`)."""

    def __init__(self, rgb: Pixels) -> None:
        self.rgb = rgb
        self.cover = np.zeros(rgb.shape[:2], np.uint8)
        self.glow = np.zeros(rgb.shape[:2], np.uint8)

    def polygon(self, points: Points, colour: Colour, glow: int = 0) -> None:
        """Fill a polygon; `glow` 0 removes the light of what it covers."""
        corners = _fixed(points)
        cv2.fillPoly(self.rgb, [corners], colour, cv2.LINE_AA, SUBPIXEL)
        cv2.fillPoly(self.cover, [corners], [255], cv2.LINE_AA, SUBPIXEL)
        cv2.fillPoly(self.glow, [corners], [glow], cv2.LINE_AA, SUBPIXEL)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour, glow: int = 0) -> None:
        """Fill an upright rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour, glow)

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, colour: Colour, glow: int = 0) -> None:
        """Fill an upright ellipse."""
        self.polygon(oval(x, y, half_width, half_height), colour, glow)

    def line(self, points: Points, colour: Colour, thickness: float = 1) -> None:
        """Draw an open line; `thickness` in pixels."""
        corners, width = _fixed(points), max(1, round(thickness))
        cv2.polylines(self.rgb, [corners], False, colour, width, cv2.LINE_AA, SUBPIXEL)
        cv2.polylines(self.cover, [corners], False, [255], width, cv2.LINE_AA, SUBPIXEL)

    def texture(self, points: Points, texture: Pixels, glow: int = 0) -> None:
        """Fill a polygon with a texture laid over its bounding rectangle."""
        xs, ys = zip(*points, strict=True)
        left, top = max(0, int(min(xs))), max(0, int(min(ys)))
        right, bottom = min(self.rgb.shape[1], int(max(xs)) + 2), min(self.rgb.shape[0], int(max(ys)) + 2)
        if left >= right or top >= bottom:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(mask, [_fixed([(x - left, y - top) for x, y in points])], [255], cv2.LINE_AA, SUBPIXEL)
        size = (right - left, bottom - top)
        laid = np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_AREA), np.uint8)
        area = np.s_[top:bottom, left:right]
        self.rgb[area] = blend(self.rgb[area], laid, mask)
        self.cover[area] = np.maximum(self.cover[area], mask)
        self.glow[area] = np.where(mask > 127, glow, self.glow[area])

    def shade(self, points: Points, factor: float, soft: float = 0) -> None:
        """Darken (factor below 1) or brighten a polygon, with an edge `soft` pixels wide."""
        mask = np.zeros(self.rgb.shape[:2], np.uint8)
        cv2.fillPoly(mask, [_fixed(points)], [255], cv2.LINE_AA, SUBPIXEL)
        if soft:
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.uint8)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if rows.size:
            area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            scale = 1 + (factor - 1) * mask[area][..., None] / np.float32(255)
            self.rgb[area] = np.clip(self.rgb[area] * scale, 0, 255)


def _fixed(points: Points) -> NDArray[np.int32]:
    return np.rint(np.asarray(points, np.float64) * (1 << SUBPIXEL)).astype(np.int32)


def oval(x: float, y: float, half_width: float, half_height: float, start: float = 0, end: float = 360) -> Points:
    """Points of an ellipse, or of its arc from `start` to `end` degrees (0 is right, 270 is up)."""
    angles = np.radians(np.linspace(start, end, 25))
    xs, ys = x + half_width * np.cos(angles), y + half_height * np.sin(angles)
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def floats(colour: Sequence[float]) -> NDArray[np.float32]:
    """A colour as float32."""
    return np.asarray(colour, np.float32)


def pixels(values: NDArray[np.floating[Any]]) -> Pixels:
    """Calculated colours as bytes."""
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def blend(under: Pixels, over: Pixels, mask: NDArray[np.uint8]) -> Pixels:
    """`over` where `mask` is 255, `under` where it is 0."""
    weight = mask[..., None].astype(np.float32) / 255
    return np.asarray(under + (over.astype(np.float32) - under) * weight, np.float32).round().astype(np.uint8)


def tint(colour: Colour, factor: float) -> Colour:
    """A darker (below 1) or lighter colour."""
    red, green, blue = (int(min(255, max(0, value * factor))) for value in colour)
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour in the first."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def noise(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 3) -> NDArray[np.float32]:
    """Smooth noise (height, width) within about -1..1, its largest features `cell` pixels wide."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(1.0, cell / 2**octave)
        grid = rng.standard_normal((int(height / step) + 3, int(width / step) + 3)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(0.5 ** (octave + 1))
    return total


def lit(colour: Colour, light: NDArray[np.float32]) -> Pixels:
    """A flat colour multiplied by `light` (height, width), 1 leaving it as it is."""
    return pixels(floats(colour) * light[..., None])


def masonry(
    rng: np.random.Generator, height: int, width: int, colour: Colour, course: int, block: int, spread: float
) -> Pixels:
    """Courses of blocks, each of its own shade, joints `1/12` of a course wide."""
    rows, columns = np.indices((height, width), np.int32)
    courses = rows // course
    shifted = columns + (courses % 2) * (block // 2)
    shades = rng.normal(1, spread, (height // course + 1, width // block + 2)).astype(np.float32)
    light = shades[courses, shifted // block]
    joint = max(1, course // 12)
    edge = ((rows % course) < joint) | ((shifted % block) < joint)
    bevel = ((rows % course) >= course - joint) & ~edge
    light = np.where(edge, np.float32(0.72), np.where(bevel, light * np.float32(0.9), light))
    return lit(colour, light * (1 + 0.05 * noise(rng, height, width, 4, 1)))


def brick(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Pixels:
    """Small bricks in a strong range of shades."""
    return masonry(rng, height, width, colour, 10, 26, 0.13)


def ashlar(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Pixels:
    """Large cut stones."""
    return masonry(rng, height, width, colour, 24, 58, 0.06)


def stucco(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Pixels:
    """Plaster: plain with faint clouds."""
    return lit(colour, 1 + 0.035 * noise(rng, height, width, 90) + 0.02 * noise(rng, height, width, 2, 1))


def clapboard(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Pixels:
    """Painted boards, each with a line of shade on the next."""
    rows = np.arange(height) % 13
    light = np.where(rows < 2, 0.74, 1.04 - 0.008 * rows).astype(np.float32)[:, None]
    return lit(colour, light * (1 + 0.03 * noise(rng, height, width, 30)))


def striped(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Pixels:
    """Courses of two alternating colours, as in Siena."""
    pale, dark = ashlar(rng, height, width, mix(colour, (250, 244, 230), 0.55)), ashlar(rng, height, width, colour)
    return np.where(((np.arange(height) // 48) % 2 == 0)[:, None, None], pale, dark)


def tiled(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Pixels:
    """Glazed tiles with a diamond in each."""
    rows, columns = np.indices((height, width), np.int32)
    diamond = np.abs(rows % 30 - 15) + np.abs(columns % 30 - 15)
    shades = rng.normal(1, 0.05, (height // 30 + 1, width // 30 + 1)).astype(np.float32)
    light = shades[rows // 30, columns // 30]
    return np.where(
        (np.abs(diamond - 10) < 3)[..., None],
        lit(mix(colour, (255, 252, 240), 0.7), light),
        lit(colour, np.where(diamond > 13, light * np.float32(0.86), light)),
    )


def roofing(rng: np.random.Generator, height: int, width: int, colour: Colour) -> Pixels:
    """Rows of rounded roof tiles."""
    rows, columns = np.indices((height, width), np.int32)
    courses = rows // 14
    across = (columns + (courses % 2) * 8) % 16
    lip = 9 + 4 * np.sin(across * (np.pi / 16))
    shades = rng.normal(1, 0.09, (height // 14 + 1, width // 16 + 2)).astype(np.float32)
    light = shades[courses, (columns + (courses % 2) * 8) // 16]
    return lit(colour, np.where(rows % 14 > lip, np.float32(0.66), light * (0.9 + 0.012 * (rows % 14))))


Texture = Callable[[np.random.Generator, int, int, Colour], Pixels]
WALLS: dict[str, Texture] = {
    "brick": brick,
    "ashlar": ashlar,
    "stucco": stucco,
    "clapboard": clapboard,
    "striped": striped,
    "tiled": tiled,
}
