"""Each method against loops over its formula in double precision, and on cases worked by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.errors import QueryError
from lookalike.search.rerank.expansion import AlphaQE, Augmentation, AverageQE
from lookalike.types import Vectors
from tests.search.rerank.rows import Approximate, Rows, clusters, first_list, unit

Row = NDArray[np.float64]


def plain_order(query: Row, gallery: Vectors) -> list[int]:
    return sorted(range(len(gallery)), key=lambda row: (-float(query @ gallery[row]), row))


def plain_average(query: Row, gallery: Vectors, k: int) -> Row:
    """Chum et al. 2007: the mean of the query and the first k, of which only the direction counts."""
    total = query.copy()
    for row in plain_order(query, gallery)[:k]:
        total += gallery[row]
    return total / float(np.linalg.norm(total))


def plain_alpha(query: Row, gallery: Vectors, k: int, alpha: float) -> Row:
    """Radenović et al. 2019: q + Σ (q · x)^α x over the first k; a negative cosine weighs nothing."""
    total = query.copy()
    for row in plain_order(query, gallery)[:k]:
        total += max(float(query @ gallery[row]), 0.0) ** alpha * gallery[row]
    return total / float(np.linalg.norm(total))


def plain_augmented(gallery: Vectors, own: int, k: int, alpha: float) -> Row:
    """x + Σ (x · y)^α y over the k nearest other rows y."""
    x = gallery[own].astype(np.float64)
    others = [row for row in plain_order(x, gallery) if row != own][:k]
    total = x + sum(max(float(x @ gallery[row]), 0.0) ** alpha * gallery[row] for row in others)
    return np.asarray(total / np.linalg.norm(total), np.float64)


@pytest.mark.parametrize("k", [1, 5, 10, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_average_expansion_is_the_mean_of_the_paper(k: int, seed: int) -> None:
    gallery = Rows(clusters(seed=seed))
    query = clusters(1, seed=seed + 100)
    probe, first = first_list(query, gallery, 20)
    expected = plain_average(query[0].astype(np.float64), gallery.all, k)
    assert np.allclose(AverageQE(k).expanded(probe, first, gallery), expected, atol=1e-6)
    assert AverageQE(k)(probe, first, gallery).ids.tolist() == plain_order(expected, gallery.all)[:20]


@pytest.mark.parametrize("k", [1, 10, 1000])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_alpha_expansion_weighs_as_the_paper_does(k: int, alpha: float, seed: int) -> None:
    gallery = Rows(clusters(seed=seed))
    query = clusters(1, seed=seed + 100)
    probe, first = first_list(query, gallery, 20)
    expected = plain_alpha(query[0].astype(np.float64), gallery.all, k, alpha)
    assert np.allclose(AlphaQE(k, alpha).expanded(probe, first, gallery), expected, atol=1e-6)
    assert AlphaQE(k, alpha)(probe, first, gallery).ids.tolist() == plain_order(expected, gallery.all)[:20]


@pytest.mark.parametrize("k", [1, 10, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_augmentation_scores_every_candidate_with_its_neighbours(k: int, seed: int) -> None:
    gallery = Rows(clusters(seed=seed))
    query = clusters(1, seed=seed + 100)
    probe, first = first_list(query, gallery, 30)
    expected = [float(query[0] @ plain_augmented(gallery.all, row, k, 3.0)) for row in first.ids]
    assert np.allclose(Augmentation(k, 3.0).values(probe, first, gallery), expected, atol=1e-6)


def test_expansion_finds_what_the_query_alone_does_not_by_hand() -> None:
    """From (1, 0) by (.8, .6): the mean points to (3, 1) / √10, so (0, 1) comes before (.28, -.96)."""
    gallery = Rows(unit([0.8, 0.6], [0, 1], [0.28, -0.96]))
    probe, first = first_list(unit([1, 0]), gallery, 3)
    assert first.ids.tolist() == [0, 2, 1]
    average, alpha = AverageQE(1), AlphaQE(1, 3)
    assert average.expanded(probe, first, gallery)[0].tolist() == pytest.approx([3 / 10**0.5, 1 / 10**0.5])
    # (1, 0) + .8³ (.8, .6) = (1.4096, .3072)
    expected = np.array([1.4096, 0.3072]) / np.hypot(1.4096, 0.3072)
    assert alpha.expanded(probe, first, gallery)[0].tolist() == pytest.approx(expected.tolist())
    for method in (average, alpha):
        again = method(probe, first, gallery)
        assert again.ids.tolist() == [0, 1, 2]
        assert again.scores.tolist() == pytest.approx([0.8, 0, 0.28]), "cosines to the query that was asked"


def test_augmentation_by_hand() -> None:
    """Row 0 at (.6, .8) is drawn up by row 1 at (0, 1), row 2 at (.5, -√.75) has nobody."""
    gallery = Rows(unit([0.6, 0.8], [0, 1], [0.5, -(0.75**0.5)]))
    probe, first = first_list(unit([1, 0]), gallery, 2)
    # .8³ = .512: (.6, 1.312); the cosines between row 2 and the others are negative.
    expected = [0.6 / np.hypot(0.6, 1.312), 0.5]
    assert Augmentation(k=1)(probe, first, gallery).ids.tolist() == [2, 0, 1]
    assert Augmentation(k=1).values(probe, first, gallery).tolist() == pytest.approx(expected)


def test_a_row_is_no_neighbour_of_itself_among_its_duplicates() -> None:
    gallery = Rows(np.repeat(unit([0.6, 0.8], [0, 1]), [5, 1], axis=0))
    probe, first = first_list(unit([1, 0]), gallery, 5)
    for k in (1, 2, 3):
        assert np.allclose(Augmentation(k).values(probe, first, gallery), 0.6), "the mean of equal rows is that row"


def test_each_row_of_a_probe_is_expanded() -> None:
    gallery = Rows(unit([0.8, 0.6], [0, 1]))
    probe, first = first_list(unit([1, 0], [0, 1]), gallery, 2)
    both = AverageQE(1).expanded(probe, first.head(1), gallery)
    assert np.allclose(both, unit([1.8, 0.6], [0.8, 1.6]), atol=1e-6)


def test_nothing_is_lost_where_the_second_search_finds_fewer() -> None:
    gallery = Approximate(clusters(20), most=3)
    probe, first = first_list(clusters(1, seed=1), Rows(gallery.all), 20)
    again = AlphaQE()(probe, first, gallery)
    assert sorted(again.ids.tolist()) == list(range(20))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AverageQE(0), "average-qe: k = 0"),
        (lambda: AlphaQE(alpha=-1), "alpha-qe: alpha = -1"),
        (lambda: Augmentation(top=0), "dba: top = 0"),
    ],
)
def test_parameters_have_bounds(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(QueryError, match=words):
        make()
