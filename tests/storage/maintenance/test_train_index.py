"""Lists are placed where the rows are, in two levels where they are many."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from made_vectors import Made

from lookalike.search import searcher
from lookalike.search.gallery import StoredGallery
from lookalike.storage.maintenance import train_index
from lookalike.storage.maintenance.train_index import means_of, two_level_means
from lookalike.storage.store import Store
from lookalike.types import Vectors
from tests.support.vectors import clustered, make, optimize

FEW_LISTS = "OPQ16_64,IVF64,PQ16x4fsr"


def quantization_error(vectors: Vectors, means: Vectors) -> float:
    return float(1 - (vectors @ means.T).max(axis=1).mean())


def test_there_are_as_many_unit_means_as_were_asked_for() -> None:
    means = two_level_means(clustered(2000), 100)
    assert means.shape == (100, 32)
    assert np.allclose(np.linalg.norm(means, axis=1), 1, atol=1e-5)


def test_groups_that_are_too_small_for_a_mean_do_no_harm() -> None:
    """Rows as a damaged disk leaves them, and an outlier, are groups of their own."""
    vectors = clustered(2000)
    vectors[:3] = 0
    vectors[3] = -vectors[4]
    assert two_level_means(vectors, 400).shape == (400, 32)


def test_as_many_means_as_rows_are_the_rows() -> None:
    vectors = clustered(64)
    assert quantization_error(vectors, two_level_means(vectors, 64)) < 1e-5


def test_the_last_steps_make_the_means_better() -> None:
    vectors = clustered(4000)
    assert quantization_error(vectors, means_of(vectors, 100)) < quantization_error(
        vectors, two_level_means(vectors, 100)
    )


def test_many_lists_find_as_much_as_few_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher, "FEW", 0)
    monkeypatch.setattr(train_index, "MANY_LISTS", 64)
    made = Made(6000, 64)
    make(tmp_path, made.rows(6000, 0)).close()
    built = optimize(tmp_path, FEW_LISTS)
    assert max(point.recall for point in built.curve if point.depth == 10) >= 0.99
    with closing(Store(tmp_path)) as store:
        gallery = StoredGallery(store)
        truth = gallery.view(recall=1).search(made.queries(100), 10)[1]
        ids = gallery.search(made.queries(100), 10)[1]
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(truth, ids, strict=True)]) > 0.97
