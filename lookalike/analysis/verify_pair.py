"""Two pictures to the level at which one is a copy of the other, decided by their pixels."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lookalike.analysis.rendition import MIDDLE, Raster, Rendition

Verdict = Literal["same", "near", "similar"]
Matrix = NDArray[np.float64]
"""(2, 3): x, y in pixels of one picture to those of another."""

BLOCK, STEP = 12, 6
"""Pixels: smaller than a word of a page that is compared at `rendition.SIDE`."""
SMALL_BLOCK, SMALL_STEP, SMALL = 8, 4, 160
NOISE, SHARE = 7.0, 0.15
"""A block differs where the difference exceeds what compression does: a deviation of `NOISE` grey levels, or `SHARE` of
the variance of its content."""
COLOUR = 14.0
"""Levels by which the mean colour of a block of a re-encoded picture may change."""
INFORMATIVE, FEWEST = 8.0, 6
"""Deviation of a block that shows something, in grey levels, and how many such blocks a verdict needs."""

SAMPLED = 3
"""One pixel of so many tells how brightness and contrast differ."""


@dataclass(frozen=True)
class Blocks:
    """Per block: the larger variance of two pictures, and how much they differ, in units of what compression does."""

    variance: Raster
    excess: Raster


def verdict_upright(a: Rendition, b: Rendition) -> Verdict | None:
    """`same` or `near` where both show the same picture whole and upright, at any size; else None."""
    if a.pixels == b.pixels:
        return "same"
    if not _same_shape(a, b) or (a.cover is None) != (b.cover is None):
        return None
    left, right = common(a, b)
    return "near" if worst(left, right) <= 1 and _same_colours(a, b) else None


def _same_shape(a: Rendition, b: Rendition) -> bool:
    """Whether the proportions are the same, but for the rounding of a side to whole pixels."""
    (width, height), (other_width, other_height) = sorted([(a.width, a.height), (b.width, b.height)])
    scale = max(other_width / width, other_height / height)
    return abs(other_width / scale - width) <= 1.5 and abs(other_height / scale - height) <= 1.5


def common(a: Rendition, b: Rendition) -> tuple[Raster, Raster]:
    """Both pictures at one size: the size that the detail of the coarser one fills."""
    side = max(48.0, min(a.filled, b.filled))
    smaller = min(a, b, key=lambda picture: max(picture.grey.shape))
    factor = min(1.0, side / max(smaller.grey.shape))
    height, width = (max(1, round(length * factor)) for length in smaller.grey.shape)
    return resized(a.grey, width, height), resized(b.grey, width, height)


def resized(grey: Raster, width: int, height: int) -> Raster:
    """Reduced by area means, or enlarged."""
    import cv2

    if grey.shape == (height, width):
        return grey
    is_smaller = width < grey.shape[1]
    kind = cv2.INTER_AREA if is_smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(grey, (width, height), interpolation=kind), np.float32)


def worst(a: Raster, b: Raster) -> float:
    """How much the most different block differs, in units of what compression does: above 1, something was changed.

    Infinite where there is too little to compare: two nearly blank pages are no copies for that.
    """
    size, step = (SMALL_BLOCK, SMALL_STEP) if max(a.shape) < SMALL else (BLOCK, STEP)
    measured = blocks(a, _levelled(a, b), size, step)
    if int((measured.variance > INFORMATIVE**2).sum()) < FEWEST:
        return float("inf")
    return float(measured.excess.max())


def _levelled(a: Raster, b: Raster, mask: NDArray[np.bool_] | None = None) -> Raster:
    """`b` with the brightness and contrast that fit `a` best, within the range of a slight correction.

    With a `mask`, pixels that fit worst are left out of the fit: those under a watermark.
    """
    seen_a, seen_b = (a, b) if mask is None else (a[mask][::SAMPLED], b[mask][::SAMPLED])
    gain, shift = _fitted(seen_a, seen_b)
    for _ in range(0 if mask is None else 2):
        error = np.abs(seen_b * gain + shift - seen_a)
        fits = error <= np.quantile(error, 0.7)
        gain, shift = _fitted(seen_a[fits], seen_b[fits])
    return np.asarray(b * gain + shift, np.float32)


def _brightened(a: Raster, b: Raster, mask: NDArray[np.bool_]) -> tuple[Raster, Raster]:
    """Both pictures with the darker one brightened to the other, as `_levelled` does, up to white.

    What brightening has made white shows nothing any more, so the brighter picture is never darkened.
    """
    darkened = float(a[mask].mean()) < float(b[mask].mean())
    dark, bright = (a, b) if darkened else (b, a)
    levelled = np.minimum(_levelled(bright, dark, mask), 255).astype(np.float32)
    return (levelled, b) if darkened else (a, levelled)


def _fitted(a: Raster, b: Raster) -> tuple[float, float]:
    """Contrast and brightness, by least squares."""
    mean_a, mean_b, spread = float(a.mean()), float(b.mean()), float(b.var())
    gain = float(((a - mean_a) * (b - mean_b)).mean()) / spread if spread > 1 else 1.0
    gain = min(1.3, max(0.75, gain))
    return gain, mean_a - gain * mean_b


def blocks(a: Raster, b: Raster, size: int, step: int, mask: NDArray[np.bool_] | None = None) -> Blocks:
    """Blocks of `size` pixels, one every `step`; with a `mask`, those that lie inside it."""
    import cv2

    def means(values: Raster) -> Raster:
        averaged = cv2.boxFilter(values, cv2.CV_32F, (size, size), borderType=cv2.BORDER_REFLECT)
        half = size // 2
        return np.asarray(averaged[half::step, half::step], np.float32)

    a, b = (np.asarray(cv2.blur(values, (3, 3)), np.float32) for values in (a, b))
    mean_a, mean_b = means(a), means(b)
    var_a, var_b = means(a * a) - mean_a**2, means(b * b) - mean_b**2
    covariance = means(a * b) - mean_a * mean_b
    # Not the variance of the difference alone: a patch of another brightness is a change too.
    difference = np.maximum(var_a + var_b - 2 * covariance, 0) + (mean_a - mean_b) ** 2 * 0.25
    variance = np.maximum(var_a, var_b)
    excess = difference / np.maximum(NOISE**2, SHARE * variance)
    if mask is not None:
        inside = means(mask.astype(np.float32)) > 0.99
        variance, excess = variance[inside], excess[inside]
    return Blocks(variance, excess)


def _same_colours(a: Rendition, b: Rendition) -> bool:
    """Whether blocks of a sixteenth of the side have the same mean colour, apart from brightness."""
    colours: list[Any] = []
    for picture in (a, b):
        small = np.asarray(picture.image.convert("YCbCr").resize((16, 16), 4), np.float32)
        colours.append(small[..., 1:])
    return bool(np.abs(colours[0] - colours[1]).max() <= COLOUR)


FRAME = 320
"""Pixels: the longest side at which a map between two pictures is checked."""
COVERED, LEAST = 0.75, 0.12
"""A copy shows this share of one of the pictures, on at least this share of the other."""
ALTERED, DIFFERENT = 0.2, 0.2
"""From what difference on (in units of what compression does) a block disagrees, and the share that may disagree.
Portraits of one person in one pose, laid over each other, disagree in 23 % of the blocks or more; 30 % crops of photos
in at most 18 %."""
WRITTEN_ON, UNCHANGED = 0.22, 0.55
"""The share of a picture that a rectangle with writing covers at most, and of its content that lies outside."""


def verdict_mapped(a: Rendition, b: Rendition, matrix: Matrix) -> Verdict | None:
    """`similar` where b, mapped by `matrix` onto a, shows the same picture; both in shares of the longest side."""
    share = agreement(a, b, matrix)
    is_similar = share is not None and share <= DIFFERENT
    return "similar" if is_similar or is_written_on(a, b) else None


def is_written_on(a: Rendition, b: Rendition) -> bool:
    """Whether both are the same whole picture but for one rectangle: a watermark, a caption, a date."""
    if not _same_shape(a, b):
        return False
    left, right = common(a, b)
    grid = blocks(*_brightened(left, right, np.ones(left.shape, np.bool_)), BLOCK, STEP)
    shows, changed = grid.variance > INFORMATIVE**2, grid.excess > 1
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not len(rows):
        return bool(shows.sum() >= FEWEST)
    outside = shows.copy()
    outside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = False
    covered = _changed_length(rows) * _changed_length(columns) / left.size
    return bool(covered <= WRITTEN_ON and outside.sum() >= max(FEWEST, UNCHANGED * shows.sum()))


def _changed_length(numbers: NDArray[np.int64]) -> int:
    """Pixels between the first and the last change: a block differs from where its first pixel does."""
    return int(numbers[-1] + 1 - numbers[0]) * STEP - BLOCK + STEP


def agreement(a: Rendition, b: Rendition, matrix: Matrix) -> float | None:
    """The share of the blocks with content that disagree where b covers a; None where it covers too little."""
    import cv2

    left, right = (_reduced(picture.grey, FRAME) for picture in (a, b))
    # From pixel centres of b to those of a.
    scale_a, scale_b = float(max(left.shape)), float(max(right.shape))
    linear = matrix[:, :2] * (scale_a / scale_b)
    shift = matrix[:, 2] * scale_a + linear @ (0.5, 0.5) - 0.5
    zoom = float(np.sqrt(abs(np.linalg.det(linear))))
    if not 0.1 < zoom < 10:
        return None
    if zoom > 1:
        # Compared in the frame of the coarser picture: b's pixels are large in a.
        inverse = cv2.invertAffineTransform(np.hstack([linear, shift[:, None]]))
        return _agreement(right, left, np.asarray(inverse, np.float64))
    return _agreement(left, right, np.hstack([linear, shift[:, None]]))


def _reduced(grey: Raster, side: int) -> Raster:
    factor = min(1.0, side / max(grey.shape))
    return resized(grey, max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))


def _agreement(a: Raster, b: Raster, matrix: Matrix) -> float | None:
    """As `agreement`, in pixels; b is reduced by the map."""
    import cv2

    zoom = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if zoom < 0.7:
        b = np.asarray(cv2.GaussianBlur(b, (0, 0), 0.5 / zoom), np.float32)
    share = _disagreeing(a, b, matrix)
    if share is None or share <= DIFFERENT:
        return share
    refined = _disagreeing(a, b, _refined(a, b, matrix))
    return share if refined is None else min(share, refined)


def _disagreeing(a: Raster, b: Raster, matrix: Matrix) -> float | None:
    import cv2

    height, width = a.shape
    mapped = np.asarray(cv2.warpAffine(b, matrix, (width, height), flags=cv2.INTER_LINEAR), np.float32)
    inside = cv2.warpAffine(np.ones_like(b), matrix, (width, height), flags=cv2.INTER_NEAREST) > 0.5
    area = float(inside.sum())
    shown_of_b = area / max(1.0, b.size * abs(float(np.linalg.det(matrix[:, :2]))))
    if max(area / a.size, shown_of_b) < COVERED or area < LEAST * min(a.size, b.size):
        return None
    measured = blocks(*_brightened(a, mapped, inside), BLOCK, STEP, inside)
    shows = measured.variance > INFORMATIVE**2
    if int(shows.sum()) < FEWEST:
        return None
    return float((measured.excess[shows] > ALTERED).mean())


def _refined(a: Raster, b: Raster, matrix: Matrix) -> Matrix:
    """The map that correlates best, near the given one (Evangelidis & Psarakis, PAMI 2008)."""
    import cv2

    inverse = cv2.invertAffineTransform(matrix).astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        _, better = cv2.findTransformECC(a, b, inverse, cv2.MOTION_AFFINE, criteria, None, 5)
    except cv2.error:  # Nothing to correlate.
        return matrix
    return np.asarray(cv2.invertAffineTransform(better), np.float64)


CELLS, SMALL_SIDE = 48, 240
CELL_LIMIT, SMALL_LIMIT = 15.0, 32.0
"""A grid of means per picture, and the levels by which a cell of a re-encoded picture differs, twice what was measured;
in a picture of less than `SMALL_SIDE` pixels a cell is a few pixels alone."""


def cells(picture: Rendition) -> NDArray[np.float32]:
    """(CELLS, CELLS) means of the grey values: what is compared before a pair is looked at in detail."""
    return resized(picture.grey, CELLS, CELLS)


def may_be_near(
    cells_a: NDArray[np.float32], cells_b: NDArray[np.float32], sides: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether each of the grids b (n, CELLS, CELLS) can be of a copy of a, perhaps brightened a little.

    `sides` (n,) are the longest sides in pixels of the smaller picture of each pair.
    """
    limits = np.where(sides < SMALL_SIDE, SMALL_LIMIT, CELL_LIMIT)
    centred = cells_a - cells_a.mean()
    others = cells_b - cells_b.mean(axis=(1, 2), keepdims=True)
    spread = np.maximum((others**2).mean(axis=(1, 2)), 1)
    gain = np.clip((others * centred).mean(axis=(1, 2)) / spread, 0.75, 1.3)
    return np.asarray(np.abs(others * gain[:, None, None] - centred).max(axis=(1, 2)) <= limits)


def is_blank(picture: Rendition) -> bool:
    """Whether there is too little in a picture to say that another one shows the same."""
    grey = resized(
        picture.grey,
        *(max(1, round(length * min(1.0, 256 / max(picture.grey.shape)))) for length in picture.grey.shape[::-1]),
    )
    return int((blocks(grey, grey, SMALL_BLOCK, SMALL_STEP).variance > INFORMATIVE**2).sum()) < FEWEST


LOST, LOST_SHARE, TEXTURED = 2.0, 0.18, 8.0
"""Grey levels: the detail that a smaller copy lacks is more than this, where there is texture of this strength."""


def explains(small: Rendition, large: Rendition) -> bool:
    """Whether the middle of the larger picture has no detail that the smaller one, enlarged, does not show."""
    import cv2

    ratio = max(large.width, large.height) / max(1, small.width, small.height)
    fine, coarse = (np.asarray(picture.centre, np.float32) for picture in (large, small))
    left, top = ((from_side - MIDDLE) // 2 if from_side > MIDDLE else 0 for from_side in (large.width, large.height))
    left_small, top_small = (max(0, (side - MIDDLE) // 2) for side in (small.width, small.height))
    # From pixel centres of the smaller middle to those of the larger.
    shift_x = ratio * (left_small + 0.5) - 0.5 - left
    shift_y = ratio * (top_small + 0.5) - 0.5 - top
    matrix = np.array([[ratio, 0, shift_x], [0, ratio, shift_y]])
    texture = _typical(coarse - cv2.blur(coarse, (5, 5)))
    if texture < TEXTURED or coarse.shape[1] * ratio + shift_x < fine.shape[1] - ratio:
        return False
    kinds = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
    enlarged = (
        np.asarray(
            cv2.warpAffine(coarse, matrix, fine.shape[::-1], flags=kind, borderMode=cv2.BORDER_REPLICATE), np.float32
        )
        for kind in kinds
    )
    return min(_typical(fine - _levelled(fine, guess)) for guess in enlarged) < max(LOST, LOST_SHARE * texture)


def _typical(values: Raster) -> float:
    """The deviation of the more textured blocks."""
    import cv2

    squares = cv2.boxFilter(values * values, cv2.CV_32F, (16, 16))[8::8, 8::8]
    return float(np.quantile(squares, 0.9) ** 0.5) if squares.size else 0.0
