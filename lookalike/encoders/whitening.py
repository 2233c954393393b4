"""Vectors to shorter ones with equal variances: PCA whitening, learned on a collection and stored with it."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import CollectionError, QueryError
from lookalike.types import Vectors
from lookalike.utils.files import write_whole
from lookalike.utils.text import counted

FILE = "whitening.safetensors"
BLOCK = 65_536
SMALLEST = 1e-6
"""Directions with a smaller share of the largest variance are rounding noise of float32, and are left out."""
LARGEST = 2 * 1024**3
"""Bytes; no encoder has a whitening as large."""


@dataclass(frozen=True)
class Whitening:
    """y = unit((x - mean) projection): `mean` (dim,), `projection` (dim, dim_out), both float32."""

    mean: NDArray[np.float32]
    projection: NDArray[np.float32]

    @property
    def dim(self) -> int:
        """The length of the whitened vectors."""
        return int(self.projection.shape[1])

    @property
    def dim_in(self) -> int:
        """The length of the vectors before whitening."""
        return int(self.projection.shape[0])

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of both arrays; part of the fingerprint of a whitened encoder."""
        digest = hashlib.sha256(np.ascontiguousarray(self.mean, "<f4").tobytes())
        digest.update(np.ascontiguousarray(self.projection, "<f4").tobytes())
        return digest.hexdigest()

    def apply(self, vectors: Vectors) -> Vectors:
        """(n, dim_in) to (n, dim) unit rows; a row without a direction, as at the mean, becomes (1, 0, ...)."""
        if vectors.shape[1] != self.dim_in:
            raise QueryError(f"the whitening is for vectors of {self.dim_in} numbers, these have {vectors.shape[1]}")
        rows = (vectors - self.mean) @ self.projection
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        lost = ~(np.isfinite(lengths) & (lengths > 1e-9))[:, 0]
        rows[lost], lengths[lost] = np.eye(1, self.dim), 1
        return np.asarray(rows / lengths, np.float32)

    def save(self, folder: Path, file: str = FILE) -> None:
        """Write it whole into `folder`."""
        from safetensors.numpy import save

        content = save({"mean": self.mean, "projection": np.ascontiguousarray(self.projection)})
        write_whole(folder / file, content, durable=False)


def load(folder: Path, file: str = FILE) -> Whitening | None:
    """The whitening of a collection, or another map; None where it has none. CollectionError for a damaged file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / file
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path.stat().st_size:,} bytes")
        stored = load_file(path)
        mean, projection = stored["mean"], stored["projection"]
        if not mean.dtype == projection.dtype == np.float32 or projection.ndim != 2:
            raise ValueError(f"{mean.dtype} and {projection.dtype}")
        if mean.shape != projection.shape[:1] or not 0 < projection.shape[1] <= projection.shape[0]:
            raise ValueError(f"shapes {mean.shape} and {projection.shape}")
        if not (np.isfinite(mean).all() and np.isfinite(projection).all()):
            raise ValueError("numbers that are not finite")
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CollectionError(f"{path} is damaged ({error}); index again with --rebuild") from error
    return Whitening(mean, projection)


class RowSource(Protocol):
    """Rows that are read by slices: an array, or stored rows of another type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, dim)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Vectors: ...


def fit(vectors: RowSource, dim: int | None = None, power: float = 1.0, shrinkage: float = 0.0) -> Whitening:
    """PCA whitening of (n, dim_in) rows, which may be memory-mapped, to the `dim` directions of the largest variance.

    Jégou & Chum, "Negative evidences and co-occurrences in image retrieval", ECCV 2012. Each direction is divided by
    its deviation ** `power`: 1 whitens, 0 only rotates (and, with `dim`, shortens), 0.5 is between. `shrinkage` moves
    every variance by this share towards their mean, for collections that are small beside `dim_in`. Rows that are not
    finite are skipped. `dim` None: all directions that vary. Raises QueryError where there are fewer than `dim`.
    """
    if not 0 <= power <= 1 or not 0 <= shrinkage <= 1:
        raise QueryError(f"whitening: power {power:g} and shrinkage {shrinkage:g} must be between 0 and 1")
    mean, covariance, count = _moments(vectors)
    if count < 2:
        raise QueryError(f"whitening is learned on a collection's vectors, and there are {count} usable ones")
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1], directions[:, ::-1]
    # n points span at most n - 1 directions; the other variances are rounding errors.
    varying = int((variances[: count - 1] > SMALLEST * variances[0]).sum()) if variances[0] > 0 else 0
    dim = varying if dim is None else dim
    if not 0 < dim <= varying:
        raise QueryError(
            f"whitening: dim = {dim}, but {counted(count, 'vector')} vary in {varying} directions; ask for fewer"
        )
    variances = (1 - shrinkage) * variances + shrinkage * variances.sum() / len(variances)
    kept = variances[:dim]
    # A common scale has no effect on unit rows, and keeps the numbers near 1.
    projection = directions[:, :dim] * (kept / kept[0]) ** (-power / 2)
    return Whitening(mean.astype(np.float32), projection.astype(np.float32))


def _moments(vectors: RowSource) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Mean (d,), covariance (d, d) and the number of finite rows, read block by block in two passes."""
    dim = vectors.shape[1]
    total, count = np.zeros(dim), 0
    for block in _blocks(vectors):
        total += block.sum(axis=0, dtype=np.float64)
        count += len(block)
    mean = total / max(count, 1)
    covariance = np.zeros((dim, dim))
    for block in _blocks(vectors):
        centred = block - mean.astype(np.float32)
        covariance += centred.T @ centred
    return mean, covariance / max(count, 1), count


def _blocks(vectors: RowSource) -> Iterator[Vectors]:
    """The finite rows, block by block."""
    for start in range(0, len(vectors), BLOCK):
        block = np.asarray(vectors[start : start + BLOCK], np.float32)
        yield block[np.isfinite(block).all(axis=1)]
