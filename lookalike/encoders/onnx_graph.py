"""The signature of an ONNX file to the one image that it takes and the one output that becomes a vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders.signature import Signature, Value
from lookalike.errors import EncoderError

LAYOUTS = {"nchw": False, "nhwc": True}
LARGEST_BATCH = 64
TOGETHER = 8
MOST_LISTED = 10
INPUTS, OUTPUTS = (np.float32, np.float16, np.uint8), (np.float32, np.float16, np.float64)
# Of several outputs of one kind, the first of these is the vector.
NAMES = ("image_embeds", "embedding", "embeddings", "features", "pooler_output", "last_hidden_state")


@dataclass(frozen=True)
class ImageInput:
    """The input of a graph; a side or a batch of None may vary. `together` is the number of images for one run."""

    name: str
    dtype: Any
    channels_last: bool
    batch: int | None
    size: tuple[int | None, int | None]
    together: int

    @property
    def is_raw(self) -> bool:
        """Whether it takes pixels as they are, so that the graph scales them itself."""
        return bool(self.dtype == np.uint8)

    def batches(self, images: NDArray[np.float32]) -> list[tuple[NDArray[Any], int]]:
        """(n, height, width, 3) to arrays as the graph takes them, each with the number of images that count in it."""
        parts = [images[at : at + self.together] for at in range(0, len(images), self.together)]
        return [(self._array(part), len(part)) for part in parts]

    def _array(self, images: NDArray[np.float32]) -> NDArray[Any]:
        if self.batch and len(images) < self.batch:
            images = np.concatenate([images, np.repeat(images[-1:], self.batch - len(images), axis=0)])
        return np.ascontiguousarray(images if self.channels_last else images.transpose(0, 3, 1, 2), self.dtype)


def image_input(path: Path, signature: Signature, layout: str | None = None) -> ImageInput:
    """The image that a graph takes; raises EncoderError where it takes anything else, or more than that.

    Without `layout`, a graph takes NHWC where it says that its last side is 3 and its second is not, else NCHW.
    """
    if len(signature.inputs) != 1:
        raise EncoderError(f"{path} takes {_listed(signature.inputs)}; an encoder takes one image and nothing else")
    (value,) = signature.inputs
    if value.shape is None or len(value.shape) != 4:
        raise EncoderError(f"{path} takes {value}; an image is n x 3 x height x width, or n x height x width x 3")
    if value.dtype not in INPUTS:
        raise EncoderError(f"{path} takes {value} of another type than float32, float16 or uint8")
    batch, *sides = value.shape
    last = LAYOUTS[layout] if layout else sides[2] == 3 and sides[0] != 3
    height, width, channels = sides if last else (*sides[1:], sides[0])
    if channels not in (3, None):
        raise EncoderError(f"{path} takes {value}, {channels} channels, and images have 3")
    if (batch or 0) > LARGEST_BATCH:
        raise EncoderError(f"{path} takes {batch} images at once, over the limit of {LARGEST_BATCH}")
    together = 1 if signature.mixes_batch else batch or TOGETHER
    return ImageInput(value.name, value.dtype, last, batch, (width, height), together)


def choose_output(path: Path, outputs: Sequence[Value], name: str | None = None) -> Value:
    """The output of this name; without one, the only vector, else the only output, else the first of `NAMES`.

    A vector is n x d, tokens are n x t x d, a feature map is n x d x h x w. Raises EncoderError where no output is one
    of these, or more than one could be meant.
    """
    usable = [value for value in outputs if _is_usable(value)]
    if name is not None:
        usable = [value for value in usable if value.name == name]
    vectors = [value for value in usable if value.shape and len(value.shape) == 2]
    candidates = vectors or usable
    named = [value for known in NAMES for value in candidates if value.name == known]
    if not candidates:
        called = f", of which {name!r} is" if name is not None else ","
        raise EncoderError(
            f"{path} gives {_listed(outputs)}{called} no vector (n x d), tokens (n x t x d) or map (n x d x h x w)"
        )
    if len(candidates) > 1 and not named:
        raise EncoderError(
            f"{path} gives {_listed(candidates)}; say which is the vector, as in output={candidates[0].label}"
        )
    return named[0] if len(candidates) > 1 else candidates[0]


def _is_usable(value: Value) -> bool:
    return value.dtype in OUTPUTS and value.shape is not None and 2 <= len(value.shape) <= 4


def _listed(values: Sequence[Value]) -> str:
    more = f" and {len(values) - MOST_LISTED} more" if len(values) > MOST_LISTED else ""
    return (", ".join(map(str, values[:MOST_LISTED])) or "nothing") + more
