import numpy as np
import pytest

from lookalike.errors import QueryError
from lookalike.search.combine import AWAY, combine
from lookalike.types import Vectors


def rows(*values: list[float]) -> Vectors:
    return np.array(values, np.float32)


X, Y = [1.0, 0.0], [0.0, 1.0]


def test_the_mean_of_two_points_between_them() -> None:
    assert combine(rows(X, Y)).tolist() == [pytest.approx([0.5**0.5] * 2)]


def test_one_query_is_itself_at_unit_length() -> None:
    assert combine(rows([3, 4])).tolist() == [pytest.approx([0.6, 0.8])]


def test_each_counts_with_its_direction_not_its_length() -> None:
    assert np.allclose(combine(rows([10, 0], Y)), combine(rows(X, Y)))


def test_weights_are_shares() -> None:
    combined = combine(rows(X, Y), weights=[3, 1])
    assert combined.tolist() == [pytest.approx((np.array([3, 1]) / 10**0.5).tolist())]
    assert np.allclose(combined, combine(rows(X, Y), weights=[0.75, 0.25]))
    assert np.allclose(combine(rows(X, Y), weights=[1, 0]), rows(X))


def test_the_maximum_keeps_a_row_for_each() -> None:
    assert combine(rows(X, [3, 4]), how="max").tolist() == [X, pytest.approx([0.6, 0.8])]


def test_a_negative_is_taken_from_the_mean_by_hand() -> None:
    """(1, 0) less (.6, .8) is (.4, -.8)."""
    assert AWAY == 1.0
    assert combine(rows(X), negatives=rows([3, 4])).tolist() == [pytest.approx([0.2**0.5, -(0.8**0.5)])]


def test_how_far_negatives_push_does_not_depend_on_how_many_queries_there_are() -> None:
    """The mean of (1, 0) and (0, 1) is short; it is brought to unit length before anything is taken away."""
    mean = np.array([0.5**0.5] * 2)
    expected = mean - [0.6, 0.8]
    combined = combine(rows(X, Y), negatives=rows([3, 4]))
    assert np.allclose(combined, expected / np.linalg.norm(expected), atol=1e-6)


def test_several_negatives_push_by_their_mean() -> None:
    expected = np.array([1, 0]) - np.array([0.3, 0.9])
    assert np.allclose(combine(rows(X), negatives=rows([3, 4], Y)), expected / np.linalg.norm(expected), atol=1e-6)


def test_with_the_maximum_negatives_are_taken_from_each() -> None:
    combined = combine(rows(X, [-1, 0]), negatives=rows(Y), how="max")
    assert np.allclose(combined, rows([0.5**0.5, -(0.5**0.5)], [-(0.5**0.5), -(0.5**0.5)]))


def test_no_negatives_is_the_same_as_none() -> None:
    assert (combine(rows(X, Y), negatives=np.empty((0, 2), np.float32)) == combine(rows(X, Y))).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"vectors": np.empty((0, 2), np.float32)}, "no query was given"),
        ({"vectors": rows([0, 0])}, "a query points nowhere"),
        ({"vectors": rows([np.nan, 0])}, "a query points nowhere"),
        ({"vectors": rows(X, [-1, 0])}, "points nowhere: there is nothing to search for"),
        ({"vectors": rows(X), "negatives": rows(X)}, "what is left of the query when its negatives are taken away"),
        ({"vectors": rows(X), "negatives": rows([0, 0])}, "a negative points nowhere"),
        ({"vectors": rows(X), "negatives": rows([1, 0, 0])}, "a negative has 3 numbers, the query 2"),
        ({"vectors": rows(X, Y), "weights": [1]}, "2 queries need as many weights, not 1"),
        ({"vectors": rows(X, Y), "weights": [1, -1]}, "weights must be positive numbers"),
        ({"vectors": rows(X, Y), "weights": [0, 0]}, "weights must be positive numbers"),
        ({"vectors": rows(X, Y), "weights": [np.inf, 1]}, "weights must be positive numbers"),
        ({"vectors": rows(X, Y), "weights": [1, 1], "how": "max"}, "weights go with the mean"),
        ({"vectors": rows(X), "how": "median"}, "combined by mean or max, not 'median'"),
    ],
)
def test_what_cannot_be_searched_for_is_one_line(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(QueryError, match=words) as caught:
        combine(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
