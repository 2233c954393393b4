"""What labels teach: the covariance within groups, its whitening, and cosines in fewer numbers."""

import numpy as np
import pytest

from lookalike.encoders.adaptation import (
    Method,
    centre,
    coordinates,
    directions,
    fit,
    methods,
    subspace,
    within_covariance,
)
from lookalike.errors import QueryError
from lookalike.types import Vectors

GROUPS = np.repeat(np.arange(6), 5)
WITHIN = Method("within", "labels", 0.4)


def unit(rows: np.ndarray) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def made(count: int = 30, dim: int = 12, seed: int = 0) -> Vectors:
    return unit(np.random.default_rng(seed).standard_normal((count, dim)))


def test_the_covariance_within_groups_is_worked_by_hand() -> None:
    rows = np.array([[0.0, 0], [2, 0], [5, 1], [5, 5], [9, 9]])
    # Deviations (-1, 0), (1, 0), (0, -2), (0, 2) of four vectors; the fifth is alone.
    assert within_covariance(rows, np.array([0, 0, 1, 1, 2])).tolist() == [[0.5, 0], [0, 2]]


def plain_whitening(rows: np.ndarray, groups: np.ndarray, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean, and the inverse square root of the shrunk covariance: pair by pair, and by another decomposition."""
    dim = rows.shape[1]
    covariance, images = np.zeros((dim, dim)), 0
    for number in np.unique(groups):
        members = rows[groups == number].astype(np.float64)
        for a in members:
            for b in members:
                # Over all pairs of n, half the outer products of the differences are n times the scatter.
                covariance += np.outer(a - b, a - b) / (2 * len(members))
        images += len(members)
    covariance /= images
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / dim * np.eye(dim)
    factor = np.linalg.cholesky(np.linalg.inv(shrunk))
    means = np.array([rows[groups == number].astype(np.float64).mean(axis=0) for number in np.unique(groups)])
    return means.mean(axis=0), factor


@pytest.mark.parametrize("shrinkage", [0.1, 0.5, 0.9])
def test_the_map_is_the_whitening_by_the_covariance_within_groups(shrinkage: float) -> None:
    rows, others = made(), made(40, seed=1)
    learned = fit(rows, GROUPS, Method("within", "labels", shrinkage), rows.mean(axis=0, dtype=np.float64))
    mean, factor = plain_whitening(rows, GROUPS, shrinkage)
    expected = (others - mean) @ factor
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    mapped = learned.apply(others)
    # Two square roots of one matrix differ by a rotation, which cosines do not see.
    assert np.abs(mapped @ mapped.T - expected @ expected.T).max() < 1e-6


def test_with_full_shrinkage_only_the_mean_is_taken_off() -> None:
    rows = made()
    learned = fit(rows, GROUPS, Method("within", "collection", 1.0), np.full(12, 0.1))
    centred = unit(rows - np.float32(0.1))
    mapped = learned.apply(rows)
    assert np.abs(mapped @ mapped.T - centred @ centred.T).max() < 1e-6


@pytest.mark.parametrize(
    "method",
    [WITHIN, Method("within", "collection", 0.8), Method("low-rank", "labels", 0.5, 6)],
    ids=str,
)
def test_fewer_coordinates_give_the_cosines_of_the_full_map(method: Method) -> None:
    """30 labelled vectors of 100 numbers span 30 directions, and the mean one more."""
    labelled, others = made(30, 100), made(50, 100, seed=1)
    mean = others.mean(axis=0, dtype=np.float64)
    learned = fit(labelled, GROUPS, method, mean)
    expected = learned.apply(labelled) @ learned.apply(others).T
    fewer = coordinates(labelled, others, mean)
    assert fewer.labelled.shape == (30, 32)
    # `fit` would take the mean variance over 32 numbers; there are 100.
    axes = directions(fewer.labelled, GROUPS, fewer.dim)
    scaled, middle = axes.vectors * axes.scales(method.shrinkage), centre(fewer.labelled, GROUPS, method, fewer.mean)
    rows, background = (fewer.labelled - middle) @ scaled, (fewer.background - middle) @ scaled
    kept = subspace(rows, GROUPS, method)
    if kept is not None:
        rows, background = rows @ kept, background @ kept
    assert np.abs(unit(rows) @ unit(background).T - expected).max() < 1e-6


def test_a_discriminant_keeps_the_directions_in_which_groups_differ() -> None:
    learned = fit(made(), GROUPS, Method("discriminant", "labels", 0.5, 5), np.zeros(12))
    assert (learned.dim_in, learned.dim) == (12, 5)


def test_groups_of_one_vector_each_teach_nothing_and_are_refused() -> None:
    with pytest.raises(QueryError, match="the images of each group have the same vector"):
        fit(made(), np.arange(30), WITHIN, np.zeros(12))


def test_few_groups_are_not_tried_with_a_discriminant_nor_few_images_with_a_low_rank() -> None:
    kinds = {method.kind for method in methods(5, 40, 512)}
    assert kinds == {"none", "within"}
    assert {method.kind for method in methods(20, 400, 512)} == {"none", "within", "low-rank", "discriminant"}
