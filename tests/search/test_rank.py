import numpy as np
import pytest

from lookalike.errors import QueryError
from lookalike.search import rank as search
from lookalike.types import Gallery, Probe, Ranking
from tests.search.rerank.rows import Rows

AXES = np.eye(4, dtype=np.float32)


def probe(*vectors: list[float]) -> Probe:
    rows = np.array(vectors, np.float32)
    return Probe(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def gallery() -> Gallery:
    return Rows(AXES)


def test_results_come_best_first_and_missing_ones_are_dropped() -> None:
    ranking = search.rank(probe([3, 2, 1, 0]), gallery(), 10)
    assert ranking.ids.tolist() == [0, 1, 2, 3]
    assert np.allclose(ranking.scores, np.array([3, 2, 1, 0]) / np.sqrt(14))


def test_of_several_probe_vectors_the_best_cosine_counts() -> None:
    ranking = search.rank(probe([1, 0, 0, 0], [0, 0, 1, 0]), gallery(), 2)
    assert ranking.ids.tolist() == [0, 2]
    assert ranking.scores.tolist() == [1, 1]


def test_equal_scores_are_ordered_by_row() -> None:
    twins = Rows(np.repeat(AXES[:1], 5, axis=0))
    ranking = search.rank(probe([1, 0, 0, 0]), twins, 5)
    assert ranking.ids.tolist() == [0, 1, 2, 3, 4]


def test_rerankers_run_in_their_order() -> None:
    def reverse(_: Probe, ranking: Ranking, __: Gallery) -> Ranking:
        return Ranking(ranking.ids[::-1], ranking.scores[::-1])

    def drop_first(_: Probe, ranking: Ranking, __: Gallery) -> Ranking:
        return Ranking(ranking.ids[1:], ranking.scores[1:])

    ranking = search.rank(probe([4, 3, 2, 1]), gallery(), 4, [reverse, drop_first])
    assert ranking.ids.tolist() == [2, 1, 0]


def test_k_below_one_is_refused() -> None:
    with pytest.raises(QueryError, match="k must be at least 1, not 0"):
        search.rank(probe([1, 0, 0, 0]), gallery(), 0)
