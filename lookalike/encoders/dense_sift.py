"""Dense upright SIFT at four scales, all patches at once: gradients pooled by box filters, sampled on a grid.

SIFT: Lowe, IJCV 2004; pooling by flat windows instead of Gaussians, as in VLFeat's fast dense SIFT (Vedaldi and
Fulkerson, ACM MM 2010). A keypoint detector would take three times as long and detect nothing on plain walls.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SCALES = (1.0, 2**-0.5, 0.5, 2**-1.5)
BIN = 5
"""Side of one of the 4 x 4 cells of a patch, in pixels: a patch is 20 pixels wide at each scale."""
STEP = 6
"""Pixels between neighbouring patches at each scale."""
ORIENTATIONS = 8
LEAST_GRADIENT = 10.0
"""Length in grey levels below which a patch is plain: its descriptor would be noise."""
CLIPPED = 0.2  # Lowe's limit on one strong edge
WINDOW_CELLS = 2.0  # Gaussian weight of the cells, in cells: half the patch, as in Lowe's descriptor

PARAMETERS = (SCALES, BIN, STEP, ORIENTATIONS, LEAST_GRADIENT, CLIPPED, WINDOW_CELLS)
"""All parameters that the descriptors depend on."""


def described(gray: NDArray[np.uint8]) -> Floats:
    """(height, width) luma to (n, 128) RootSIFT, rows of unit length; n is 0 where nothing has texture."""
    import cv2

    descriptors = [np.empty((0, 128), np.float32)]
    for scale in SCALES:
        size = max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale))
        reduced = gray if scale == 1 else cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        descriptors.append(_at_one_scale(np.asarray(reduced, np.float32)))
    return np.concatenate(descriptors)


def _at_one_scale(gray: Floats) -> Floats:
    height, width = gray.shape
    if min(height, width) <= 4 * BIN + 2:
        return np.empty((0, 128), np.float32)
    pooled = _pooled(_gradients(gray))
    rows = range(2 * BIN, height - 2 * BIN, STEP)
    columns = range(2 * BIN, width - 2 * BIN, STEP)
    patches = np.empty((len(rows), len(columns), 4, 4, ORIENTATIONS), np.float32)
    offsets = [round((cell - 1.5) * BIN) for cell in range(4)]
    for i, down in enumerate(offsets):
        for j, right in enumerate(offsets):
            weight = np.exp(-((i - 1.5) ** 2 + (j - 1.5) ** 2) / (2 * WINDOW_CELLS**2))
            cells = pooled[
                rows[0] + down : rows[-1] + down + 1 : STEP, columns[0] + right : columns[-1] + right + 1 : STEP
            ]
            patches[:, :, i, j] = cells * np.float32(weight)
    return _rooted(patches.reshape(-1, 128))


def _gradients(gray: Floats) -> Floats:
    """(height, width, 8): the gradient of each pixel, shared between the two nearest orientations."""
    import cv2

    across, down = cv2.Sobel(gray, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=1)
    length, angle = cv2.cartToPolar(across, down)
    position = angle * np.float32(ORIENTATIONS / (2 * np.pi))
    shared = np.empty((*gray.shape, ORIENTATIONS), np.float32)
    distance, other = np.empty_like(position), np.empty_like(position)
    for orientation in range(ORIENTATIONS):
        # In place: allocating new arrays would take a tenth of the time.
        np.abs(np.subtract(position, orientation, out=distance), out=distance)
        np.minimum(distance, np.subtract(ORIENTATIONS, distance, out=other), out=distance)
        np.maximum(0, np.subtract(1, distance, out=distance), out=distance)
        np.multiply(distance, length, out=shared[..., orientation])
    return shared


def _pooled(gradients: Floats) -> Floats:
    """Two box filters are the triangle filter of SIFT's linear weights between cells; overwrites `gradients`."""
    import cv2

    once = cv2.blur(gradients, (BIN, BIN))
    return np.asarray(cv2.blur(once, (BIN, BIN), gradients), np.float32)


def _rooted(patches: Floats) -> Floats:
    """SIFT's clipping, then RootSIFT: divide by the sum, take the root. Plain patches are left out."""
    lengths = np.sqrt(np.einsum("ij,ij->i", patches, patches))
    textured = lengths > LEAST_GRADIENT
    kept = patches[textured] / lengths[textured, None]
    np.minimum(kept, CLIPPED, out=kept)
    kept /= kept.sum(axis=1, keepdims=True)
    return np.asarray(np.sqrt(kept), np.float32)
