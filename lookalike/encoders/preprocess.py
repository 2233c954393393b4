"""An upright picture to the pixels for a ViT: the one preprocessing of index, query, service and evaluation."""

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
    - crop: the shorter side at 256/224 of `size`, then the middle `size` x `size`;
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
            scale, _, (left, top) = self._middle(width, height)
            return Box(left / scale, top / scale, (left + self.size) / scale, (top + self.size) / scale)
        across, down = self._padded(width, height, (width, height))
        return Box(0, 0, _up(across) * width / across, _up(down) * height / down)

    def _middle(self, width: int, height: int) -> tuple[float, tuple[int, int], tuple[int, int]]:
        """With `crop`: the scale, the size after it, and the left top corner of the middle."""
        scale = self._shorter_side / min(width, height)
        across, down = round(width * scale), round(height * scale)
        return scale, (across, down), ((across - self.size) // 2, (down - self.size) // 2)

    def _padded(self, width: int, height: int, full_size: tuple[int, int]) -> tuple[int, int]:
        """With `pad`: the size to which a picture, or a region of one of `full_size`, is resized."""
        smallest = min(SMALLEST_REGION, self.size) / max(width, height)
        scale = min(self.size / max(width, height), max(self.size / max(full_size), smallest))
        across, down = (max(1, min(self.size, round(side * scale))) for side in (width, height))
        return across, down

    def _crop(self, image: Image.Image) -> Image.Image:
        scale, (width, height), (left, top) = self._middle(*image.size)
        # Of a panorama only the middle is resized: with its shorter side at 256, it could be of any width.
        box = (left / scale, top / scale, (left + self.size) / scale, (top + self.size) / scale)
        if width * height > 4 * self._shorter_side**2:
            return image.resize((self.size, self.size), BICUBIC, box=_within(box, image.size))
        return image.resize((width, height), BICUBIC).crop((left, top, left + self.size, top + self.size))

    def _pad(self, image: Image.Image, full_size: tuple[int, int]) -> Image.Image:
        width, height = self._padded(*image.size, full_size)
        canvas = Image.new("RGB", (_up(width), _up(height)), PADDING)
        canvas.paste(image.resize((width, height), BICUBIC))
        return canvas


def _up(side: int) -> int:
    return math.ceil(side / PATCH) * PATCH


def _within(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box cut to the image, which rounding may exceed."""
    left, top, right, bottom = box
    return max(0.0, left), max(0.0, top), min(float(size[0]), right), min(float(size[1]), bottom)
