"""DINOv2 and DINOv3: a name or a local checkpoint, with options, to an encoder on ONNX Runtime or PyTorch."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders import devices, weights
from lookalike.encoders import pooling as poolings
from lookalike.encoders.build import build, identify
from lookalike.encoders.checkpoint import AnyArchitecture, Architecture, read_architecture
from lookalike.encoders.dinov3 import RotaryArchitecture
from lookalike.encoders.files import Files, locate
from lookalike.encoders.maps import MapHead
from lookalike.encoders.preprocess import Preprocess
from lookalike.errors import EncoderError
from lookalike.images.decode import encode_images
from lookalike.types import Box, Picture, Preparation, Vectors

INT8 = "int8, version 2"  # of the vectors in int8; a change makes collections of earlier ones unsearchable
PRECISIONS = ("fp32", "int8", "auto")
DEFAULTS = {"preprocess": str(Preprocess()), "pooling": "cls", "precision": "fp32"}
Pixels = NDArray[np.uint8]
Rows = NDArray[np.float32]


class Backbone(Protocol):
    """A model in one of the runtimes; the images of a batch have one size."""

    @property
    def architecture(self) -> AnyArchitecture:
        """The checkpoint's architecture."""
        ...

    @property
    def batch_size(self) -> int:
        """The best number of images for one call."""
        ...

    @property
    def outruns_threads(self) -> bool:
        """Whether decoding in threads of one process is too slow to keep it busy."""
        ...

    def class_tokens(self, pixels: Pixels) -> Rows:
        """(n, height, width, 3) to (n, width)."""
        ...

    def tokens(self, pixels: Pixels) -> tuple[Rows, Rows]:
        """(n, height, width, 3) to class tokens (n, width) and patch tokens (n, patches, width)."""
        ...


def load(
    name: str | Path,
    preprocess: str = DEFAULTS["preprocess"],
    pooling: str = DEFAULTS["pooling"],
    precision: str = DEFAULTS["precision"],
    device: str | None = None,
) -> "Dinov2":
    """The encoder of a name in `weights.HUB`, a local checkpoint, or a hub id.

    `precision`: `auto` is for collections, which try int8 on their own images; here it means fp32, as there are no
    images. `device`: cuda, mps or cpu for PyTorch, onnx for ONNX Runtime; without one, a GPU that PyTorch can use, else
    ONNX Runtime. Raises EncoderError for weights that are missing or cannot be used, and for unknown options.
    """
    if precision not in PRECISIONS:
        raise EncoderError(f"precision {precision!r} is none of {', '.join(PRECISIONS)}")
    precision = "fp32" if precision == "auto" else precision
    pooling, runtime = poolings.check(pooling), devices.choose(device, precision)
    if str(name) in weights.HUB:  # a wrong size is said before anything is fetched
        _parse(preprocess, RotaryArchitecture if str(name).startswith("dinov3-") else Architecture)
    files = locate(weights.resolve(name))
    prepare = _parse(preprocess, _family(files))
    identity = Identity(str(name), prepare, pooling, precision, identify(files))
    if runtime == "onnx":
        from lookalike.encoders.onnx import OnnxBackbone

        return Dinov2(identity, OnnxBackbone(build(files, precision), precision))
    from lookalike.encoders.torch import TorchBackbone

    return Dinov2(identity, TorchBackbone(files, runtime))


def _family(files: Files) -> type[AnyArchitecture]:
    """The kind of a checkpoint's architecture; only DINOv2 has files without a config."""
    return Architecture if files.config is None else type(read_architecture(files.config))


def _parse(preprocess: str, family: type[AnyArchitecture]) -> Preprocess:
    return Preprocess.parse(preprocess, family.patch, family.resample)


@dataclass(frozen=True)
class Identity:
    """The parameters that decide an encoder's vectors; `digest` is the checkpoint's."""

    checkpoint: str
    preprocess: Preprocess
    pooling: str
    precision: str
    digest: str

    @property
    def name(self) -> str:
        """The name for `load_encoder`, with the options that differ from the defaults."""
        values = {"preprocess": str(self.preprocess), "pooling": self.pooling, "precision": self.precision}
        words = {"preprocess": "", "pooling": "pool=", "precision": "precision="}
        options = ",".join(words[key] + value for key, value in values.items() if value != DEFAULTS[key])
        return f"{self.checkpoint}@{options}" if options else self.checkpoint

    @property
    def fingerprint(self) -> str:
        """The same for both runtimes: bf16 on a GPU agrees with fp32 to a cosine of 0.9999; int8 has its own."""
        precision = INT8 if self.precision == "int8" else self.precision
        parts = (self.preprocess.version, self.digest, str(self.preprocess), self.pooling, precision)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


class Dinov2:
    """Preprocessing, a backbone in one of the runtimes, and pooling. Meets `types.Encoder`; thread-safe."""

    def __init__(self, identity: Identity, backbone: Backbone) -> None:
        self._identity, self._backbone = identity, backbone
        self.name, self.fingerprint = identity.name, identity.fingerprint
        self.dim = poolings.width(identity.pooling, backbone.architecture.width)
        self.decode_size: int | None = identity.preprocess.decode_size
        self.batch_size = backbone.batch_size
        # Runs in worker processes (see `workers`); None where threads are fast enough.
        self.preparation: Preparation | None = identity.preprocess if backbone.outruns_threads else None

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """An upright RGB picture to (height, width, 3) uint8, sides multiples of the patch's; see `Preprocess`."""
        return self._identity.preprocess.prepare(image, full_size)

    def prepare_scaled(self, image: Image.Image, full_size: tuple[int, int] | None, scale: float) -> NDArray[Any]:
        """As `prepare`, with sides of about `scale` times as many pixels, in whole patches."""
        preprocess = self._identity.preprocess
        size = max(1, round(scale * preprocess.size / preprocess.patch)) * preprocess.patch
        return replace(preprocess, size=size).prepare(image, full_size)

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        """Arrays from `prepare`, of any sizes, to (n, dim) unit rows."""
        vectors = np.empty((len(prepared), self.dim), np.float32)
        for places, pixels in _by_shape(prepared):
            if self._identity.pooling == "cls":
                vectors[places] = poolings.unit(self._backbone.class_tokens(pixels))
            else:
                vectors[places] = poolings.pool(self._identity.pooling, *self._backbone.tokens(pixels))
        return vectors

    def encode_patches(self, prepared: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Arrays from `prepare` to patch tokens (rows, columns, width of the model), as the model gives them.

        With DINOv2 the patch at (row, column) covers the 14 x 14 pixels that begin at (14 row, 14 column) of the array;
        DINOv3's patches have 16 x 16.
        """
        patch, grids = self._backbone.architecture.patch, dict[int, NDArray[np.float32]]()
        for places, pixels in _by_shape(prepared):
            rows, columns = pixels.shape[1] // patch, pixels.shape[2] // patch
            _, tokens = self._backbone.tokens(pixels)
            grids |= dict(zip(places, tokens.reshape(len(pixels), rows, columns, -1), strict=True))
        return [grids[place] for place in range(len(prepared))]

    @property
    def map_head(self) -> MapHead | None:
        """None where the vector is, or holds, the class token: no window of the patches has one of its own."""
        powers = {"mean": 1, "gem": poolings.POWER}
        pooling = self._identity.pooling
        return MapHead(powers[pooling]) if pooling in powers else None

    @property
    def map_side(self) -> int:
        """The side of a picture for its own vector, in pixels."""
        return self._identity.preprocess.size

    def prepare_map(self, image: Image.Image, side: int) -> NDArray[Any]:
        """(height, width, 3) uint8 with about the picture's proportions: sides are multiples of the patch's."""
        patch = self._backbone.architecture.patch
        width, height = (max(1, round(length * side / max(image.size) / patch)) * patch for length in image.size)
        return np.asarray(image.resize((width, height), self._identity.preprocess.resample).convert("RGB"))

    def encode_maps(self, prepared: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """As `encode_patches`."""
        return self.encode_patches(prepared)

    def patch_region(self, width: int, height: int) -> Box:
        """The region that the patches of a picture of this size cover, in its pixels; padding exceeds the picture."""
        return self._identity.preprocess.covered(width, height)

    def encode(self, images: Sequence[Picture]) -> Vectors:
        """Images or paths to (n, dim) unit rows."""
        return encode_images(self, images)


def _by_shape(prepared: Sequence[NDArray[Any]]) -> Iterator[tuple[list[int], Pixels]]:
    """Batches of one size each, with the positions of their images in `prepared`."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, array in enumerate(prepared):
        places.setdefault(array.shape, []).append(place)
    for same in places.values():
        yield same, np.stack([prepared[place] for place in same])
