"""Made-up pictures with the statistics of photos, the same everywhere."""

import numpy as np
from numpy.typing import NDArray


def pictures(count: int = 8, side: int = 224) -> NDArray[np.uint8]:
    """Dead leaves (Lee, Mumford and Huang, IJCV 2001): occluding discs, which have the statistics of photos."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    drawn = np.zeros((count, side, side, 3), np.uint8)
    for picture in drawn:
        shading = rng.normal(0, 0.3, (2, 3))
        for _ in range(400):
            # Sizes follow an inverse cube law, as those of objects in photos do.
            radius = 4 / np.sqrt(rng.uniform((4 / side) ** 2, 1))
            row, column = rng.uniform(-radius, side + radius, 2)
            inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
            slope = (rows[inside, None] - row) * shading[0] + (columns[inside, None] - column) * shading[1]
            picture[inside] = np.clip(rng.integers(0, 256, 3) + slope + rng.normal(0, 4, slope.shape), 0, 255)
    return drawn
