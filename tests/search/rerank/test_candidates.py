import numpy as np
import pytest

from lookalike.errors import QueryError
from lookalike.search.rerank.candidates import append, at_least, check, cosines, nearest, ranked, reordered
from lookalike.types import Probe, Ranking
from tests.search.rerank.rows import Approximate, Rows, clusters, first_list, unit


def ids(*rows: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(rows, np.int64)


def ranking(*rows: int) -> Ranking:
    """Of made-up scores, which a method has to keep where it knows them."""
    return Ranking(ids(*rows), np.linspace(0.9, 0.5, len(rows), dtype=np.float32))


def test_a_parameter_out_of_bounds_is_named_with_its_bounds() -> None:
    check("spatial", top=(100, 1, 10_000))
    with pytest.raises(QueryError, match=r"spatial: ratio = 1.5 is not between 0.1 and 1"):
        check("spatial", top=(100, 1, 10_000), ratio=(1.5, 0.1, 1))


def test_what_is_no_number_is_out_of_bounds() -> None:
    with pytest.raises(QueryError, match="alpha = nan"):
        check("alpha-qe", alpha=(float("nan"), 0, 100))


def test_an_item_counts_with_its_best_cosine_to_any_row_of_the_probe() -> None:
    probe = Probe(unit([1, 0], [0, 1]))
    assert cosines(probe, unit([3, 4], [1, 0], [-1, 0])).tolist() == pytest.approx([0.8, 1, 0])


def test_the_nearest_of_several_vectors_are_each_listed_once() -> None:
    gallery = Rows(unit([1, 0], [3, 4], [0, 1], [-1, 0]))
    assert nearest(gallery, unit([1, 0], [0, 1]), 3).tolist() == [0, 2, 1]


def test_equal_ones_come_by_row() -> None:
    gallery = Rows(unit([0, 1], [1, 0], [1, 0], [1, 0]))
    assert nearest(gallery, unit([1, 0]), 4).tolist() == [1, 2, 3, 0]


def test_missing_results_are_no_rows() -> None:
    gallery = Approximate(unit([1, 0], [3, 4], [0, 1]), most=2)
    assert nearest(gallery, unit([1, 0]), 3).tolist() == [0, 1]


def test_a_long_enough_ranking_stays_the_same_object() -> None:
    gallery = Rows(clusters(10))
    probe, first = first_list(clusters(1, seed=1), gallery, 5)
    assert at_least(first, 5, probe, gallery) is first
    assert at_least(first, 3, probe, gallery) is first


def test_a_short_ranking_keeps_its_order_and_is_followed_by_the_nearest_others() -> None:
    gallery = Rows(unit([1, 0], [4, 3], [3, 4], [0, 1]))
    probe = Probe(unit([1, 0]))
    longer = at_least(Ranking(ids(2, 0), np.array([0.6, 1], np.float32)), 3, probe, gallery)
    assert longer.ids.tolist() == [2, 0, 1]
    assert longer.scores.tolist() == pytest.approx([0.6, 1, 0.8])


def test_no_more_is_asked_for_than_the_gallery_has() -> None:
    gallery = Rows(clusters(4))
    probe, first = first_list(clusters(1, seed=1), gallery, 4)
    assert at_least(first, 100, probe, gallery) is first


def test_append_leaves_out_what_is_there() -> None:
    assert append(ids(3, 1), ids(0, 1, 2, 3)).tolist() == [3, 1, 0, 2]
    assert append(ids(), ids(2)).tolist() == [2]


def test_known_scores_are_kept_and_others_computed() -> None:
    gallery, probe = Rows(unit([1, 0], [4, 3], [3, 4])), Probe(unit([1, 0]))
    scored = Ranking(ids(2, 0), np.array([0.25, 0.5], np.float32))
    again = ranked(ids(0, 1, 2), scored, probe, gallery)
    assert again.ids.tolist() == [0, 1, 2]
    assert again.scores.tolist() == pytest.approx([0.5, 0.8, 0.25])
    unknown = ranked(ids(0, 1), Ranking(ids(), np.empty(0, np.float32)), probe, gallery)
    assert unknown.scores.tolist() == pytest.approx([1, 0.8])


def test_values_order_the_head_and_the_rest_stays_behind_it() -> None:
    again = reordered(ranking(7, 8, 9, 5, 6), np.array([0.1, 0.3, 0.2]))
    assert again.ids.tolist() == [8, 9, 7, 5, 6]
    assert again.scores.tolist() == pytest.approx([0.8, 0.7, 0.9, 0.6, 0.5])


def test_equal_values_stay_in_their_order() -> None:
    assert reordered(ranking(7, 8, 9), np.zeros(3)).ids.tolist() == [7, 8, 9]
