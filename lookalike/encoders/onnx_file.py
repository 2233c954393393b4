"""Any ONNX file that takes one image and gives a vector, tokens or a feature map, to an encoder."""

import hashlib
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.encoders import weights
from lookalike.encoders.files import checksum
from lookalike.encoders.graph_files import check_external, open_session, rows_of
from lookalike.encoders.onnx_plan import SIDE, Plan, planned, spelled
from lookalike.encoders.repository import is_graph, local_graph
from lookalike.errors import EncoderError
from lookalike.images.decode import encode_images
from lookalike.types import Picture, Vectors
from lookalike.utils.cores import cores
from lookalike.utils.text import counted

VERSION = 1  # of the steps around the graph: part of the fingerprint
Number = str | float | Sequence[float]


def load(  # noqa: PLR0913 - an encoder's options are its parameters
    name: str | Path,
    *,
    preprocess: str | None = None,
    mean: Number | None = None,
    std: Number | None = None,
    factor: str | float | None = None,
    order: str | None = None,
    resample: str | None = None,
    layout: str | None = None,
    output: str | None = None,
    pooling: str | None = None,
    prefix: str | int | None = None,
) -> "OnnxFile":
    """The encoder of an ONNX file, of a folder that holds one, or of a hub id, fetched where needed.

    What the options leave open is read from the preprocessor_config.json beside the file, else from timm's config.json,
    else it is the graph's own size (or 224 x 224, squashed) and ImageNet's mean and std, with a warning that says so.
    Raises EncoderError.
    """
    given = {
        "preprocess": preprocess, "mean": mean, "std": std, "factor": factor, "order": order, "resample": resample,
        "layout": layout, "output": output, "pooling": pooling, "prefix": prefix,
    }  # fmt: skip
    options = {key: _spelled(key, value) for key, value in given.items() if value is not None}
    graph = _graph(name)
    place = str(Path(name).resolve()) if Path(name).exists() else str(name)
    return OnnxFile(f"{place}@{spelled(options)}" if options else place, graph, planned(graph, options))


def _graph(name: str | Path) -> Path:
    # A missing file in a folder, models/a.onnx, would look like a hub id.
    return Path(name) if is_graph(name) and not Path(name).is_dir() else local_graph(weights.resolve(name))


def _spelled(key: str, value: Number | int) -> str:
    text = ":".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
    if "," in text:
        raise EncoderError(f"{key} {text!r} has a comma, which no option can have")
    return text


class OnnxFile:
    """A graph on ONNX Runtime with what is done before and after it. Meets `types.Encoder`; thread-safe.

    The session is made on first use.
    """

    def __init__(self, name: str, graph: Path, plan: Plan, threads: int = 0) -> None:
        """`threads` 0: as many as this process may use."""
        self.name, self._graph, self._plan = name, graph, plan
        self._threads, self._lock = threads or cores(), threading.Lock()
        self._session: Any = None
        self.decode_size: int | None = plan.processor.decode_size
        self.batch_size = plan.image.together

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the file, the files beside it that hold its weights, and everything in the plan."""
        digests = [checksum(path) for path in (self._graph, *check_external(self._graph))]
        return hashlib.sha256(repr(("onnx file", VERSION, digests, *self._plan.described)).encode()).hexdigest()

    @cached_property
    def dim(self) -> int:
        """The length of a vector, measured: so a graph that cannot run is noticed before anything is written."""
        width, height = self._plan.processor.size or (SIDE, SIDE)
        slope = np.add.outer(np.arange(height), np.arange(width)) % 256
        return int(self._vectors(np.repeat(slope[None, :, :, None], 3, axis=3).astype(np.uint8)).shape[1])

    def prepare(self, image: Image.Image, full_size: tuple[int, int] | None = None) -> NDArray[Any]:
        """(height, width, 3) uint8. `full_size` has no effect, since all images have one size."""
        return self._plan.processor.pixels(image)

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        """Arrays from `prepare` to (n, dim) unit rows."""
        return self._vectors(np.stack(prepared))

    def encode(self, images: Sequence[Picture]) -> Vectors:
        """Images or paths to (n, dim) unit rows."""
        return encode_images(self, images)

    def _vectors(self, pixels: NDArray[np.uint8]) -> Vectors:
        batches = self._plan.image.batches(self._plan.processor.normalised(pixels))
        return np.concatenate([self._batch(array, count) for array, count in batches])

    def _batch(self, array: NDArray[Any], count: int) -> Vectors:
        """The vectors of the first `count` images in an input of the graph; the others only fill it up."""
        plan = self._plan
        result = rows_of(self._opened(), self._graph, {plan.image.name: array}, plan.output.name)
        if result.shape[:1] != (len(array),):
            raise EncoderError(f"{self._graph}: the output has shape {result.shape} for {counted(len(array), 'image')}")
        return plan.vectors(self._graph, result[:count], count)

    def _opened(self) -> Any:
        with self._lock:
            if self._session is None:
                self._session = open_session(self._graph, self._threads)
            return self._session
