"""A picture to the input of a model that others published: resize, pad or crop, then scale and shift."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders.preprocess import PADDING
from lookalike.encoders.resample import KERNELS, enlarged_part
from lookalike.errors import EncoderError

# A strip one pixel high would be resized to gigabytes, of which only the middle is used.
LARGEST_RESIZED = 4_000_000
LARGEST_SIDE = 4096
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BAD_CONFIG = (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What reading a config that is damaged, or means something else, can raise."""


@dataclass(frozen=True)
class Processor:
    """The steps of a preprocessor_config.json, for a picture in RGB.

    `resize` is (width, height), or a number for the shorter side; `crop` is (width, height); None skips the step. With
    `pad`, the picture keeps its proportions within `resize`, and the rest, at the right and the bottom, is grey. With
    `flip` the model takes BGR; `mean` and `std` are in RGB all the same.
    """

    resize: tuple[int, int] | int | None
    crop: tuple[int, int] | None
    resample: Image.Resampling
    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad: bool = False
    flip: bool = False

    @classmethod
    def read(cls, path: Path) -> "Processor":
        """The file of a CLIP or SigLIP; raises EncoderError where it is missing, damaged or not supported."""
        try:
            processor = cls.of(json.loads(path.read_text(encoding="utf-8")))
            if processor.size is None:
                raise ValueError("images would not all have one size")
            return processor
        except FileNotFoundError as error:
            raise EncoderError(
                f"{path} is missing; without it, images cannot be prepared as the model wants"
            ) from error
        except BAD_CONFIG as error:
            raise EncoderError(f"{path} cannot be used ({type(error).__name__}: {error})") from error

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Processor":
        """The steps under CLIP's keys; raises one of BAD_CONFIG."""
        size, crop = config.get("size", 224), config.get("crop_size", 224)
        normalise = config.get("do_normalize", True)
        return cls(
            resize=_resize(size) if config.get("do_resize", True) else None,
            crop=_sides(crop) if config.get("do_center_crop", False) else None,
            resample=Image.Resampling(config.get("resample", Image.Resampling.BICUBIC)),
            factor=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
            mean=_three(config["image_mean"]) if normalise else (0.0, 0.0, 0.0),
            std=_three(config["image_std"]) if normalise else (1.0, 1.0, 1.0),
        )

    @property
    def size(self) -> tuple[int, int] | None:
        """The (width, height) of every picture after `pixels`; None where they differ."""
        return self.crop or (self.resize if isinstance(self.resize, tuple) else None)

    @property
    def decode_size(self) -> int | None:
        """The shorter side that suffices for `pixels`."""
        return max(self.resize) if isinstance(self.resize, tuple) else self.resize

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """An RGB image to (height, width, 3), resized and cropped for the model."""
        if self.pad and isinstance(self.resize, tuple):
            return np.asarray(_padded(image, self.resize, self.resample))
        size = self._resized(image.width, image.height)
        if self.crop and size[0] * size[1] > max(LARGEST_RESIZED, image.width * image.height):
            return np.asarray(_resize_middle(image, size, self.crop, self.resample))
        if size != image.size:
            image = image.resize(size, self.resample)
        return np.asarray(_centre(image, *self.crop) if self.crop else image)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if self.resize is None:
            return width, height
        if isinstance(self.resize, tuple):
            return self.resize
        # As in transformers: the longer side is truncated to a whole number, not rounded.
        other = int(self.resize * max(width, height) / min(width, height))
        return (self.resize, other) if width <= height else (other, self.resize)

    def scale(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, height, width, 3) uint8 to the (n, 3, height, width) float32 input of the graph."""
        return np.ascontiguousarray(self.normalised(pixels).transpose(0, 3, 1, 2), np.float32)

    def normalised(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, height, width, 3) uint8 to float32 of the same shape, in the order of channels that the model takes."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        scaled = np.asarray((pixels.astype(np.float32) * np.float32(self.factor) - mean) / std, np.float32)
        return scaled[..., ::-1] if self.flip else scaled


def _resize(size: Any) -> tuple[int, int] | int:
    """`{"shortest_edge": n}`, in old files `n`: the shorter side; `{"height": h, "width": w}`: both sides."""
    if isinstance(size, dict) and "shortest_edge" in size:
        return positive(size["shortest_edge"])
    return positive(size) if isinstance(size, int) else _sides(size)


def _sides(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return positive(size), positive(size)
    return positive(size["width"]), positive(size["height"])


def positive(value: Any) -> int:
    """A side in pixels; raises ValueError."""
    if not isinstance(value, int) or not 0 < value <= LARGEST_SIDE:
        raise ValueError(f"a size of {value!r}")
    return value


def _three(values: Any) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in (values if isinstance(values, list) else [values] * 3))
    if len(numbers) != 3:
        raise ValueError(f"{len(numbers)} channels")
    return numbers


def _padded(image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    scale = min(size[0] / image.width, size[1] / image.height)
    width, height = (max(1, min(most, round(side * scale))) for side, most in zip(image.size, size, strict=True))
    canvas = Image.new("RGB", size, PADDING)
    canvas.paste(image.resize((width, height), resample))
    return canvas


def _resize_middle(
    image: Image.Image, size: tuple[int, int], crop: tuple[int, int], resample: Image.Resampling
) -> Image.Image:
    """The middle of `image.resize(size)`, which is larger than the image; the rest is never computed.

    Number by number as in the whole for bicubic and bilinear; up to rounding for the other filters.
    """
    left, top = (size[0] - crop[0]) // 2, (size[1] - crop[1]) // 2
    if resample in KERNELS and min(left, top) >= 0:
        return enlarged_part(image, size, (left, top, left + crop[0], top + crop[1]), resample)
    scale_x, scale_y = image.width / size[0], image.height / size[1]
    # Rounding must not lead out of the image.
    right = min((left + crop[0]) * scale_x, image.width)
    bottom = min((top + crop[1]) * scale_y, image.height)
    return image.resize(crop, resample, box=(left * scale_x, top * scale_y, right, bottom))


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of an image; a smaller image gets a black border, as in Pillow's crop."""
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
