"""Vectors to groups of rows that look alike, in bounded memory however many rows there are.

Every pair of rows is decided exactly, but most are ruled out at a fraction of the cost of a dot product: with an
orthonormal basis P and the residual R of a vector, cos(a, b) <= Pa.Pb + |Ra||Rb|, so a pair is skipped where the right
side stays below the threshold. Pairs are kept in memory for one block only.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import QueryError
from lookalike.index.components import Forest
from lookalike.types import Ids, Progress, Scores, Vectors

ReadRows = Callable[[Ids], Vectors]
"""Positions, counted from 0, to their unit rows."""

# Two blocks of scores, their mask and the pairs in them stay under 100 MB.
BLOCK = 2048
PAIRS_AT_ONCE = 1 << 18
ELEMENTS_AT_ONCE = 1 << 22
SAMPLE = 2048
SKETCHES = (32, 64, 128, 256)
# The rounding error of float32 in a dot product of unit rows, and a far larger margin for a bound.
ROUNDING = 1e-6
BOUND_ROUNDING = 1e-5
# In multiplications: the cost of a pair beside its dot product, and the factor for rows that are gathered one by one.
PAIR_COST = 24
GATHER_COST = 40


@dataclass(frozen=True)
class Star:
    """A `centre` and the `members` within the threshold of it (best first, the centre not among them)."""

    centre: int
    members: Ids
    scores: Scores


def stars(
    read: ReadRows,
    count: int,
    threshold: float,
    sides: NDArray[np.uint8] | None = None,
    progress: Progress | None = None,
) -> list[Star]:
    """Groups of the `count` rows of `read` in which every member has at least the cosine `threshold` to the centre.

    No row is in two groups. Rows become centres in the order of the number of their neighbours, ties by the sum of the
    cosines; a centre takes the neighbours that no other centre has taken. This prevents chaining: where only neighbours
    in a chain look alike, its ends are not called duplicates. `sides` (count,) holds 1, 2 or 3 (both) for each row, and
    only pairs that have both sides between them count; sorted sides are compared fastest. Memory grows with `count` by
    about 0.3 kB a row. Raises QueryError for a threshold that is no cosine above 0.
    """
    if not 0 < threshold <= 1:
        raise QueryError(f"a threshold is a cosine above 0 and at most 1, not {threshold:g}")
    if count < 2:
        return []
    sides = np.full(count, 3, np.uint8) if sides is None else sides
    forest, degrees, totals = Forest(count), np.zeros(count, np.int64), np.zeros(count, np.float64)
    for a, b, scores in near_pairs(read, count, threshold, sides, progress):
        forest.join(a, b)
        for ends in (a, b):
            np.add.at(degrees, ends, 1)
            np.add.at(totals, ends, scores)
    groups: list[Star] = []
    for rows in forest.trees(np.flatnonzero(degrees)):
        order = np.lexsort((rows, -totals[rows], -degrees[rows]))
        groups += _split(read, rows[order], threshold, sides)
    return groups


def _split(read: ReadRows, rows: Ids, threshold: float, sides: NDArray[np.uint8]) -> Iterator[Star]:
    """Stars of one component; `rows` come in the order in which they become centres."""
    while len(rows) > 1:
        centre, rest = rows[0], rows[1:]
        vector = read(rows[:1])[0]
        blocks = [read(rest[at : at + BLOCK]) @ vector for at in range(0, len(rest), BLOCK)]
        scores = np.asarray(np.clip(np.concatenate(blocks), -1, 1), np.float32)
        near = (scores >= threshold - ROUNDING) & ((sides[rest] | sides[centre]) == 3)
        if near.any():
            best = np.argsort(-scores[near], kind="stable")
            yield Star(int(centre), rest[near][best], scores[near][best])
        rows = rest[~near]


def near_pairs(
    read: ReadRows, count: int, threshold: float, sides: NDArray[np.uint8], progress: Progress | None
) -> Iterator[tuple[Ids, Ids, Scores]]:
    """All pairs at or above the threshold with both sides between them, block by block."""
    sketches = _sketches(read, count, threshold)
    starts = range(0, count, BLOCK)
    reach = [np.bitwise_or.reduce(sides[start : start + BLOCK]) for start in starts]
    jobs = [(i, j) for i in range(len(starts)) for j in range(i, len(starts)) if reach[i] | reach[j] == 3]
    for done, (i, j) in enumerate(jobs):
        a, b = _near(sketches, starts[i], starts[j], threshold)
        between = (sides[a] | sides[b]) == 3
        a, b = a[between], b[between]
        for part, scores in _scores(read, a, b):
            kept = scores >= threshold - ROUNDING
            if kept.any():
                yield a[part][kept], b[part][kept], scores[kept]
        if progress:
            progress(done + 1, len(jobs))


def _near(sketches: NDArray[np.float32], i: int, j: int, threshold: float) -> tuple[Ids, Ids]:
    """Pairs of the blocks that begin at `i` and `j` whose bound reaches the threshold, each pair once."""
    bounds = sketches[i : i + BLOCK] @ sketches[j : j + BLOCK].T
    places = np.flatnonzero(bounds >= threshold - BOUND_ROUNDING)
    a, b = np.divmod(places, bounds.shape[1])
    if i == j:
        above = a < b
        a, b = a[above], b[above]
    return a + i, b + j


def _scores(read: ReadRows, a: Ids, b: Ids) -> Iterator[tuple[slice, Scores]]:
    """The cosines of the pairs (a, b) of two blocks, a slice of them at a time."""
    if not len(a):
        return
    whole = None
    rows_a, places_a = np.unique(a, return_inverse=True)
    rows_b, places_b = np.unique(b, return_inverse=True)
    left, right = read(rows_a), read(rows_b)
    if len(a) * GATHER_COST > len(rows_a) * len(rows_b):
        whole = left @ right.T
    at_once = PAIRS_AT_ONCE if whole is not None else max(1, ELEMENTS_AT_ONCE // left.shape[1])
    for at in range(0, len(a), at_once):
        part = slice(at, at + at_once)
        if whole is not None:
            yield part, whole[places_a[part], places_b[part]]
        else:
            yield part, np.einsum("ij,ij->i", left[places_a[part]], right[places_b[part]])


def _sketches(read: ReadRows, count: int, threshold: float) -> NDArray[np.float32]:
    """(count, d) rows whose dot products are upper bounds of the cosines."""
    basis = _basis(read, count, threshold)
    sketches = np.empty((count, basis.shape[1] + 1), np.float32)
    for start in range(0, count, BLOCK):
        rows = read(np.arange(start, min(start + BLOCK, count)))
        sketches[start : start + len(rows)] = _sketch(rows, basis)
    return sketches


def _sketch(rows: Vectors, basis: NDArray[np.float32]) -> NDArray[np.float32]:
    inside = rows @ basis
    # Not from 1 - |Pa|^2, which cancels where the residual is small.
    left = np.linalg.norm(rows - inside @ basis.T, axis=1, keepdims=True)
    return np.concatenate([inside, left], axis=1)


def _basis(read: ReadRows, count: int, threshold: float) -> NDArray[np.float32]:
    """The leading principal directions (dim, d) of a sample; d makes the whole comparison cheapest."""
    rng = np.random.default_rng(0)
    sample = read(np.sort(rng.choice(count, min(count, SAMPLE), replace=False)))
    dim = sample.shape[1]
    directions = _principal(sample)
    rank = directions.shape[1]
    best, lowest = min(rank, SKETCHES[-1]), float(dim * GATHER_COST)
    # The pairs of every fourth row with the rest show the share that passes; all pairs of the sample would take as long
    # as a whole small collection.
    few = np.arange(len(sample)) % 4 == 0
    for size in (size for size in SKETCHES if size <= rank):
        sketch = _sketch(sample, directions[:, :size])
        passed = float(np.mean(sketch[few] @ sketch[~few].T >= threshold))
        cost = size + PAIR_COST + passed * dim * GATHER_COST
        if cost < lowest:
            best, lowest = size, cost
    return np.ascontiguousarray(directions[:, :best])


def _principal(sample: Vectors) -> NDArray[np.float32]:
    """At most `SKETCHES[-1]` orthonormal directions (dim, rank), those of the largest part of the sample first."""
    is_tall = len(sample) > sample.shape[1]
    # The smaller of the two products has the same eigenvalues: descriptors have from 177 to 16,384 dimensions.
    product = sample.T @ sample if is_tall else sample @ sample.T
    values, vectors = np.linalg.eigh(product.astype(np.float64))
    rank = min(int((values > values[-1] * 1e-6).sum()), SKETCHES[-1])
    leading = vectors[:, ::-1][:, :rank].astype(np.float32)
    return np.linalg.qr(leading if is_tall else sample.T @ leading)[0].astype(np.float32)
