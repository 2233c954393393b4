"""Labelled vectors to what a learned map gains on groups that it was not learned on, and to the method that gains most.

Nested: the method that is measured on some groups was chosen on the others alone. What a map was learned on is never in
the gallery that it is measured in: a map fits that better than the rest, so held-out images would seem to come together
only because they were not fitted. On pure noise that alone "proved" a gain for four seeds in ten.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders.adaptation import (
    Coordinates,
    Directions,
    Floats,
    Groups,
    Method,
    centre,
    directions,
    methods,
    subspace,
)
from lookalike.types import Vectors

FOLDS, INNER_FOLDS = 5, 3
RESAMPLES = 5000
LEVEL = 95
QUERIES = 100
"""Of a group at most; the positives are all."""
ENOUGH = 50
"""Images that no map is learned from, in whose midst one held-out group can be measured; else two are needed."""


@dataclass(frozen=True)
class Figures:
    """Of each query: average precision (trapezoid, as of Oxford/Paris), and whether the first result is right (1)."""

    ap: Floats
    first: Floats


@dataclass(frozen=True)
class Change:
    """Means over queries before and after, and the `LEVEL` % interval of their difference."""

    before: float
    after: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """After minus before."""
        return self.after - self.before


@dataclass(frozen=True)
class Gain:
    """What maps gained on groups that they were not learned on, how many queries that were, and the method chosen."""

    method: Method
    map: Change
    first: Change
    queries: int

    @property
    def is_proven(self) -> bool:
        """Whether mAP surely rises, the first result does not surely get worse, and there is a map."""
        return self.map.low > 0 and self.first.high >= 0 and self.method.kind != "none"


def gain(data: Coordinates, groups: Groups, seed: int = 0) -> Gain:
    """Learn and measure by cross-validation over groups; `least_groups` says how many there must be."""
    random = np.random.default_rng(seed)
    before, after = _parts(), _parts()
    clusters: list[NDArray[np.int64]] = []
    paired = in_pairs(groups)
    for held_out in folds(data, groups[paired], FOLDS, random):
        is_held = np.isin(groups, held_out)
        chosen = choose(data, groups, paired & ~is_held, random)
        split = Split(paired & ~is_held, is_held | ~paired, queries_of(groups, held_out, random))
        before.append(figures(data, groups, split, Method()))
        after.append(figures(data, groups, split, chosen))
        clusters.append(groups[split.queries])
    of_queries = np.concatenate(clusters)
    return Gain(
        choose(data, groups, paired, random),
        _change(_joined(before, "ap"), _joined(after, "ap"), of_queries, seed),
        _change(_joined(before, "first"), _joined(after, "first"), of_queries, seed),
        len(of_queries),
    )


@dataclass(frozen=True)
class Split:
    """Which labelled vectors (n,) a map is learned from, which may be found, and the places of the queries."""

    train: NDArray[np.bool_]
    gallery: NDArray[np.bool_]
    queries: NDArray[np.int64]


def in_pairs(groups: Groups) -> NDArray[np.bool_]:
    """Which vectors are in a group of two or more; the others are wrong results for all, and teach nothing."""
    numbers, counts = np.unique(groups, return_counts=True)
    return np.isin(groups, numbers[counts > 1])


def least_groups(distractors: int) -> int:
    """Groups of two or more that are needed beside so many images that no map is learned from.

    Fewer that all gain may do so by chance once in sixteen times. Without distractors two are held out at a time, in
    three parts.
    """
    return 5 if distractors >= ENOUGH else 6


def _parts() -> list[Figures]:
    return []


def _joined(parts: Sequence[Figures], name: str) -> Floats:
    return np.concatenate([getattr(part, name) for part in parts])


def _change(before: Floats, after: Floats, clusters: Groups, seed: int) -> Change:
    return Change(float(before.mean()), float(after.mean()), *cluster_interval(after - before, clusters, seed))


def folds(data: Coordinates, groups: Groups, count: int, random: np.random.Generator) -> list[NDArray[np.int64]]:
    """Group numbers in `count` parts, or in fewer: of one group at least, without `ENOUGH` distractors of two."""
    numbers = random.permutation(np.unique(groups))
    least = 1 if len(data.background) >= ENOUGH else 2
    return list(np.array_split(numbers, max(2, min(count, len(numbers) // least))))


def queries_of(groups: Groups, held_out: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Places of the images of some groups, at most `QUERIES` of each, in order."""
    places = [np.flatnonzero(groups == number) for number in held_out]
    return np.concatenate([np.sort(random.permutation(place)[:QUERIES]) for place in places])


def choose(data: Coordinates, groups: Groups, among: NDArray[np.bool_], random: np.random.Generator) -> Method:
    """The method of the best mAP on held-out groups of those `among`; the first of equals, which is the simplest."""
    listed = list(methods(*_sizes(groups[among]), data.dim))
    totals = np.zeros(len(listed))
    for held_out in folds(data, groups[among], INNER_FOLDS, random):
        is_held = np.isin(groups, held_out)
        split = Split(among & ~is_held, is_held | ~in_pairs(groups), queries_of(groups, held_out, random))
        totals += [part.ap.sum() for part in _each(data, groups, split, listed)]
    return listed[int(np.argmax(totals))]


def _sizes(groups: Groups) -> tuple[int, int]:
    counts = np.unique(groups, return_counts=True)[1]
    # What the smallest training part of the inner folds may have.
    return int((counts > 1).sum() * (INNER_FOLDS - 1) // INNER_FOLDS), len(groups) * (INNER_FOLDS - 1) // INNER_FOLDS


def figures(data: Coordinates, groups: Groups, split: Split, method: Method) -> Figures:
    """The figures of a map that `method` learns from a part of the labelled vectors."""
    return next(_each(data, groups, split, [method]))


def _each(data: Coordinates, groups: Groups, split: Split, listed: Sequence[Method]) -> Iterator[Figures]:
    """The figures of each method; the eigenvectors, and what all are in these, are computed once."""
    learned = directions(data.labelled[split.train], groups[split.train], data.dim)
    turned = Turned.of(data, learned)
    for method in listed:
        rows, others = turned.mapped(groups, split.train, method)
        yield score(rows, others, groups, split)


@dataclass(frozen=True)
class Turned:
    """Vectors in the eigenvectors of a covariance, where every map is a scale for each number; cosines stay."""

    labelled: Floats
    background: Floats
    mean: Floats
    learned: Directions

    @classmethod
    def of(cls, data: Coordinates, learned: Directions) -> "Turned":
        """Turn all by the eigenvectors."""
        turn = learned.vectors
        return cls(data.labelled @ turn, data.background @ turn, data.mean @ turn, learned)

    def mapped(self, groups: Groups, train: NDArray[np.bool_], method: Method) -> tuple[Vectors, Vectors]:
        """Labelled and background vectors as unit rows of the map that `method` learns from those of `train`."""
        if method.kind == "none":
            return unit(self.labelled), unit(self.background)
        mean = centre(self.labelled[train], groups[train], method, self.mean)
        scales = self.learned.scales(method.shrinkage)
        rows, others = (self.labelled - mean) * scales, (self.background - mean) * scales
        kept = subspace(rows[train], groups[train], method)
        return (unit(rows), unit(others)) if kept is None else (unit(rows @ kept), unit(others @ kept))


def unit(rows: Floats) -> Vectors:
    """Rows of length 1; a row of zeros stays."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)


def score(rows: Vectors, others: Vectors, groups: Groups, split: Split) -> Figures:
    """Figures of the queries, whose positives are the other rows of their group, in the gallery and `others`.

    A wrong image with the score of a right one comes first.
    """
    queries, among = split.queries, split.gallery
    ap, first = np.zeros(len(queries)), np.zeros(len(queries))
    for number in np.unique(groups[queries]):
        same, at = groups == number, np.flatnonzero(groups[queries] == number)
        examples = rows[queries[at]]
        wrong = np.sort(np.hstack([examples @ rows[among & ~same].T, examples @ others.T]), axis=1)
        places = np.flatnonzero(among & same)
        right = examples @ rows[places].T
        # A query is no result of its own; it comes last, and is cut off.
        right[places == queries[at][:, None]] = -np.inf
        right = -np.sort(-right, axis=1)[:, :-1]
        above = [wrong.shape[1] - np.searchsorted(*pair) for pair in zip(wrong, right, strict=True)]
        ap[at], first[at] = average_precision(np.array(above))
    return Figures(ap, first)


def average_precision(above: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
    """(average precision, first result is right) by the wrong results before each right one (queries, positives)."""
    hits = np.arange(above.shape[1])
    ranks = hits + above
    after, before = (hits + 1) / (ranks + 1), np.where(ranks == 0, 1.0, hits / np.maximum(ranks, 1))
    return ((before + after) / 2).mean(axis=1), ranks[:, 0] == 0


def cluster_interval(differences: Floats, clusters: Groups, seed: int = 0) -> tuple[float, float]:
    """The middle `LEVEL` % of the mean of paired differences (n,) over resampled clusters and queries in each.

    Queries of a group are alike: resampling them alone would take their number for more evidence than they are. Of n
    groups n - 1 are drawn (Rao & Wu, JASA 1988: n would give a variance that is too small by that share), and of each
    drawn group as many queries as it has.
    """
    random = np.random.default_rng(seed)
    numbers, sizes = np.unique(clusters, return_counts=True)
    ordered = differences[np.argsort(clusters, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    sums, counts = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    for _ in range(max(1, len(numbers) - 1)):
        drawn = random.integers(0, len(numbers), RESAMPLES)
        places = (random.random((RESAMPLES, int(sizes.max()))) * sizes[drawn, None]).astype(np.int64)
        is_drawn = np.arange(sizes.max()) < sizes[drawn, None]
        sums += (ordered[starts[drawn, None] + places] * is_drawn).sum(axis=1)
        counts += sizes[drawn]
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(sums / counts, [tail, 100 - tail])
    return float(low), float(high)
