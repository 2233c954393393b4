"""An upright picture to the pixels for a ViT: the one preprocessing of index, query, service and evaluation."""

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders.resample import enlarged_part
from lookalike.errors import EncoderError
from lookalike.types import Box

PATCH = 14
LARGEST = 2016
BICUBIC = Image.Resampling.BICUBIC
# The mean of ImageNet, which is zero after normalisation.
PADDING = (124, 116, 104)
# A smaller region holds too little for the model, and is enlarged.
SMALLEST_REGION = 224


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes pixels whose sides are multiples of 14; `kind` is one of

    - squash: the whole picture at `size` x `size`, without its proportions (224 in the DINOv2 paper's retrieval);
    - crop: the shorter side at 256/224 of `size`, then the middle `size` x `size` (crop-224 is the preprocessing that
      is published with DINOv2, pixel by pixel);
    - pad: the longer side at `size`, with its proportions, filled with grey at the right and the bottom.
    """

    kind: str = "squash"
    size: int = 224

    @classmethod
    def parse(cls, text: str) -> "Preprocess":
        """`squash-224`, `crop-224`, `pad-518`; raises EncoderError for anything else."""
        match = re.fullmatch(r"(squash|crop|pad)-([1-9]\d{0,4})", text)
        if not match:
            raise EncoderError(
                f"preprocessing {text!r} is none of squash-N, crop-N, pad-N (N pixels, as in squash-224)"
            )
        kind, size = match[1], int(match[2])
        if not PATCH <= size <= LARGEST or (kind != "pad" and size % PATCH):
            nearest = max(PATCH, min(LARGEST, round(size / PATCH) * PATCH))
            raise EncoderError(f"preprocessing {text}: sides are multiples of 14 up to {LARGEST}; try {kind}-{nearest}")
        return cls(kind, size)

    def __str__(self) -> str:
        return f"{self.kind}-{self.size}"

    @property
    def version(self) -> int:
        """Part of the fingerprint. With 1, `crop` rounded the longer side, where the published one truncates it."""
        return 2 if self.kind == "crop" else 1

    @property
    def decode_size(self) -> int:
        """The shorter side down to which a picture may be decoded reduced without loss."""
        return self._shorter_side if self.kind == "crop" else self.size

    @property
    def _shorter_side(self) -> int:
        return round(self.size * 256 / 224)

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """An RGB picture to (height, width, 3).

        `full_size` is the (width, height) of the whole picture where `image` is a region of it: with `pad`, a region
        is resized by the scale of the whole picture, but to no less than 224 pixels (or `size`).
        """
        if self.kind == "squash":
            resized = image.resize((self.size, self.size), BICUBIC)
        elif self.kind == "crop":
            resized = self._crop(image)
        else:
            resized = self._pad(image, full_size or image.size)
        return np.asarray(resized.convert("RGB"))

    def covered(self, width: int, height: int) -> Box:
        """The region of a picture of this size that `prepare` shows, in its pixels; with `pad` it may exceed it."""
        if self.kind == "squash":
            return Box(0, 0, width, height)
        if self.kind == "crop":
            (across, down), (left, top, right, bottom) = self._middle(width, height)
            return Box(left * width / across, top * height / down, right * width / across, bottom * height / down)
        across, down = self._padded(width, height, (width, height))
        return Box(0, 0, _up(across) * width / across, _up(down) * height / down)

    def _middle(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
        """With `crop`: the size after resizing, and the box of the middle in it."""
        shorter = self._shorter_side
        # As in transformers: the longer side is truncated to a whole number, not rounded.
        longer = int(shorter * max(width, height) / min(width, height))
        across, down = (shorter, longer) if width <= height else (longer, shorter)
        left, top = (across - self.size) // 2, (down - self.size) // 2
        return (across, down), (left, top, left + self.size, top + self.size)

    def _padded(self, width: int, height: int, full_size: tuple[int, int]) -> tuple[int, int]:
        """With `pad`: the size to which a picture, or a region of one of `full_size`, is resized."""
        smallest = min(SMALLEST_REGION, self.size) / max(width, height)
        scale = min(self.size / max(width, height), max(self.size / max(full_size), smallest))
        across, down = (max(1, min(self.size, round(side * scale))) for side in (width, height))
        return across, down

    def _crop(self, image: Image.Image) -> Image.Image:
        """As BitImageProcessor of transformers, pixel by pixel."""
        size, box = self._middle(*image.size)
        # A strip is enlarged to a shorter side of 256, and could be of any length.
        if size[0] * size[1] > max(4 * self._shorter_side**2, image.width * image.height):
            return enlarged_part(image, size, box)
        return image.resize(size, BICUBIC).crop(box)

    def _pad(self, image: Image.Image, full_size: tuple[int, int]) -> Image.Image:
        width, height = self._padded(*image.size, full_size)
        canvas = Image.new("RGB", (_up(width), _up(height)), PADDING)
        canvas.paste(image.resize((width, height), BICUBIC))
        return canvas


def _up(side: int) -> int:
    return math.ceil(side / PATCH) * PATCH
