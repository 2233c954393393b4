"""Against loops in double precision over the steps of the paper, with the details of the authors' code."""

import numpy as np
import pytest

from lookalike.errors import QueryError
from lookalike.search.rerank.superglobal import SuperGlobal
from lookalike.types import Ranking, Vectors
from tests.search.rerank.rows import Rows, clusters, first_list, unit


def plain(query: Vectors, candidates: Vectors, k: int, beta: float) -> list[float]:
    """Refined descriptors, both scores and their mean (Shao et al. 2023, section 3.3)."""
    q, rows = query[0].astype(np.float64), candidates.astype(np.float64)
    refined = []
    for own in range(len(rows)):
        others = sorted((row for row in range(len(rows)) if row != own), key=lambda row: -float(rows[own] @ rows[row]))
        weights = [beta * max(float(rows[own] @ rows[row]), 0) for row in others[:k]]
        total = rows[own] + sum(weight * rows[row] for weight, row in zip(weights, others[:k], strict=True))
        refined.append(total / (1 + sum(weights)))
    first = [float(q @ row) for row in refined]
    best = sorted(range(len(rows)), key=lambda row: -first[row])[: k + 1]
    expanded = np.array([max(refined[row][at] for row in best) for at in range(rows.shape[1])])
    return [(first[row] + float(expanded @ refined[row])) / 2 for row in range(len(rows))]


@pytest.mark.parametrize(("k", "beta"), [(9, 0.15), (1, 0.15), (3, 1.0), (1000, 0.15), (9, 0.0)])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_the_steps_of_the_paper_give(k: int, beta: float, seed: int) -> None:
    gallery = Rows(clusters(50, seed=seed))
    probe, first = first_list(clusters(1, seed=seed + 100), gallery, 50)
    expected = plain(probe.vectors, gallery.all[first.ids], k, beta)
    assert np.allclose(SuperGlobal(k=k, beta=beta).values(probe, first, gallery), expected, atol=1e-6)


def test_by_hand() -> None:
    """a = (.8, .6), b = (.6, .8), a · b = .96, beta 1: both are the mean of each other, weighed 1 and .96."""
    gallery = Rows(unit([0.8, 0.6], [0.6, 0.8]))
    probe, first = first_list(unit([1, 0]), gallery, 2)
    a = (0.8 + 0.96 * 0.6) / 1.96, (0.6 + 0.96 * 0.8) / 1.96
    b = (0.6 + 0.96 * 0.8) / 1.96, (0.8 + 0.96 * 0.6) / 1.96
    largest = max(a[0], b[0]), max(a[1], b[1])
    expected = [(candidate[0] + candidate[0] * largest[0] + candidate[1] * largest[1]) / 2 for candidate in (a, b)]
    assert SuperGlobal(k=1, beta=1).values(probe, first, gallery).tolist() == pytest.approx(expected)


def test_duplicates_refine_each_other_to_themselves() -> None:
    gallery = Rows(np.repeat(unit([0.6, 0.8]), 6, axis=0))
    probe, first = first_list(unit([1, 0]), gallery, 6)
    assert np.allclose(SuperGlobal(k=3).values(probe, first, gallery), (0.6 + 1) / 2)


def test_candidates_beyond_the_top_are_left_where_they_were() -> None:
    gallery = Rows(clusters(40))
    probe, first = first_list(clusters(1, seed=1), gallery, 40)
    assert SuperGlobal(top=10)(probe, first, gallery).ids[10:].tolist() == first.ids[10:].tolist()


def test_an_empty_ranking_has_no_values() -> None:
    gallery = Rows(clusters(3))
    probe, _ = first_list(clusters(1), gallery, 3)
    assert SuperGlobal().values(probe, Ranking(np.empty(0, np.int64), np.empty(0, np.float32)), gallery).shape == (0,)


def test_parameters_have_bounds() -> None:
    with pytest.raises(QueryError, match="superglobal: beta = -1"):
        SuperGlobal(beta=-1)
