"""Images of known similarity: each has one colour, its vector is an angle, and closer angles are more alike."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.images import decode as images
from lookalike.types import Picture, Vectors


def colour(degrees: float) -> tuple[int, int, int]:
    """Red and green carry the angle; blue stays at the middle."""
    angle = math.radians(degrees)
    return round(128 + 100 * math.cos(angle)), round(128 + 100 * math.sin(angle)), 128


def paint(file: Path, degrees: float, size: tuple[int, int] = (32, 24)) -> None:
    """A picture of this angle."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour(degrees)).save(file)


class AngleEncoder:
    """The mean colour of an image as a unit vector in the plane; counts the images that it encodes."""

    name = "angles"
    dim = 2
    fingerprint = "angles-1"
    decode_size = None

    def __init__(self) -> None:
        self.encoded = 0
        self.full_sizes: list[tuple[int, int] | None] = []

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        self.full_sizes.append(full_size)
        pixels: NDArray[np.float64] = np.asarray(image, np.float64)
        return np.asarray(pixels.mean(axis=(0, 1))[:2] - 128)

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        self.encoded += len(prepared)
        rows = np.stack(prepared)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def encode(self, pictures: Sequence[Picture]) -> Vectors:
        return images.encode_images(self, pictures)


def vgg(root: Path, angles: Mapping[str, float], queries: Mapping[str, tuple[str, str, str]]) -> Path:
    """A benchmark in the VGG layout: images at these angles; a query is (image and box, positives, junk)."""
    (root / "groundtruth").mkdir(parents=True)
    for name, degrees in angles.items():
        paint(root / "images" / f"{name}.png", degrees)
    for name, (query, positives, junk) in queries.items():
        for label, text in {"query": query, "good": positives, "ok": "", "junk": junk}.items():
            (root / "groundtruth" / f"{name}_{label}.txt").write_text("\n".join(text.split(";")))
    return root
