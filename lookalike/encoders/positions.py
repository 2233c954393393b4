"""A position embedding for one grid of patches to one for any other grid, resized as in transformers 5."""

import numpy as np
from numpy.typing import NDArray

A, A_ANTIALIASED = -0.75, -0.5  # PyTorch's two cubic kernels: plain, and with antialias=True as Pillow's


def positions(stored: NDArray[np.float32], height: int, width: int, antialias: bool) -> NDArray[np.float32]:
    """(1, 1 + side², dim) to (1, 1 + height·width, dim); the row of the class token stays.

    Bicubic, align_corners=False. Models with registers are resized with antialiasing, the others without.
    """
    side = round((stored.shape[1] - 1) ** 0.5)
    if (height, width) == (side, side):
        return stored
    square = stored[0, 1:].reshape(side, side, -1)
    weigh = _antialiased if antialias else _plain
    rows = np.tensordot(weigh(side, height), square, axes=(1, 0))
    both = np.tensordot(weigh(side, width), rows, axes=(1, 1)).transpose(1, 0, 2)
    return np.concatenate([stored[:, :1], both.reshape(1, height * width, -1)], axis=1, dtype=np.float32)


def _plain(size: int, target: int) -> NDArray[np.float32]:
    """(target, size) weights: the four nearest samples; beyond an edge the edge is repeated."""
    centres = (np.arange(target) + 0.5) * size / target - 0.5
    first = np.floor(centres).astype(int) - 1
    weights = np.zeros((target, size))
    for tap in range(4):
        places = np.clip(first + tap, 0, size - 1)
        np.add.at(weights, (np.arange(target), places), cubic(centres - first - tap, A))
    return weights.astype(np.float32)


def _antialiased(size: int, target: int) -> NDArray[np.float32]:
    """(target, size) weights: the kernel widens with the reduction, and is cut off at the edges."""
    stretch = max(size / target, 1.0)
    centres = (np.arange(target)[:, None] + 0.5) * size / target
    pixels = np.arange(size)[None] + 0.5
    low = np.maximum(np.floor(centres - 2 * stretch + 0.5), 0)
    high = np.minimum(np.floor(centres + 2 * stretch + 0.5), size)
    weights = cubic((pixels - centres) / stretch, A_ANTIALIASED)
    weights = np.where((pixels > low) & (pixels < high), weights, 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def cubic(distance: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """The weights of samples at these distances; `a` is the kernel's parameter."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
