"""A checkpoint to its ONNX graphs in the cache, built once and named by the checkpoint's digest."""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookalike.encoders import graph
from lookalike.encoders.checkpoint import AnyArchitecture, architecture_from, open_checkpoint, read_architecture
from lookalike.encoders.files import Files, checksum
from lookalike.encoders.rotation import Rotated
from lookalike.errors import EncoderError
from lookalike.utils.files import reason
from lookalike.utils.paths import cache_dir

POSITIONS, SHAPE = "positions.npy", "architecture.json"


@dataclass(frozen=True)
class BuiltGraphs:
    """A folder of the cache with cls.onnx, tokens.onnx, weights.bin and positions.npy.

    `digest` is the checkpoint's, the same for every precision.
    """

    folder: Path
    architecture: AnyArchitecture
    digest: str


def build(files: Files, precision: str) -> BuiltGraphs:
    """The graphs of a checkpoint in `fp32` or `int8`, from the cache where they are.

    Raises EncoderError for a checkpoint that cannot be used; the cache then stays as it was.
    """
    digest = identify(files)
    # Of DINOv3 too: the digest tells them apart.
    folder = cache_dir("dinov2", f"{digest[:24]}-{precision}-{graph.VERSION}")
    if not (folder / SHAPE).is_file():
        with appearing(folder, SHAPE) as unfinished:
            _write(files, unfinished, precision)
    return BuiltGraphs(folder, _read_shape(folder), digest)


def identify(files: Files) -> str:
    """A digest of the tensors, and of the architecture where a config states it: together they decide the vectors."""
    shape = "" if files.config is None else repr(read_architecture(files.config))
    return hashlib.sha256(f"{checksum(files.weights)} {shape}".encode()).hexdigest()


def _write(files: Files, folder: Path, precision: str) -> None:
    checkpoint = open_checkpoint(files.weights, files.config)
    rotated = Rotated(checkpoint) if precision == "int8" else None
    graph.write_graphs(rotated or checkpoint, folder, rotated.readout if rotated else None)
    np.save(folder / POSITIONS, (rotated or checkpoint).tensor("embeddings.position_embeddings"))
    (folder / SHAPE).write_text(json.dumps(dataclasses.asdict(checkpoint.architecture)), encoding="utf-8")


def _read_shape(folder: Path) -> AnyArchitecture:
    try:
        return architecture_from(json.loads((folder / SHAPE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise EncoderError(f"{folder} is damaged; delete it, and it is made again") from error


@contextmanager
def appearing(folder: Path, part: str) -> Iterator[Path]:
    """A folder to write into, renamed to `folder` after success; another process may do the same at the same time.

    `part` is a file that the folder has when it is whole. Raises EncoderError where the disk does not take it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise EncoderError(f"{folder.parent} cannot be written to ({reason(error)}); set LOOKALIKE_CACHE") from error
    try:
        yield unfinished
        for path in unfinished.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        try:
            unfinished.rename(folder)
        except OSError:
            if not (folder / part).is_file():
                raise
    except OSError as error:
        raise EncoderError(f"{folder} cannot be written ({reason(error)}); set LOOKALIKE_CACHE") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
