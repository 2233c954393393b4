"""A gallery that is nothing but its vectors and, for some tests, pictures."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL.Image import Image

from lookalike.errors import ImageError
from lookalike.index.exact import ExactIndex
from lookalike.types import Ids, Probe, Ranking, Scores, Vectors


class Rows(ExactIndex):
    def __init__(self, vectors: Vectors, pictures: Mapping[int, Image] | None = None) -> None:
        super().__init__(np.ascontiguousarray(vectors, np.float32))
        self.all, self.pictures = np.asarray(vectors, np.float32), pictures or {}
        self.cache_dir: Path | None = None

    def vectors(self, ids: Ids) -> Vectors:
        return np.asarray(self.all[ids], np.float32)

    def image(self, row: int) -> Image:
        if row not in self.pictures:
            raise ImageError("no such file")
        return self.pictures[row]

    def content(self, row: int) -> str:
        return f"{row:064x}"


def unit(*rows: list[float]) -> Vectors:
    vectors = np.array(rows, np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def clusters(count: int = 60, dim: int = 12, seed: int = 0, spread: float = 0.6) -> Vectors:
    """Unit rows around a few centres, as pictures of a few things are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, dim))
    rows = centres[rng.integers(0, 6, count)] + spread * rng.normal(size=(count, dim))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def first_list(vector: Vectors, gallery: Rows, k: int) -> tuple[Probe, Ranking]:
    probe = Probe(np.atleast_2d(vector))
    scores, ids = gallery.search(probe.vectors, k)
    kept = ids[0] >= 0
    return probe, Ranking(ids[0][kept], scores[0][kept])


class Approximate(Rows):
    """What an engine may do: it finds `most` rows at most, and says so by ids of -1 with FAISS's score for nothing."""

    def __init__(self, vectors: Vectors, most: int) -> None:
        super().__init__(vectors)
        self.most = most

    def search(self, vectors: Vectors, k: int) -> tuple[Scores, Ids]:
        scores, ids = super().search(vectors, k)
        scores[:, self.most :], ids[:, self.most :] = -3.4e38, -1
        return scores, ids
