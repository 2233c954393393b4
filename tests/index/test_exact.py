import tracemalloc

import numpy as np
import pytest

from lookalike.errors import QueryError
from lookalike.index.exact import ExactIndex, InMemory, cosines_to, merged, share_of
from lookalike.types import Vectors


def rows(count: int, dim: int = 16, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("queries", [1, 3, 30])  # a matrix-vector product, FAISS scans, a matrix product
def test_exact_search_is_the_matrix_product_sorted(queries: int) -> None:
    vectors = rows(500)
    scores, ids = ExactIndex(vectors).search(vectors[:queries], 7)
    cosines = vectors[:queries] @ vectors.T
    assert np.array_equal(ids, np.argsort(-cosines, axis=1)[:, :7])
    assert np.allclose(scores, -np.sort(-cosines, axis=1)[:, :7], atol=1e-6)


@pytest.mark.parametrize("third", [3, 9])  # where few are removed, a single query scores all rows and drops those
@pytest.mark.parametrize("queries", [1, 3, 30])
def test_removed_rows_are_never_found(queries: int, third: int) -> None:
    vectors, live = rows(200), np.arange(200) % third > 0
    exact, count = ExactIndex(vectors, live), int(live.sum())
    _, ids = exact.search(vectors[:queries], 200)
    assert len(exact) == count
    assert set(ids[0][ids[0] >= 0].tolist()) == set(np.flatnonzero(live).tolist())
    assert (ids[:, count:] == -1).all()


@pytest.mark.parametrize("third", [1, 2, 9])
@pytest.mark.parametrize("queries", [1, 3, 30])
def test_of_more_equal_rows_than_are_wanted_the_first_live_ones_come(queries: int, third: int) -> None:
    """In whatever order better and worse ones lie among them."""
    random = np.random.default_rng(third)
    vectors = np.zeros((300, 8), np.float32)
    vectors[:, 0] = random.choice([-0.5, 0, 0.5, 1], 300, p=[0.4, 0.4, 0.15, 0.05])
    live = random.random(300) >= 1 / third if third > 1 else None
    expected = np.lexsort((np.arange(300), -vectors[:, 0]))
    expected = expected[live[expected]] if live is not None else expected
    exact, probes = ExactIndex(vectors, live), np.eye(8, dtype=np.float32)[np.zeros(queries, np.int64)]
    for k in (1, 5, 20, 50, 120):
        assert exact.search(probes, k)[1].tolist() == [expected[:k].tolist()] * queries


@pytest.mark.parametrize("queries", [1, 3])
def test_of_more_equal_rows_than_are_wanted_the_first_come(queries: int) -> None:
    vectors = np.tile(rows(7, 100), (90, 1))
    _, ids = ExactIndex(vectors).search(vectors[:queries], 5)
    assert ids[0].tolist() == [0, 7, 14, 21, 28]


def test_of_equal_results_that_are_merged_the_first_rows_come() -> None:
    """Also where few of many are kept."""
    scores = np.repeat(np.array([[0.5, 0.25]], np.float32), 30, axis=1)
    ids = np.random.default_rng(0).permutation(60)[None].astype(np.int64)
    expected = np.sort(ids[:, :30])[0, :4].tolist()
    assert merged([(scores[:, :20], ids[:, :20]), (scores[:, 20:], ids[:, 20:])], 4)[1].tolist() == [expected]


@pytest.mark.parametrize("queries", [1, 3])
def test_rows_that_are_the_same_score_the_same_and_come_in_their_order(queries: int) -> None:
    vectors = np.tile(rows(7, 100), (90, 1))
    scores, ids = ExactIndex(vectors).search(vectors[:queries], 200)
    assert ids[0, :90].tolist() == list(range(0, 630, 7))
    assert len(set(scores[0, :90].tolist())) == 1


def test_one_query_over_many_blocks_finds_what_a_batch_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike.index.exact.PRODUCTS", 64)
    vectors, live = rows(1000, seed=1), np.arange(1000) % 10 > 0
    for exact in (ExactIndex(vectors), ExactIndex(vectors, live)):
        _, expected = exact.search(vectors[:30], 12)
        for at, query in enumerate(vectors[:30]):
            assert exact.search(query[None], 12)[1][0].tolist() == expected[at].tolist()


@pytest.mark.filterwarnings("error")
def test_a_ranking_of_all_rows_copies_few_of_them_at_a_time() -> None:
    """An evaluation asks for all; copies of every row at once would take as much memory as the vectors."""
    vectors = rows(20_000, 512)
    exact = ExactIndex(vectors)
    tracemalloc.start()
    scores, ids = exact.search(vectors[:1], 20_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < vectors.nbytes
    assert sorted(ids[0].tolist()) == list(range(20_000))
    assert np.allclose(scores[0], (vectors @ vectors[0])[ids[0]], atol=1e-6)


def test_numbers_that_a_flipped_bit_made_of_a_row_hide_no_other() -> None:
    vectors = rows(50)
    vectors[3, 0], vectors[7, 1], vectors[9, 2] = np.nan, np.inf, -np.inf
    query = rows(1, seed=5)
    good = np.delete(np.arange(50), [3, 7, 9])
    _, ids = ExactIndex(vectors).search(query, 49)
    expected = good[np.argsort(-(vectors[good] @ query[0]))]
    assert [row for row in ids[0].tolist() if row in good] == expected.tolist()
    assert 3 not in ids


def test_fewer_rows_than_k_are_reported_as_fewer() -> None:
    _, ids = ExactIndex(rows(3)).search(rows(1), 10)
    assert ids.shape == (1, 3)


@pytest.mark.parametrize("queries", [1, 3, 30])
def test_a_query_of_another_length_is_refused(queries: int) -> None:
    with pytest.raises(QueryError, match="the query vector has 2 numbers, the collection's have 16"):
        ExactIndex(rows(100)).search(rows(queries, 2), 5)


def test_an_empty_collection_has_no_results() -> None:
    _, ids = ExactIndex(np.empty((0, 16), np.float32)).search(rows(2), 5)
    assert (ids == -1).all()


@pytest.mark.parametrize("queries", [1, 3, 30])
@pytest.mark.parametrize("kept", [1, 2, 20])  # all rows, a mask, so few rows that they are copied
@pytest.mark.parametrize("first", [0, 7, 400, 499, 500])
def test_only_the_rows_from_the_given_first_on_are_searched(queries: int, kept: int, first: int) -> None:
    vectors, live = rows(500), np.arange(500) % kept == 0
    exact = ExactIndex(vectors, live if kept > 1 else None, first=first)
    counting = np.flatnonzero(live & (np.arange(500) >= first))
    scores, ids = exact.search(vectors[:queries], 12)
    cosines = vectors[:queries] @ vectors[counting].T
    count = min(12, len(counting))
    assert len(exact) == len(counting)
    assert np.array_equal(ids[:, :count], counting[np.argsort(-cosines, axis=1)[:, :count]])
    assert np.allclose(scores[:, :count], -np.sort(-cosines, axis=1)[:, :count], atol=1e-6)
    assert (ids[:, count:] == -1).all()


def test_an_array_may_hold_only_the_rows_that_are_searched() -> None:
    vectors, live = rows(500), np.arange(500) % 3 > 0
    behind = InMemory(vectors[400:], 400)
    for mask in (live, np.arange(500) % 40 == 0, None):
        expected = ExactIndex(vectors, mask, first=400).search(vectors[:3], 12)
        actual = ExactIndex(behind, mask, 500, 400).search(vectors[:3], 12)
        assert np.array_equal(actual[1], expected[1])
        assert np.array_equal(actual[0], expected[0])


def test_a_row_against_itself_never_scores_more_than_one() -> None:
    vectors = rows(2000, 7)
    scores, _ = ExactIndex(vectors).search(vectors, 1)
    assert scores.max() <= 1


def test_recall_is_the_share_that_is_found() -> None:
    assert share_of(np.array([[1, 2, -1, -1]]), np.array([[2, 1, 3, 4]])) == 0.5


@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_cosines_without_threads_are_those_of_a_product(count: int) -> None:
    few = np.random.default_rng(0).normal(size=(count, 33)).astype(np.float32)
    vector = np.random.default_rng(1).normal(size=33).astype(np.float32)
    assert np.allclose(cosines_to(vector, few), few @ vector, atol=1e-5)
    assert np.allclose(cosines_to(vector, few[::-1]), few[::-1] @ vector, atol=1e-5)
