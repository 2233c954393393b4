"""An empty FAISS index to a trained one, on a random sample of the stored rows: rotation, lists, codes."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lookalike.errors import IndexSpecError
from lookalike.index.ann import core, faiss_reason
from lookalike.index.library import library
from lookalike.storage.store import Store
from lookalike.types import Ids, Vectors
from lookalike.utils.text import counted

SAMPLE = 65_536
TRAINED_PER_LIST = 64
ROTATIONS = 25
"""Steps in which OPQ learns its rotation; with 50, FAISS' default, one in a thousand more of the nearest is found."""
MANY_LISTS = 4096
"""From so many lists on they are placed in two levels first: 16,384 of them, all at once, would take half an hour."""
TRAINED_PER_MANY = 40
MOST_PER_MEAN = 2000
STEPS, LAST_STEPS = 10, 2
"""Steps of k-means at each level, and of all lists together."""
BLOCK = 16_384


def train(index: Any, spec: str, store: Store, rows: Ids) -> None:
    """Train on a random sample of `rows`, whose size grows with the number of lists. Raises IndexSpecError."""
    if index.is_trained:
        return
    lists = _lists(index)
    if lists:
        core(index).cp.min_points_per_centroid = 1
    size = max(SAMPLE, (TRAINED_PER_LIST if lists < MANY_LISTS else TRAINED_PER_MANY) * lists)
    sample = np.sort(np.random.default_rng(1).choice(rows, min(size, len(rows)), replace=False))
    try:
        with _rotation_for_its_codes(index):
            if lists >= MANY_LISTS and len(sample) >= 2 * lists and _takes_means(index):
                _train_many_lists(index, store, sample)
            else:
                index.train(finite_rows(store, sample))
    except RuntimeError as error:
        raise IndexSpecError(
            f"{spec}: cannot be trained on {counted(len(sample), 'row')} ({faiss_reason(error)})"
        ) from error


def finite_rows(store: Store, ids: Ids) -> Vectors:
    """Vectors of rows for FAISS: NaN or infinity from a flipped bit must not spread."""
    return np.nan_to_num(store.vectors.rows(ids), nan=0.0, posinf=0.0, neginf=0.0)


def _lists(index: Any) -> int:
    return int(core(index).nlist) if isinstance(core(index), library().IndexIVF) else 0


def _takes_means(index: Any) -> bool:
    """Whether the means of its lists can be put in its quantizer as they are."""
    faiss = library()
    return isinstance(faiss.downcast_index(core(index).quantizer), faiss.IndexFlat | faiss.IndexHNSW)


def _train_many_lists(index: Any, store: Store, sample: Ids) -> None:
    """As FAISS' own `train`, but for the lists; and the sample is never whole in memory before it is rotated."""
    few = np.sort(np.random.default_rng(2).choice(sample, min(SAMPLE, len(sample)), replace=False))
    vectors = finite_rows(store, few)
    transforms = _transforms(index)
    for transform in transforms:
        transform.train(vectors)
        vectors = transform.apply(vectors)
    inner = core(index)
    rotated = np.empty((len(sample), vectors.shape[1]), np.float32)
    for start in range(0, len(sample), BLOCK):
        block = finite_rows(store, sample[start : start + BLOCK])
        for transform in transforms:
            block = transform.apply(block)
        rotated[start : start + len(block)] = block
    inner.quantizer.add(means_of(rotated, int(inner.nlist)))
    del rotated
    inner.train(vectors)
    index.is_trained = True


def _transforms(index: Any) -> list[Any]:
    faiss = library()
    outer = faiss.downcast_index(index)
    if isinstance(outer, faiss.IndexRefine):
        outer = faiss.downcast_index(outer.base_index)
    if not isinstance(outer, faiss.IndexPreTransform):
        return []
    return [faiss.downcast_VectorTransform(outer.chain.at(i)) for i in range(outer.chain.size())]


def means_of(vectors: Vectors, count: int) -> Vectors:
    """(n, d) vectors, n at least `count`, to (count, d) unit means: k-means that begins with `two_level_means`."""
    begun = two_level_means(vectors, count)
    return np.asarray(_means(vectors, count, LAST_STEPS, begun).centroids)


def two_level_means(vectors: Vectors, count: int) -> Vectors:
    """(n, d) vectors, n at least `count`, to (count, d) unit means: k-means of k-means.

    The root of `count` groups come first; each of them is divided in proportion to its size. FAISS' own
    (`contrib.clustering`) fails where a group is too small for one mean.
    """
    few = max(1, math.isqrt(count))
    groups = _means(vectors, few, STEPS).assign(vectors)[1]
    order, sizes = np.argsort(groups, kind="stable"), np.bincount(groups, minlength=few)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    parts = [
        np.asarray(_means(vectors[order[start : start + size]], share, STEPS).centroids)
        for start, size, share in zip(starts[:-1], sizes, _shares(sizes, count), strict=True)
        if share
    ]
    return np.ascontiguousarray(np.concatenate(parts), np.float32)


def _shares(sizes: Ids, count: int) -> Ids:
    """How many of `count` means each group gets: in proportion to its size, and never more than it has members."""
    ends = np.cumsum(sizes) * count // max(1, int(sizes.sum()))
    return np.diff(ends, prepend=0)


def _means(vectors: Vectors, count: int, steps: int, begun: Vectors | None = None) -> Any:
    size = {"min_points_per_centroid": 1, "max_points_per_centroid": MOST_PER_MEAN}
    means = library().Kmeans(vectors.shape[1], count, niter=steps, spherical=True, **size)
    means.train(vectors, init_centroids=begun)
    return means


@contextmanager
def _rotation_for_its_codes(index: Any) -> Iterator[None]:
    """Let OPQ learn its rotation with as many centroids a part as the codes have (Ge et al., CVPR 2013).

    FAISS takes 256 whatever the codes are. With the 16 of fast-scan codes it takes a twelfth of the time, and finds as
    much.
    """
    faiss = library()
    codes = getattr(core(index), "pq", None)
    rotation = next(iter(_transforms(index)), None)
    if codes is None or not isinstance(rotation, faiss.OPQMatrix):
        yield
        return
    quantizer = faiss.ProductQuantizer(rotation.d_out, rotation.M, codes.nbits)
    rotation.pq, rotation.niter = quantizer, ROTATIONS
    try:
        yield
    finally:
        rotation.pq = None  # FAISS does not own it.
