from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookalike.errors import QueryError
from lookalike.index.components import Forest, components
from lookalike.index.self_join import Star, near_pairs, stars
from lookalike.types import Ids, Vectors


def at_angles(*degrees: float) -> Callable[[Ids], Vectors]:
    """Unit vectors in the plane: cosines can be worked out by hand."""
    radians = np.radians(degrees)
    vectors = np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)
    return lambda ids: vectors[ids]


def members(groups: list[Star]) -> list[list[int]]:
    return sorted(sorted([star.centre, *star.members.tolist()]) for star in groups)


def test_rows_within_the_threshold_are_one_group() -> None:
    # cos 10 degrees = 0.985, cos 20 degrees = 0.940
    groups = stars(at_angles(0, 10, 90, 100, 180), 5, 0.98)
    assert members(groups) == [[0, 1], [2, 3]]
    assert groups[0].scores.tolist() == pytest.approx([0.98481], abs=1e-5)


def test_a_chain_of_neighbours_is_no_group_of_strangers() -> None:
    groups = stars(at_angles(0, 10, 20, 30, 40), 5, 0.98)
    for star in groups:
        assert star.scores.min() >= 0.98
    # Of a chain of five the middle ones have two neighbours each, so three are taken first and two are left.
    assert sorted(len(group) for group in members(groups)) == [2, 3]


def test_the_centre_is_the_row_with_the_most_neighbours() -> None:
    (star,) = stars(at_angles(0, 8, -8), 3, 0.99)
    assert star.centre == 0
    assert sorted(star.members.tolist()) == [1, 2]


def test_members_come_best_first() -> None:
    (star,) = stars(at_angles(0, 8, -4, 2), 4, 0.98)
    assert star.scores.tolist() == sorted(star.scores.tolist(), reverse=True)


def test_only_pairs_between_the_two_sides_count() -> None:
    # Rows 0 and 1 are on the first side, 2 is on the second, 3 on both.
    sides = np.array([1, 1, 2, 3], np.uint8)
    assert members(stars(at_angles(0, 1, 90, 180), 4, 0.99, sides)) == []
    assert members(stars(at_angles(0, 90, 1, 91), 4, 0.99, sides)) == [[0, 2], [1, 3]]


def test_nothing_is_found_among_fewer_than_two_rows() -> None:
    assert stars(at_angles(), 0, 0.9) == []
    assert stars(at_angles(0), 1, 0.9) == []


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01, float("nan")])
def test_a_threshold_that_is_no_cosine_is_refused(threshold: float) -> None:
    with pytest.raises(QueryError, match="threshold"):
        stars(at_angles(0, 1), 2, threshold)


def test_equal_rows_reach_a_threshold_of_one() -> None:
    rows = np.random.default_rng(0).standard_normal((6, 300)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[4] = rows[1]
    assert members(stars(lambda ids: rows[ids], 6, 1.0)) == [[1, 4]]


def planted(seed: int, count: int, dim: int, decay: float) -> NDArray[np.float32]:
    """Random rows with a falling spectrum; every tenth has a neighbour at a cosine of some 0.97 to 1."""
    rng = np.random.default_rng(seed)
    deviations = np.arange(1, dim + 1) ** -decay
    rows = rng.standard_normal((count, dim)) * deviations
    near = rng.choice(count, (2, count // 10))
    noise = rng.standard_normal((count // 10, dim)) * deviations
    noise *= rng.uniform(0, 0.25, (count // 10, 1)) / np.linalg.norm(noise, axis=1, keepdims=True)
    rows[near[0]] = rows[near[1]] + noise * np.linalg.norm(rows[near[1]], axis=1, keepdims=True)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 999), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.5, 0.9, 0.98]), st.sampled_from([7, 64])
)
def test_the_blocks_and_bounds_find_the_very_pairs_that_brute_force_does(
    seed: int, decay: float, threshold: float, block: int
) -> None:
    rows = planted(seed, 150, 96, decay)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lookalike.index.self_join.BLOCK", block)
        blocks = near_pairs(lambda ids: rows[ids], len(rows), threshold, np.full(len(rows), 3, np.uint8), None)
        pairs = sorted((int(a), int(b)) for rows_a, rows_b, _ in blocks for a, b in zip(rows_a, rows_b, strict=True))
    scores = np.triu(rows.astype(np.float64) @ rows.T.astype(np.float64), 1)
    # Pairs within a rounding error of the threshold may go either way.
    assert {(int(a), int(b)) for a, b in np.argwhere(scores >= threshold + 1e-5)} <= set(pairs)
    assert set(pairs) <= {(int(a), int(b)) for a, b in np.argwhere(scores >= threshold - 1e-5)}
    assert len(pairs) == len(set(pairs))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.sampled_from([0.3, 0.6, 0.9]))
def test_every_group_keeps_the_promise_and_no_row_is_in_two(seed: int, threshold: float) -> None:
    rows = planted(seed, 120, 8, 1.0)
    groups = stars(lambda ids: rows[ids], len(rows), threshold)
    seen = [row for group in members(groups) for row in group]
    assert len(seen) == len(set(seen))
    for star in groups:
        assert (rows[star.members] @ rows[star.centre]).min() >= threshold - 1e-5
    # What is left has no neighbour among what is left.
    left = np.setdiff1d(np.arange(len(rows)), seen)
    assert np.triu(rows[left] @ rows[left].T, 1).max(initial=0) < threshold + 1e-5


@pytest.mark.parametrize(("count", "dim", "side"), [(300, 16, 16), (40, 200, 40)])
def test_the_basis_comes_from_the_smaller_of_the_two_products(
    count: int, dim: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = planted(0, count, dim, 1.0)
    shapes: list[tuple[int, ...]] = []
    decompose = np.linalg.eigh

    def noted(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        shapes.append(matrix.shape)
        return decompose(matrix)

    monkeypatch.setattr(np.linalg, "eigh", noted)
    stars(lambda ids: rows[ids], count, 0.9)
    assert shapes == [(side, side)]


def test_rows_hang_together_through_others() -> None:
    forest = Forest(7)
    forest.join(np.array([0, 3, 5]), np.array([1, 4, 4]))
    forest.join(np.array([1]), np.array([2]))
    assert forest.roots(np.arange(7)).tolist() == [0, 0, 0, 3, 3, 3, 6]
    assert [tree.tolist() for tree in forest.trees(np.array([1, 2, 5, 3]))] == [[1, 2], [5, 3]]


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int | None]] = []
    stars(at_angles(*range(30)), 30, 0.99, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (1, 1)


def test_names_that_share_a_group_directly_or_through_others_are_one_component() -> None:
    assert components([(4, 7), (9,), (7, 4), (5, 9, 1), (7, 2)]) == {4: 0, 7: 0, 9: 2, 5: 2, 1: 2, 2: 0}
    assert components([]) == {}
