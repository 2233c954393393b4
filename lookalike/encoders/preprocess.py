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
    """How a picture becomes pixels whose sides are multiples of `patch`; `kind` is one of

    - squash: the whole picture at `size` x `size`, without its proportions (224 gives the figures of the DINOv2 paper);
    - crop: the shorter side at 256/224 of `size`, then the middle `size` x `size` (crop-224 is the preprocessing that
      is published with DINOv2, pixel by pixel; squash-224 that of DINOv3);
    - pad: the longer side at `size`, with its proportions, filled with grey at the right and the bottom.
    """

    kind: str = "squash"
    size: int = 224
    patch: int = PATCH
    resample: Image.Resampling = BICUBIC

    @classmethod
    def parse(cls, text: str, patch: int = PATCH, resample: Image.Resampling = BICUBIC) -> "Preprocess":
        """`squash-224`, `crop-224`, `pad-518`; raises EncoderError for anything else."""
        match = re.fullmatch(r"(squash|crop|pad)-([1-9]\d{0,4})", text)
        if not match:
            raise EncoderError(
                f"preprocessing {text!r} is none of squash-N, crop-N, pad-N (N pixels, as in squash-224)"
            )
        kind, size = match[1], int(match[2])
        if not patch <= size <= LARGEST or (kind != "pad" and size % patch):
            nearest = max(patch, min(LARGEST, round(size / patch) * patch))
            raise EncoderError(
                f"preprocessing {text}: sides are multiples of {patch} up to {LARGEST}; try {kind}-{nearest}"
            )
        return cls(kind, size, patch, resample)

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
            resized = image.resize((self.size, self.size), self.resample)
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
        return Box(0, 0, self._up(across) * width / across, self._up(down) * height / down)

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
        """As BitImageProcessor of transformers, pixel by pixel, where `resample` is bicubic."""
        size, box = self._middle(*image.size)
        # A strip is enlarged to a shorter side of 256, and could be of any length.
        if size[0] * size[1] > max(4 * self._shorter_side**2, image.width * image.height):
            return enlarged_part(image, size, box, self.resample)
        return image.resize(size, self.resample).crop(box)

    def _pad(self, image: Image.Image, full_size: tuple[int, int]) -> Image.Image:
        width, height = self._padded(*image.size, full_size)
        canvas = Image.new("RGB", (self._up(width), self._up(height)), PADDING)
        canvas.paste(image.resize((width, height), self.resample))
        return canvas

    def _up(self, side: int) -> int:
        return math.ceil(side / self.patch) * self.patch
