"""Pictures with a known truth: fronts of the made-up town, and the same front seen from elsewhere."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.evaluation.datasets.synthetic.buildings import build
from lookalike.evaluation.datasets.synthetic.styles import RECIPES, draw_style
from lookalike.evaluation.datasets.synthetic.views import Shot, photograph

Matrix = NDArray[np.float64]
SIDEWAYS = np.array([[0.8, 0.12, 20], [-0.1, 0.9, 40], [-1e-4, 3e-4, 1]])
"""A mild change of viewpoint, from pixels to pixels."""


@cache
def front(kind: str = "church", seed: int = 0, yaw: float = 0.2) -> Image.Image:
    """A photo of the building of that kind and seed, from one side of it or the other."""
    rng = np.random.default_rng(seed)
    view = photograph(build(draw_style(RECIPES[kind], rng), rng), "paving", Shot(yaw, 0.9), np.random.default_rng(seed))
    return Image.fromarray(view.rgb)


def warped(image: Image.Image, matrix: Matrix, size: tuple[int, int] | None = None) -> Image.Image:
    """The picture (width, height) in which `matrix` maps a point of `image` to; grey beyond its border."""
    pixels = cv2.warpPerspective(np.asarray(image), matrix, size or image.size, borderValue=(127, 127, 127))
    return Image.fromarray(np.asarray(pixels, np.uint8))


def mapped(points: NDArray[np.floating], matrix: Matrix) -> Matrix:
    """(n, 2) points through a homography."""
    projected = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    return np.asarray(projected[:, :2] / projected[:, 2:], np.float64)


def errors(a: NDArray[np.floating], b: NDArray[np.floating], matrix: Matrix) -> Matrix:
    """How far each point of b (n, 2) lies from where `matrix` puts its partner in a, in pixels (n,)."""
    return np.asarray(np.linalg.norm(mapped(a, matrix) - b, axis=1), np.float64)
