"""Made-up vectors of any number, the same for the same seed and never whole in memory; and what a machine can do."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lookalike.index.exact import threads
from lookalike.types import Vectors

LATENT = 64
"""Directions in which clusters and what is in them differ: descriptors of photos have some tens of them."""
PER_CLUSTER = 100
SPREAD = 0.7
NOISE = 0.5
"""Length of what is random in all directions, against a latent part of about 1.2."""
BLOCK = 50_000


class Made:
    """Clusters in a space of `LATENT` directions, turned into `dim`, with noise in all of them."""

    def __init__(self, rows: int, dim: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.dim, self.seed, latent = dim, seed, min(LATENT, dim)
        self._centres = rng.standard_normal((max(1, rows // PER_CLUSTER), latent), np.float32) / latent**0.5
        self._turn = np.linalg.qr(rng.standard_normal((dim, latent)))[0].T.astype(np.float32)

    def rows(self, count: int, part: int) -> Vectors:
        """`count` unit rows; another `part` gives others of the same clusters."""
        rng = np.random.default_rng([self.seed, 1 + part])
        latent = len(self._turn)
        inner = rng.standard_normal((count, latent), np.float32) * (SPREAD / latent**0.5)
        inner += self._centres[rng.integers(0, len(self._centres), count)]
        made = inner @ self._turn
        made += rng.standard_normal((count, self.dim), np.float32) * (NOISE / self.dim**0.5)
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        return np.asarray(made, np.float32)

    def blocks(self, rows: int) -> Iterator[Vectors]:
        """`rows` rows, some at a time."""
        for part, start in enumerate(range(0, rows, BLOCK)):
            yield self.rows(min(BLOCK, rows - start), part)

    def queries(self, count: int) -> Vectors:
        """Rows that are not among those of `blocks`."""
        return self.rows(count, 1_000_000)


def written(path: Path, rows: int, dim: int) -> Path:
    """A .npy of float32 rows of that many, made where it is not there yet."""
    if not path.is_file():
        draft = path.with_suffix(".new.npy")
        array = np.lib.format.open_memmap(draft, "w+", np.float32, (rows, dim))
        start = 0
        for block in Made(rows, dim).blocks(rows):
            array[start : start + len(block)] = block
            start += len(block)
        array.flush()
        del array
        draft.replace(path)
    return path


def named(path: Path, rows: int) -> Path:
    """A text file of that many names, made where it is not there yet."""
    if not path.is_file():
        draft = path.with_suffix(".new")
        with draft.open("w", encoding="ascii") as file:
            file.writelines(f"{number // 1000:06}/{number:09}.jpg\n" for number in range(rows))
        draft.replace(path)
    return path


def bandwidth(array: Vectors, repeats: int = 3) -> float:
    """Bytes a second at which all threads read (n, dim) rows, by the quickest of three simple ways to do so."""
    one = np.ones(array.shape[1], np.float32)
    ways: list[Callable[[Vectors], object]] = [
        lambda part: part @ one,
        lambda part: np.bitwise_xor.reduce(part.reshape(-1).view(np.uint64)),
    ]
    size = -(-len(array) // threads())
    parts = [array[start : start + size] for start in range(0, len(array), size)]
    took = []
    with ThreadPoolExecutor(threads()) as pool:
        for _ in range(repeats):
            for way in ways:
                began = time.perf_counter()
                list(pool.map(way, parts))
                took.append(time.perf_counter() - began)
            began = time.perf_counter()
            array @ one  # in the threads that BLAS has itself
            took.append(time.perf_counter() - began)
    return array.nbytes / min(took)


def matrix_peak(size: int = 3072, repeats: int = 3) -> float:
    """Multiplications and additions a second of a large float32 matrix product, on all threads."""
    left = np.random.default_rng(0).standard_normal((size, size), np.float32)
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        left @ left
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best
