"""Vectors of labelled images to a linear map that brings images of the same thing together, and to what it is worth.

Mikolajczyk & Matas, "Improving descriptors for fast tree matching by optimal linear projection", ICCV 2007; Radenović,
Tolias & Chum, TPAMI 2019 ("learned whitening"): directions in which images of the same thing differ count less.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lookalike.encoders.whitening import Whitening
from lookalike.errors import QueryError
from lookalike.types import Vectors

FILE = "adaptation.safetensors"
Kind = Literal["none", "within", "low-rank", "discriminant"]
Centre = Literal["labels", "collection"]
Groups = NDArray[np.int64]
"""(n,) the number of the group of each labelled vector."""
Floats = NDArray[np.float64]
CENTRES: tuple[Centre, ...] = ("labels", "collection")
SHRINKAGES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
OF_SUBSPACES = (0.5, 0.9)
"""The shrinkages that are tried where directions are left out as well, which rarely wins."""
RANK = 128
FEW_GROUPS = 12
"""Fewer groups span too few directions for a discriminant map."""


@dataclass(frozen=True)
class Method:
    """How a map is learned. `none` leaves vectors as they are.

    `within` whitens by the covariance within groups, which `shrinkage` moves towards a multiple of the identity: at 1
    only the mean is taken off. `low-rank` then keeps the `rank` directions in which labelled vectors vary most,
    `discriminant` those in which the means of groups do. `centre` says whose mean is taken off.
    """

    kind: Kind = "none"
    centre: Centre = "labels"
    shrinkage: float = 1.0
    rank: int | None = None

    def __str__(self) -> str:
        if self.kind == "none":
            return "none"
        rank = f", {self.rank} directions" if self.rank else ""
        return f"{self.kind}, shrinkage {self.shrinkage:g}, centred on {self.centre}{rank}"


@dataclass(frozen=True)
class LearnedMap:
    """A map, and the fingerprint of the vectors that it was learned on."""

    map: Whitening
    source: str


@dataclass(frozen=True)
class Directions:
    """The eigenvectors (dim, dim) and eigenvalues of a covariance within groups, and the mean eigenvalue."""

    vectors: Floats
    variances: Floats
    mean: float

    def scales(self, shrinkage: float) -> Floats:
        """What each direction is multiplied by; the largest is 1, as a common scale has no effect on unit rows."""
        shrunk = (1 - shrinkage) * self.variances + shrinkage * self.mean
        return np.asarray(np.sqrt(shrunk.min() / shrunk))


def methods(groups: int, images: int, dim: int) -> Iterator[Method]:
    """What is tried for a number of groups and images."""
    yield Method()
    for centre in CENTRES:
        for shrinkage in SHRINKAGES:
            yield Method("within", centre, shrinkage)
    for shrinkage in OF_SUBSPACES:
        if min(images - 1, dim) > RANK:
            yield Method("low-rank", "labels", shrinkage, RANK)
        if FEW_GROUPS <= groups <= dim:
            yield Method("discriminant", "labels", shrinkage, groups - 1)


def within_covariance(vectors: NDArray[np.floating], groups: Groups) -> Floats:
    """(dim, dim): the mean of (x - mean of its group)(x - mean of its group)^T, over groups of two or more."""
    rows = np.asarray(vectors, np.float64)
    deviations = rows - group_means(rows, groups)[np.unique(groups, return_inverse=True)[1]]
    counts = np.unique(groups, return_counts=True)[1]
    paired = int(counts[counts > 1].sum())
    return np.asarray(deviations.T @ deviations / max(paired, 1))


def group_means(rows: Floats, groups: Groups) -> Floats:
    """(groups, dim), in the order of the groups' numbers."""
    _, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, places, rows)
    return sums / counts[:, None]


def directions(vectors: NDArray[np.floating], groups: Groups, dim: int | None = None) -> Directions:
    """The eigenvectors of the covariance within groups; `dim` is the dimension that the mean variance is taken over."""
    covariance = within_covariance(vectors, groups)
    variances, eigenvectors = np.linalg.eigh(covariance)
    mean = float(np.trace(covariance)) / (dim or len(covariance))
    if mean <= 1e-12:
        raise QueryError("adapt: the images of each group have the same vector; label different pictures of a thing")
    return Directions(eigenvectors, np.maximum(variances, 0), mean)


def fit(vectors: NDArray[np.floating], groups: Groups, method: Method, background: Floats) -> Whitening:
    """The map that `method` learns from labelled (n, dim) unit rows; `background` (dim,) is the collection's mean."""
    axes = directions(vectors, groups)
    rows = np.asarray(vectors, np.float64)
    mean = centre(rows, groups, method, background)
    scaled = axes.vectors * axes.scales(method.shrinkage)
    kept = subspace((rows - mean) @ scaled, groups, method)
    projection = scaled if kept is None else scaled @ kept
    return Whitening(mean.astype(np.float32), np.ascontiguousarray(projection, np.float32))


def centre(rows: Floats, groups: Groups, method: Method, background: Floats) -> Floats:
    """The mean (dim,) that is taken off: of the collection, or of the labelled vectors, each group counting once."""
    return background if method.centre == "collection" else group_means(rows, groups).mean(axis=0)


def subspace(whitened: Floats, groups: Groups, method: Method) -> Floats | None:
    """(dim, rank) orthonormal directions that are kept of whitened labelled rows; None where all are."""
    if method.rank is None:
        return None
    rows = group_means(whitened, groups) if method.kind == "discriminant" else whitened
    _, _, right = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return np.asarray(right[: method.rank].T)


@dataclass(frozen=True)
class Coordinates:
    """Labelled vectors and a background (further vectors that may be found) in as few numbers as their cosines need.

    Off the span of the labelled vectors every map is a multiple of the identity, so the distance of a vector from it is
    one number. `dim` is the number of them that the vectors had.
    """

    labelled: Floats
    background: Floats
    mean: Floats
    dim: int


def coordinates(labelled: Vectors, background: Vectors, mean: Floats) -> Coordinates:
    """Exact for maps that `fit` learns from some of the labelled vectors, and for cosines to labelled vectors."""
    rows, others = np.asarray(labelled, np.float64), np.asarray(background, np.float64)
    dim = rows.shape[1]
    if len(rows) + 2 >= dim:
        return Coordinates(rows, others, mean, dim)
    # The mean too lies in the span then.
    basis = np.linalg.qr(np.vstack([rows, mean]).T)[0]
    projected = others @ basis
    rest = np.sqrt(np.maximum((others * others).sum(axis=1) - (projected * projected).sum(axis=1), 0))
    return Coordinates(_with(rows @ basis, 0.0), _with(projected, rest), np.append(mean @ basis, 0.0), dim)


def _with(rows: Floats, last: Floats | float) -> Floats:
    return np.hstack([rows, np.broadcast_to(np.asarray(last, np.float64).reshape(-1, 1), (len(rows), 1))])
