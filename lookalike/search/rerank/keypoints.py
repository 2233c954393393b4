"""A picture to its RootSIFT keypoints, and these to bytes and back."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAGIC = b"lkp1"
SIDE = 640
"""Pictures are reduced to this longest side, in pixels, before detection; a smaller picture is not enlarged."""
SCALE = 512.0
"""Descriptors are stored as bytes in steps of 1/512; values above 255/512, which hardly occur, are clipped."""


@dataclass(frozen=True)
class Keypoints:
    """`points` (n, 2) x and y in pixels of the upright picture, `descriptors` (n, 128) RootSIFT in bytes.

    `width` and `height` are the picture's.
    """

    width: int
    height: int
    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def scale(self) -> float:
        """Pixels of the picture per pixel of the reduced picture that keypoints were detected in."""
        return max(1.0, max(self.width, self.height) / SIDE)

    def to_bytes(self) -> bytes:
        """Everything, with a checksum in front."""
        header = np.array([self.width, self.height, len(self)], "<u4").tobytes()
        body = header + self.points.astype("<f4").tobytes() + self.descriptors.tobytes()
        return MAGIC + zlib.crc32(body).to_bytes(4, "little") + body

    @classmethod
    def from_bytes(cls, data: bytes) -> "Keypoints | None":
        """The inverse of `to_bytes`; None for anything else, damaged bytes among them."""
        if data[:4] != MAGIC or zlib.crc32(data[8:]).to_bytes(4, "little") != data[4:8] or len(data) < 20:
            return None
        width, height, count = np.frombuffer(data, "<u4", 3, 8).tolist()
        if len(data) != 20 + count * (8 + 128):
            return None
        points = np.frombuffer(data, "<f4", 2 * count, 20).reshape(count, 2)
        if not np.isfinite(points).all():
            return None
        descriptors = np.frombuffer(data, np.uint8, 128 * count, 20 + 8 * count).reshape(count, 128)
        return cls(width, height, points.astype(np.float32), descriptors)


def detect(image: Image.Image, most: int, upright: bool = True) -> Keypoints:
    """The strongest keypoints of an upright RGB picture, at most `most`.

    RootSIFT: Arandjelović & Zisserman, CVPR 2012. With `upright`, all have the same orientation, as photos do (Perdoch
    et al., CVPR 2009); without, matching is invariant to rotation.
    """
    import cv2

    gray = np.asarray(image.convert("L"))
    factor = min(1.0, SIDE / max(image.size))
    if factor < 1:
        size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
        gray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
    # OpenCV's type stubs leave SIFT out.
    detector = cv2.SIFT_create()  # type: ignore[attr-defined]
    detected = sorted(detector.detect(gray, None), key=lambda point: -point.response)
    if upright:
        # SIFT returns a point with two orientations twice.
        detected = list({(point.pt, point.size): point for point in reversed(detected)}.values())[::-1]
        for point in detected:
            point.angle = 0.0
    strongest, descriptors = detector.compute(gray, detected[:most]) if detected else ((), None)
    if descriptors is None:
        strongest, descriptors = (), np.empty((0, 128), np.float32)
    # The centre of pixel (0, 0) is (0, 0) at every scale of OpenCV.
    across, down = image.width / gray.shape[1], image.height / gray.shape[0]
    points = np.array([point.pt for point in strongest], np.float32).reshape(-1, 2) + 0.5
    points = (points * (across, down) - 0.5).astype(np.float32)
    return Keypoints(image.width, image.height, points, _to_bytes(descriptors))


def unit(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rows of unit length (n, 128)."""
    rows = descriptors.astype(np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)


def _to_bytes(sift: NDArray[np.float32]) -> NDArray[np.uint8]:
    root = np.sqrt(sift / np.maximum(sift.sum(axis=1, keepdims=True), 1e-9))
    return np.asarray(np.minimum(np.rint(root * SCALE), 255), np.uint8)
