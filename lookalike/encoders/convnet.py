"""A convolutional network's graph on ONNX Runtime as an encoder: pixels to unit vectors."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders import conv_graph
from lookalike.encoders.build import appearing
from lookalike.encoders.graph_files import open_session
from lookalike.encoders.maps import MapHead
from lookalike.encoders.pooling import unit
from lookalike.encoders.resize import Resize
from lookalike.errors import EncoderError
from lookalike.images.decode import encode_images
from lookalike.types import Picture, Vectors
from lookalike.utils.cores import cores
from lookalike.utils.onnx_writer import Weights
from lookalike.utils.paths import cache_dir

VERSION = 1  # of preprocessing and pooling: part of the fingerprint


@dataclass(frozen=True)
class Identity:
    """The parameters that decide an encoder's vectors; `digest` is that of the weights, `default` of preprocessing."""

    checkpoint: str
    preprocess: Resize
    default: Resize
    digest: str
    precision: str = "fp32"

    @property
    def name(self) -> str:
        """The name for `load_encoder`, with the options that differ from the defaults."""
        words = [] if self.preprocess == self.default else [str(self.preprocess)]
        words += [] if self.precision == "fp32" else [f"precision={self.precision}"]
        return f"{self.checkpoint}@{','.join(words)}" if words else self.checkpoint

    @property
    def fingerprint(self) -> str:
        """A digest of the weights, the preprocessing and the precision."""
        return hashlib.sha256(repr((VERSION, self.digest, str(self.preprocess), self.precision)).encode()).hexdigest()


def built(digest: str, write: Callable[[Weights, Path], object], precision: str = "fp32") -> Path:
    """The folder of the cache with the graph of these weights; `write` makes it where it is not there yet.

    Raises EncoderError for a checkpoint that cannot be used; the cache then stays as it was.
    """
    folder = cache_dir("convnet", f"{digest[:24]}-{precision}-{conv_graph.VERSION}")
    if not (folder / conv_graph.MODEL).is_file():
        with appearing(folder, conv_graph.MODEL) as unfinished, (unfinished / conv_graph.WEIGHTS).open("wb") as file:
            write(Weights(file, conv_graph.WEIGHTS), unfinished)
    return folder


class ConvEncoder:
    """Resizing, a graph of `conv_graph` in the cache, and unit length. Meets `types.Encoder`; thread-safe."""

    batch_size = 8

    def __init__(self, identity: Identity, folder: Path, dim: int, map_head: MapHead | None = None) -> None:
        self._identity, self._folder, self.map_head = identity, folder, map_head
        self.name, self.fingerprint, self.dim = identity.name, identity.fingerprint, dim
        self.decode_size: int | None = identity.preprocess.size
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """An upright RGB picture to (height, width, 3) uint8; `full_size` as in `Resize`."""
        return self._identity.preprocess.prepare(image, full_size)

    def prepare_scaled(self, image: Image.Image, full_size: tuple[int, int] | None, scale: float) -> NDArray[Any]:
        """As `prepare`, with sides of `scale` times as many pixels."""
        resize = self._identity.preprocess
        return Resize(resize.kind, max(1, round(scale * resize.size))).prepare(image, full_size)

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        """Arrays from `prepare`, of any sizes, to (n, dim) unit rows.

        Each image is a run of its own on one thread, and as many are run at once as there are cores. A convolution
        gains nothing from a batch and little from a second thread, and so a vector does not depend on its batch.
        """
        return unit(np.stack(self._runs(conv_graph.MODEL, conv_graph.VECTORS, prepared)))

    def prepare_map(self, image: Image.Image, side: int) -> NDArray[Any]:
        """(height, width, 3) uint8 with the picture's proportions, its longer side at `side` pixels."""
        return Resize("fit", side).prepare(image)

    def encode_maps(self, prepared: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Arrays of any sizes to their last maps (rows, columns, channels)."""
        maps = self._runs(conv_graph.MAP_MODEL, conv_graph.MAP, prepared)
        return [np.ascontiguousarray(each.transpose(1, 2, 0)) for each in maps]

    @property
    def map_side(self) -> int:
        """As `Resize` has it for whole pictures."""
        return self._identity.preprocess.size

    def _runs(self, model: str, output: str, prepared: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        session = self._opened(model)

        def run(pixels: NDArray[Any]) -> NDArray[np.float32]:
            return np.asarray(session.run([output], {conv_graph.PIXELS: pixels[None]})[0][0])

        if len(prepared) == 1 or cores() == 1:
            return [run(pixels) for pixels in prepared]
        with ThreadPoolExecutor(cores(), thread_name_prefix="lookalike-encode") as pool:
            return list(pool.map(run, prepared))

    def encode(self, images: Sequence[Picture]) -> Vectors:
        """Images or paths to (n, dim) unit rows."""
        return encode_images(self, images)

    def _opened(self, model: str) -> Any:
        with self._lock:
            if model not in self._sessions:
                path = self._folder / model
                try:
                    self._sessions[model] = open_session(path, 1, self._identity.precision == "int8")
                except EncoderError as error:
                    raise EncoderError(f"{error}; delete {self._folder}, and it is made again") from error
            return self._sessions[model]
