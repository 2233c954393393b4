"""Vectors to places on a plane: groups of similar images as islands of a grid, similar islands near each other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.index.library import library
from lookalike.types import Ids, Vectors

Places = NDArray[np.float32]
"""(n, 2) x and y."""

NEIGHBOURS = 15
EPOCHS = 200
REPULSIONS = 5
# More points per centroid than this do not change it (FAISS's own limit).
TRAINING_POINTS = 256
SCREEN = 1.6
SPREAD_STEPS = 1500


@dataclass(frozen=True)
class Islands:
    """The layout: a grid cell is 1 x 1, and places are the centres of cells.

    `places` (n, 2) and `groups` (n,) are of each image; `centres` (k, 2), `radii` (k,) and `representatives` (k,), the
    image nearest to the mean, are of each group. Groups are numbered by size, largest first.
    """

    places: Places
    groups: Ids
    centres: Places
    radii: NDArray[np.float32]
    representatives: Ids


def islands(vectors: Vectors, count: int | None = None, seed: int = 0) -> Islands:
    """Group unit rows (n, dim), n >= 1, into `count` islands (default: about the square root of n / 2)."""
    groups, representatives = clusters(vectors, count or max(1, round((len(vectors) / 2) ** 0.5)), seed)
    plane = embed(vectors, seed)
    sizes = np.bincount(groups)
    radii = np.sqrt(sizes / np.pi).astype(np.float32) + 0.5
    middles = np.stack([plane[groups == group].mean(axis=0) for group in range(len(sizes))])
    centres = spread(middles, radii)
    places = np.empty((len(vectors), 2), np.float32)
    for group, centre in enumerate(centres):
        members = np.flatnonzero(groups == group)
        places[members] = centre + fill(disc(len(members)), plane[members])
    return Islands(places, groups, centres, radii, representatives)


def clusters(vectors: Vectors, count: int, seed: int = 0) -> tuple[Ids, Ids]:
    """Spherical k-means: (n,) groups numbered by size, none of them empty, and (k,) the row nearest to each mean."""
    faiss = library()

    count = max(1, min(count, len(vectors)))
    vectors = np.ascontiguousarray(vectors, np.float32)
    means: Any = faiss.Kmeans(
        vectors.shape[1], count, niter=20, nredo=3, spherical=True, seed=seed + 1,
        min_points_per_centroid=1, max_points_per_centroid=TRAINING_POINTS,
    )  # fmt: skip
    means.train(vectors)
    scores, nearest = (column[:, 0] for column in means.index.search(vectors, 1))
    used, groups = np.unique(nearest, return_inverse=True)
    order = np.argsort(-np.bincount(groups), kind="stable")
    ranks = np.empty(len(used), np.int64)
    ranks[order] = np.arange(len(used))
    groups = ranks[groups]
    best = np.lexsort((-scores, groups))
    firsts = np.searchsorted(groups[best], np.arange(len(used)))
    return groups.astype(np.int64), best[firsts].astype(np.int64)


def embed(vectors: Vectors, seed: int = 0) -> Places:
    """Unit rows (n, dim) to points (n, 2) that keep neighbours close: PCA, then attraction and repulsion.

    The forces are those of UMAP (McInnes et al., 2018) with a = b = 1, in whole-array steps: the ends of an edge of the
    neighbour graph attract each other by its weight, and random pairs repel each other.
    """
    places = principal_components(vectors)
    if len(vectors) < 4:
        return places
    a, b, weights = _edges(vectors, min(NEIGHBOURS, len(vectors) - 1))
    rng = np.random.default_rng(seed)
    for epoch in range(EPOCHS):
        rate = 1 - epoch / EPOCHS
        drawn = rng.random(len(a)) < weights
        starts, ends = a[drawn], b[drawn]
        gap = places[starts] - places[ends]
        squares = (gap**2).sum(axis=1, keepdims=True)
        # Half of UMAP's step for each end, since all edges of a point act at the same time here.
        _push(places, starts, ends, -gap / (1 + squares) * rate * 0.5)
        repelled = np.repeat(starts, REPULSIONS)
        others = rng.integers(0, len(places), len(repelled))
        gap = places[repelled] - places[others]
        squares = (gap**2).sum(axis=1, keepdims=True)
        force = np.clip(gap / ((0.001 + squares) * (1 + squares)), -4, 4)
        _push(places, repelled, others, force * rate * 0.25)
    return places


def _push(places: Places, starts: Ids, ends: Ids, step: Places) -> None:
    """Move each start by its step and each end by the opposite; the sum of steps on a point is clipped to 4."""
    for axis in (0, 1):
        count = len(places)
        moved = np.bincount(starts, step[:, axis], count) - np.bincount(ends, step[:, axis], count)
        places[:, axis] += np.clip(moved, -4, 4).astype(np.float32)


def principal_components(vectors: Vectors) -> Places:
    """The two leading principal components scaled to 10, the start that UMAP's forces expect."""
    rng = np.random.default_rng(0)
    sample = vectors if len(vectors) <= 2048 else vectors[rng.choice(len(vectors), 2048, replace=False)]
    mean = sample.mean(axis=0)
    _, left = np.linalg.eigh((sample - mean) @ (sample - mean).T)
    axes = (sample - mean).T @ left[:, ::-1][:, :2]
    axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-12)
    places = np.zeros((len(vectors), 2), np.float32)
    places[:, : axes.shape[1]] = (vectors - mean) @ axes
    # Equal vectors at the same place would never be moved apart.
    places += rng.normal(0, 1e-4, places.shape).astype(np.float32)
    return np.asarray(places * (10 / max(float(np.abs(places).max()), 1e-12)), np.float32)


def _edges(vectors: Vectors, count: int) -> tuple[Ids, Ids, NDArray[np.float64]]:
    """The neighbour graph, each pair once: rows, rows and weights from 0 to 1, as in UMAP."""
    faiss = library()

    vectors = np.ascontiguousarray(vectors, np.float32)
    scores, ids = faiss.knn(vectors, vectors, count + 1, metric=faiss.METRIC_INNER_PRODUCT)
    rows = np.repeat(np.arange(len(vectors)), count + 1)
    columns, distances = ids.ravel().astype(np.int64), 1 - scores.astype(np.float64)
    # The nearest neighbour has weight 1, and the others decrease so that the sum is log2(k), as in UMAP.
    nearest = np.sort(distances, axis=1)[:, 1:2]
    beyond = np.maximum(distances - nearest, 0)
    firm = np.exp(-beyond / _scales(beyond, np.log2(count + 1))).ravel()
    low, high = np.minimum(rows, columns), np.maximum(rows, columns)
    apart = low != high
    pairs, places = np.unique(low[apart] * len(vectors) + high[apart], return_inverse=True)
    # a + b - ab for the two directions of a pair.
    loose = np.exp(np.bincount(places, np.log1p(-np.minimum(firm[apart], 1 - 1e-9))))
    return pairs // len(vectors), pairs % len(vectors), 1 - loose


def _scales(beyond: NDArray[np.float64], total: float) -> NDArray[np.float64]:
    """For each row the width at which the sum of exp(-beyond / width) is `total`, by bisection."""
    low, high = np.full((len(beyond), 1), 1e-6), np.full((len(beyond), 1), 2.0)
    for _ in range(30):
        middle = (low + high) / 2
        # Minus 1, since the row itself is among its neighbours.
        too_wide = np.exp(-beyond / middle).sum(axis=1, keepdims=True) - 1 > total
        low, high = np.where(too_wide, low, middle), np.where(too_wide, middle, high)
    return np.asarray((low + high) / 2)


def spread(middles: Places, radii: NDArray[np.float32], gap: float = 1.0) -> Places:
    """Move discs apart until none overlap, close to their first places; returns whole numbers.

    Together they fill an ellipse with the proportions of a screen.
    """
    shape = np.array([SCREEN**0.5, SCREEN**-0.5])
    area = float((np.pi * (radii + gap) ** 2).sum())
    middles = middles - middles.mean(axis=0)
    extents = np.maximum(np.quantile(np.abs(middles), 0.9, axis=0), 1e-9)
    # Scaled to an ellipse of that area first, so that little movement remains.
    places = np.asarray(middles / extents * np.sqrt(area / np.pi) * shape, np.float64)
    # Two discs at the same place could not be moved apart.
    places += np.random.default_rng(0).normal(0, 1e-3, places.shape)
    need = radii[:, None] + radii[None] + gap + 1
    np.fill_diagonal(need, 0)
    pull = 0.02 / shape**2
    for step in range(SPREAD_STEPS):
        # Attraction to the middle closes gaps; it fades, and the last steps only move discs apart.
        places -= places * pull * max(0.0, 1 - step / (0.8 * SPREAD_STEPS))
        offsets = places[:, None] - places[None]
        distances = np.sqrt((offsets**2).sum(axis=2)) + np.eye(len(places))
        overlaps = np.maximum(need - distances, 0)
        if step >= 0.8 * SPREAD_STEPS and not overlaps.any():
            break
        places += (offsets / np.maximum(distances, 1e-9)[..., None] * overlaps[..., None]).sum(axis=1) * 0.25
    return np.asarray(np.round(places), np.float32)


def disc(count: int) -> Places:
    """The `count` cells nearest to the origin, as a round patch of a grid."""
    reach = int(np.ceil(np.sqrt(count / np.pi))) + 2
    axis = np.arange(-reach, reach + 1)
    cells = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)
    order = np.lexsort((cells[:, 0], cells[:, 1], (cells**2).sum(axis=1)))
    return cells[order[:count]]


def fill(cells: Places, points: Places) -> Places:
    """A cell for every point that keeps left, right, above and below: cells and points are halved in the same way."""
    filled = np.empty_like(cells)
    work = [(np.arange(len(cells)), np.arange(len(points)))]
    while work:
        at_cells, at_points = work.pop()
        if len(at_cells) == 1:
            filled[at_points] = cells[at_cells]
            continue
        axis = int(np.argmax(np.ptp(cells[at_cells], axis=0)))
        at_cells = at_cells[np.lexsort((cells[at_cells, 1 - axis], cells[at_cells, axis]))]
        at_points = at_points[np.argsort(points[at_points, axis], kind="stable")]
        half = len(at_cells) // 2
        work += [(at_cells[:half], at_points[:half]), (at_cells[half:], at_points[half:])]
    return filled
