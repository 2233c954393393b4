"""A picture to binary local features that survive crops, turns, mirroring and frames, and these to bytes and back."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAGIC = b"lko1"
SIDE, MOST = 320, 200
"""Pictures are reduced to this longest side in pixels, and their strongest corners are described."""
EDGE = 15
"""Pixels along the border of a reduced picture in which no corner is described."""
FLAT = 16
"""Grey levels: a border that varies less is cut off first, so that a framed picture is described at its own size."""
RECORD = np.dtype(
    [("x", "<f2"), ("y", "<f2"), ("size", "<f2"), ("angle", "<f2"), ("bits", np.uint8, 32), ("mirrored", np.uint8, 32)]
)


@dataclass(frozen=True)
class LocalFeatures:
    """Oriented corners (ORB: Rublee et al., ICCV 2011) of a picture.

    `points` (n, 4): x and y as shares of the picture's longest side, size in pixels, and angle in degrees. `bits`
    (n, 32) describe them, and `mirrored` (n, 32) describe the same corners in the mirrored picture.
    """

    points: NDArray[np.float32]
    bits: NDArray[np.uint8]
    mirrored: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.points)

    def to_bytes(self) -> bytes:
        """Everything, with a checksum in front."""
        records = np.empty(len(self), RECORD)
        for column, name in enumerate(("x", "y", "size", "angle")):
            records[name] = self.points[:, column]
        records["bits"], records["mirrored"] = self.bits, self.mirrored
        body = records.tobytes()
        return MAGIC + zlib.crc32(body).to_bytes(4, "little") + body

    @classmethod
    def from_bytes(cls, data: bytes) -> "LocalFeatures | None":
        """The inverse of `to_bytes`; None for anything else, damaged bytes among them."""
        body = data[8:]
        if data[:4] != MAGIC or zlib.crc32(body).to_bytes(4, "little") != data[4:8] or len(body) % RECORD.itemsize:
            return None
        records = np.frombuffer(body, RECORD)
        points = np.stack([records[name].astype(np.float32) for name in ("x", "y", "size", "angle")], axis=1)
        return cls(points, records["bits"].copy(), records["mirrored"].copy()) if np.isfinite(points).all() else None


def describe(image: Image.Image) -> LocalFeatures:
    """The features of an upright picture."""
    import cv2

    whole = np.asarray(image.convert("L"))
    left, top, right, bottom = content_box(whole)
    grey = whole[top:bottom, left:right]
    factor = min(1.0, SIDE / max(grey.shape))
    if factor < 1:
        size = max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    grey = np.ascontiguousarray(grey)
    nothing = LocalFeatures(np.empty((0, 4), np.float32), *(np.empty((0, 32), np.uint8),) * 2)
    # All of it is border, and OpenCV cannot halve a picture of a pixel.
    if min(grey.shape) <= 2 * EDGE:
        return nothing
    orb = cv2.ORB_create(MOST, scaleFactor=1.2, nlevels=8, edgeThreshold=EDGE, fastThreshold=8)  # type: ignore[attr-defined]
    corners = orb.detect(grey, None)
    corners, bits = orb.compute(grey, corners)
    if bits is None or not len(corners):
        return nothing
    reflected = [
        cv2.KeyPoint(grey.shape[1] - 1 - p.pt[0], p.pt[1], p.size, (180 - p.angle) % 360, p.response, p.octave)
        for p in corners
    ]
    kept, mirrored = orb.compute(np.ascontiguousarray(grey[:, ::-1]), reflected)
    if mirrored is None or len(kept) != len(corners):
        mirrored = np.zeros_like(bits)
    side = max(whole.shape)
    points = np.array([(*p.pt, p.size, p.angle) for p in corners], np.float32)
    # Pixel centres of the reduced content to shares of the whole picture.
    points[:, :2] = ((points[:, :2] + 0.5) / factor + (left, top)) / side
    points[:, 2] /= factor * side
    return LocalFeatures(points, bits, mirrored)


def content_box(grey: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) without the flat border; the whole of a picture that is flat."""
    rows, columns = (np.ptp(grey, axis=axis) > FLAT for axis in (1, 0))
    if not rows.any() or not columns.any():
        return 0, 0, grey.shape[1], grey.shape[0]
    top, bottom = int(rows.argmax()), len(rows) - int(rows[::-1].argmax())
    left, right = int(columns.argmax()), len(columns) - int(columns[::-1].argmax())
    return left, top, right, bottom
