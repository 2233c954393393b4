"""A grid of patches to the rotation of each token (RoPE, as in DINOv3), computed in float32 as in transformers."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def frequencies(theta: float, head: int) -> Rows:
    """(head / 4,) turns for each half of the picture; the same serve rows and columns. `head`: the width of a head."""
    steps = np.arange(0, 1, 4 / head, dtype=np.float32)
    return np.asarray(1 / np.float32(theta) ** steps, np.float32)


def rotations(frequency: Rows, rows: int, columns: int, prefix: int) -> Rows:
    """(2, prefix + rows * columns, head / 2): cosines and sines. The first `prefix` tokens have no place, and stay.

    A patch is placed at its centre; the picture reaches from -1 to 1 on both axes, whatever its size.
    """
    places = np.stack(np.meshgrid(_centres(rows), _centres(columns), indexing="ij"), axis=-1).reshape(-1, 2, 1)
    angles = (np.float32(2 * np.pi) * places * frequency).reshape(rows * columns, -1)
    still = np.zeros((prefix, angles.shape[1]), np.float32)
    angles = np.concatenate([still, angles], dtype=np.float32)
    return np.stack([np.cos(angles), np.sin(angles)])


def _centres(count: int) -> Rows:
    return (np.arange(0.5, count, dtype=np.float32) / np.float32(count)) * np.float32(2) - np.float32(1)
