import numpy as np
import pytest

from lookalike.analysis.projection import Places, clusters, disc, embed, fill, islands, principal_components, spread
from lookalike.types import Ids, Vectors


def bundles(groups: int, each: int, dim: int = 32, seed: int = 0, spread: float = 0.3) -> tuple[Vectors, Ids]:
    """Unit rows tightly around `groups` random directions, and which."""
    rng = np.random.default_rng(seed)
    middles = rng.standard_normal((groups, dim))
    rows = np.repeat(middles, each, axis=0) + rng.standard_normal((groups * each, dim)) * spread
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), np.repeat(np.arange(groups), each)


def test_clusters_are_the_bundles_and_their_representatives_the_middle_ones() -> None:
    vectors, true = bundles(4, 25)
    groups, representatives = clusters(vectors, 4)
    assert len(np.unique(groups * 10 + true)) == 4
    for group, representative in enumerate(representatives):
        members = np.flatnonzero(groups == group)
        mean = vectors[members].mean(axis=0)
        assert representative == members[np.argmax(vectors[members] @ mean)]


def test_clusters_are_numbered_by_size_and_none_is_empty() -> None:
    # Three different pictures cannot make five groups.
    vectors = np.eye(3, 4, dtype=np.float32)[[0, 1, 1, 1, 2, 2]]
    groups, representatives = clusters(vectors, 5)
    assert np.bincount(groups).tolist() == sorted(np.bincount(groups).tolist(), reverse=True)
    assert len(representatives) == groups.max() + 1
    assert (groups[representatives] == np.arange(len(representatives))).all()


def test_the_plane_keeps_more_neighbours_than_principal_components_do() -> None:
    vectors, true = bundles(30, 12, spread=0.6)

    def kept_neighbours(places: Places) -> float:
        apart = np.linalg.norm(places[:, None] - places[None], axis=2)
        nearest = np.argsort(apart, axis=1)[:, 1:6]
        return float((true[nearest] == true[:, None]).mean())

    assert kept_neighbours(embed(vectors)) > 0.95 > kept_neighbours(principal_components(vectors))


def test_the_plane_is_the_same_every_time() -> None:
    vectors, _ = bundles(3, 10)
    assert (embed(vectors) == embed(vectors)).all()


def test_equal_vectors_do_not_end_in_numbers_that_are_none() -> None:
    assert np.isfinite(embed(np.full((50, 4), 0.5, np.float32))).all()


def test_discs_are_moved_apart_and_keep_their_order() -> None:
    middles = np.array([[0, 0], [0.1, 0], [0.2, 0.05]], np.float32)
    radii = np.array([3, 2, 4], np.float32)
    places = spread(middles, radii)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    # Rounding to whole cells may take 0.71 of the gap of 1 that is left beyond touching cells.
    assert apart[0, 1] >= 5
    assert apart[1, 2] >= 6
    assert places[0, 0] < places[1, 0] < places[2, 0]


def test_discs_in_one_place_are_moved_apart_as_well() -> None:
    places = spread(np.zeros((5, 2), np.float32), np.full(5, 2, np.float32))
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(5) * 99
    assert apart.min() >= 4


def test_a_disc_is_the_cells_around_the_middle() -> None:
    assert sorted(map(tuple, disc(5).tolist())) == [(-1, 0), (0, -1), (0, 0), (0, 1), (1, 0)]


def test_points_keep_their_sides_in_the_grid() -> None:
    cells = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    points = np.array([[9, 8], [-5, 7], [8, -3], [-6, -4]], np.float32)
    assert fill(cells, points).tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
def test_every_image_has_a_cell_of_its_own(count: int) -> None:
    vectors, _ = bundles(1, count)
    laid = islands(vectors)
    assert len(np.unique(laid.places, axis=0)) == count
    assert (laid.places == np.round(laid.places)).all()
    assert len(laid.groups) == count


def test_islands_hold_their_own_images_only() -> None:
    vectors, _ = bundles(6, 20)
    laid = islands(vectors, 6)
    to_centres = np.linalg.norm(laid.places[:, None] - laid.centres[None], axis=2)
    assert (np.argmin(to_centres - laid.radii, axis=1) == laid.groups).all()
