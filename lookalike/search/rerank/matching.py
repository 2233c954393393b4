"""Keypoints of two pictures to matches: mutual nearest neighbours, and the plane-to-plane map that most of them fit."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lookalike.search.rerank.keypoints import Keypoints, unit

GeometricModel = Literal["homography", "affine"]
FEWEST = {"homography": 4, "affine": 3}
"""Matches that determine a model; further inliers are evidence."""
CONFIDENCE, ITERATIONS = 0.999, 2000


@dataclass(frozen=True)
class Verified:
    """Inlier matches: `pairs` (n, 2) indices into both keypoint lists, and the 3 x 3 `matrix` from a to b.

    Without a model `pairs` is empty and `matrix` None.
    """

    pairs: NDArray[np.int64]
    matrix: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.pairs)


NOTHING = Verified(np.empty((0, 2), np.int64), None)


def mutual(similar: NDArray[np.float32], ratio: float) -> NDArray[np.int64]:
    """(n, m) cosines to (matches, 2) pairs that are each other's nearest and pass the ratio test from a's side.

    Ratio test: Lowe, IJCV 2004: the nearest descriptor must be nearer than `ratio` times the second nearest. `similar`
    is used as scratch space and is restored.
    """
    if min(similar.shape) < 2:  # There is no second nearest.
        return np.empty((0, 2), np.int64)
    rows = np.arange(len(similar))
    best = similar.argmax(axis=1)
    nearest = similar[rows, best].copy()
    similar[rows, best] = -np.inf
    second = similar.max(axis=1)
    similar[rows, best] = nearest
    # |a - b|² = 2 - 2 cos for unit vectors.
    rows = rows[1 - nearest < ratio**2 * (1 - second)]
    # Columns are slow to read: only those of the few matches that are left.
    rows = rows[similar[:, best[rows]].argmax(axis=0) == rows]
    return np.stack([rows, best[rows]], axis=1)


def agree(a: NDArray[np.float32], b: NDArray[np.float32], model: GeometricModel, pixels: float) -> Verified:
    """Matched points (n, 2) of both pictures to the `model` that most of them fit within `pixels` of b.

    USAC with MAGSAC++ (Barath et al., CVPR 2020) as in OpenCV, with a fixed random seed. A model that mirrors, folds or
    nearly flattens the picture is rejected.
    """
    import cv2

    # At least a match more than determines the model, or any matches would fit.
    if len(a) <= FEWEST[model]:
        return NOTHING
    options: dict[str, Any] = {"confidence": CONFIDENCE, "maxIters": ITERATIONS}
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    matrix: Any
    try:
        if model == "homography":
            matrix, mask = cv2.findHomography(a, b, cv2.USAC_MAGSAC, pixels, **options)
        else:
            affine, mask = cv2.estimateAffine2D(a, b, method=cv2.USAC_MAGSAC, ransacReprojThreshold=pixels, **options)
            matrix = None if affine is None else np.vstack([affine, (0, 0, 1)])
    except cv2.error:  # All points on a line, or all at the same place.
        return NOTHING
    if matrix is None or mask is None or not np.isfinite(matrix).all():
        return NOTHING
    inliers = np.flatnonzero(mask.ravel())
    if len(inliers) <= FEWEST[model] or not plausible(matrix, a[inliers]):
        return NOTHING
    return Verified(np.stack([inliers, inliers], axis=1), np.asarray(matrix, np.float64))


def plausible(matrix: NDArray[np.float64], points: NDArray[np.float32], most: float = 100.0) -> bool:
    """Whether a map keeps the orientation at all `points`, and changes no area by more than a factor of `most`."""
    depth = points @ matrix[2, :2] + matrix[2, 2]
    if (depth * depth[0] <= 0).any():
        return False  # The horizon runs between the points.
    # The determinant of a homography's derivative at (x, y).
    areas = np.linalg.det(matrix) / depth**3
    return bool((areas > 1 / most).all() and (areas < most).all())


def verify(a: Keypoints, b: Keypoints, ratio: float, model: GeometricModel, pixels: float) -> Verified:
    """Match two pictures and keep the matches that fit a common model."""
    return fitted(a, b, mutual(unit(a.descriptors) @ unit(b.descriptors).T, ratio), model, pixels)


def fitted(a: Keypoints, b: Keypoints, pairs: NDArray[np.int64], model: GeometricModel, pixels: float) -> Verified:
    """The matches of `pairs` (n, 2) that fit a common model, within `pixels` of the reduced picture of the detector."""
    points_a, points_b = a.points[pairs[:, 0]] / a.scale, b.points[pairs[:, 1]] / b.scale
    verified = agree(points_a, points_b, model, pixels)
    if verified.matrix is None:
        return verified
    matrix = np.diag([b.scale, b.scale, 1]) @ verified.matrix @ np.diag([1 / a.scale, 1 / a.scale, 1])
    return Verified(pairs[verified.pairs[:, 0]], matrix / matrix[2, 2])
