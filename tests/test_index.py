import numpy as np
import pytest

from lookalike.index import ExactIndex, share_of
from lookalike.types import Vectors


def rows(count: int, dim: int = 16, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("queries", [1, 30])  # FAISS scans for few queries and multiplies matrices for many
def test_exact_search_is_the_matrix_product_sorted(queries: int) -> None:
    vectors = rows(500)
    scores, ids = ExactIndex(vectors).search(vectors[:queries], 7)
    cosines = vectors[:queries] @ vectors.T
    assert np.array_equal(ids, np.argsort(-cosines, axis=1)[:, :7])
    assert np.allclose(scores, -np.sort(-cosines, axis=1)[:, :7], atol=1e-6)


@pytest.mark.parametrize("queries", [1, 30])
def test_removed_rows_are_never_found(queries: int) -> None:
    vectors, live = rows(200), np.arange(200) % 3 > 0
    index = ExactIndex(vectors, live)
    _, ids = index.search(vectors[:queries], 200)
    assert len(index) == live.sum() == 133
    assert set(ids[0][ids[0] >= 0].tolist()) == set(np.flatnonzero(live).tolist())
    assert (ids[:, 133:] == -1).all()


def test_fewer_rows_than_k_are_reported_as_fewer() -> None:
    _, ids = ExactIndex(rows(3)).search(rows(1), 10)
    assert ids.shape == (1, 3)


def test_an_empty_collection_has_no_results() -> None:
    _, ids = ExactIndex(np.empty((0, 16), np.float32)).search(rows(2), 5)
    assert (ids == -1).all()


def test_l2_is_the_squared_distance_of_index_flat_l2() -> None:
    import faiss

    vectors = rows(100)
    reference = faiss.IndexFlatL2(16)
    reference.add(vectors)
    expected, expected_ids = reference.search(vectors[:2], 5)
    distances, ids = ExactIndex(vectors).search_by(vectors[:2], 5, "l2")
    assert np.array_equal(ids, expected_ids)
    assert np.allclose(distances, expected, atol=1e-6)


def test_a_row_against_itself_never_scores_more_than_one() -> None:
    vectors = rows(2000, 7)
    scores, _ = ExactIndex(vectors).search(vectors, 1)
    assert scores.max() <= 1


def test_recall_is_the_share_that_is_found() -> None:
    assert share_of(np.array([[1, 2, -1, -1]]), np.array([[2, 1, 3, 4]])) == 0.5
