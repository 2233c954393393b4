"""An upright picture to the pixels for a convolutional network, which takes any size; nothing is cropped or padded."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.errors import EncoderError

SMALLEST, LARGEST = 32, 1024
SMALLEST_REGION = 0.5
"""The least size of a region, in `size`. Paris-250 has the same mAP, within .006, from 0.4 to 0.6."""
LONGEST = 4
"""How many times longer than the shorter side a picture may be with `short`; beyond it, a panorama is squashed."""


@dataclass(frozen=True)
class Resize:
    """How a picture becomes pixels; `kind` is one of

    - fit: the longer side at `size`, with its proportions;
    - short: the shorter side at `size`, with its proportions;
    - squash: `size` x `size`, without its proportions.

    With `fit` and `short` a region is resized by the scale of its whole picture, as its content is in the gallery, but
    to no less than half of `size`. EfficientNet-Lite0 has so a mAP of .953 on the cropped queries of Paris-250; .943
    without the least size, and .905 where a region is resized as if it were a picture.
    """

    kind: str
    size: int

    @classmethod
    def parse(cls, text: str) -> "Resize":
        """`fit-320`, `short-288`, `squash-320`; raises EncoderError for anything else."""
        match = re.fullmatch(r"(fit|short|squash)-([1-9]\d{0,4})", text)
        if not match:
            raise EncoderError(f"preprocessing {text!r} is none of fit-N, short-N, squash-N (N pixels, as in fit-320)")
        kind, size = match[1], int(match[2])
        if not SMALLEST <= size <= LARGEST:
            nearest = max(SMALLEST, min(LARGEST, size))
            raise EncoderError(f"preprocessing {text}: N is {SMALLEST} to {LARGEST}; try {kind}-{nearest}")
        return cls(kind, size)

    def __str__(self) -> str:
        return f"{self.kind}-{self.size}"

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """An RGB picture to (height, width, 3); `full_size` is that of the whole picture where `image` is a region."""
        sides = self._sides(*image.size, full_size or image.size)
        return np.asarray(image.resize(sides, Image.Resampling.BILINEAR).convert("RGB"))

    def _sides(self, width: int, height: int, full_size: tuple[int, int]) -> tuple[int, int]:
        if self.kind == "squash":
            return self.size, self.size
        side = max if self.kind == "fit" else min
        scale = max(self.size / side(full_size), self.size * SMALLEST_REGION / side(width, height))
        scale = min(scale, self.size / side(width, height))
        across, down = (min(LONGEST * self.size, max(SMALLEST, round(length * scale))) for length in (width, height))
        return across, down
