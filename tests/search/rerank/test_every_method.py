"""What holds for all methods that need no picture: they lose nothing, add nothing twice, and scores stay cosines."""

from collections.abc import Callable

import numpy as np
import pytest

from lookalike.index.exact import ExactIndex
from lookalike.search.rank import rank
from lookalike.search.rerank import parse
from lookalike.types import Probe, Ranking, Reranker
from tests.search.rerank.rows import Approximate, Rows, clusters, first_list

METHODS = ["average-qe", "alpha-qe", "dba", "k-reciprocal", "diffusion", "superglobal"]


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Reranker:
    return parse(request.param)


def is_sound(ranking: Ranking, probe: Probe, gallery: Rows) -> bool:
    """Every row once, each with its best cosine to the probe."""
    expected = (gallery.all[ranking.ids] @ probe.vectors.T).max(axis=1)
    return len(set(ranking.ids.tolist())) == len(ranking.ids) and np.allclose(ranking.scores, expected, atol=1e-6)


def test_k_beyond_the_gallery_gives_the_whole_gallery(method: Reranker) -> None:
    gallery = Rows(clusters(7))
    probe = Probe(clusters(1, seed=1))
    ranking = rank(probe, gallery, 50, [method])
    assert sorted(ranking.ids.tolist()) == list(range(7))
    assert is_sound(ranking, probe, gallery)


def test_a_gallery_of_one(method: Reranker) -> None:
    gallery = Rows(clusters(1))
    probe = Probe(clusters(1, seed=1))
    ranking = rank(probe, gallery, 10, [method])
    assert ranking.ids.tolist() == [0]
    assert is_sound(ranking, probe, gallery)


def test_an_empty_gallery_gives_nothing(method: Reranker) -> None:
    assert len(rank(Probe(clusters(1)), Rows(np.empty((0, 12), np.float32)), 10, [method]).ids) == 0


def test_a_gallery_of_duplicates_comes_back_whole(method: Reranker) -> None:
    gallery = Rows(np.repeat(clusters(1), 30, axis=0))
    probe = Probe(clusters(1, seed=1))
    ranking = rank(probe, gallery, 30, [method])
    assert sorted(ranking.ids.tolist()) == list(range(30))
    assert is_sound(ranking, probe, gallery)


def test_several_vectors_are_one_probe(method: Reranker) -> None:
    gallery = Rows(clusters(60))
    probe = Probe(clusters(3, seed=1))
    ranking = rank(probe, gallery, 60, [method])
    assert sorted(ranking.ids.tolist()) == list(range(60))
    assert is_sound(ranking, probe, gallery)


def test_an_opposite_query_harms_nobody(method: Reranker) -> None:
    gallery = Rows(np.abs(clusters(20)))
    probe = Probe(-gallery.all[[0]])
    assert is_sound(rank(probe, gallery, 20, [method]), probe, gallery)


def test_removed_rows_never_come_back(method: Reranker) -> None:
    class Live(Rows):
        def __init__(self) -> None:
            super().__init__(clusters(40))
            ExactIndex.__init__(self, self.all, np.arange(40) % 3 > 0)

    gallery = Live()
    ranking = rank(Probe(clusters(1, seed=1)), gallery, 40, [method])
    assert sorted(ranking.ids.tolist()) == [row for row in range(40) if row % 3]


def test_an_engine_that_finds_fewer_is_enough(method: Reranker) -> None:
    gallery = Approximate(clusters(40), most=5)
    probe = Probe(clusters(1, seed=1))
    ranking = rank(probe, gallery, 20, [method])
    assert len(ranking.ids) >= 5
    assert is_sound(ranking, probe, gallery)


def test_methods_follow_each_other(method: Reranker) -> None:
    gallery = Rows(clusters(60))
    probe = Probe(clusters(1, seed=1))
    chain = rank(probe, gallery, 60, [parse("alpha-qe"), method, parse("diffusion")])
    assert sorted(chain.ids.tolist()) == list(range(60))
    assert is_sound(chain, probe, gallery)


def test_the_same_question_has_the_same_answer(method: Reranker) -> None:
    gallery = Rows(clusters(60))
    ask: Callable[[], Ranking] = lambda: rank(Probe(clusters(1, seed=1)), gallery, 60, [method])  # noqa: E731
    assert ask().ids.tolist() == ask().ids.tolist()


def test_a_short_first_list_is_filled_up(method: Reranker) -> None:
    """So that ten results re-ranked are the best ten of the method's `top`, and not the first ten in another order."""
    gallery = Rows(clusters(60))
    probe, first = first_list(clusters(1, seed=1), gallery, 60)
    whole = method(probe, first, gallery)
    short = rank(probe, gallery, 10, [method])
    assert short.ids.tolist() == whole.ids[:10].tolist()
