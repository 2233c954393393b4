"""Against loops and sets in double precision: the formulas of both papers, and the details of the authors' code."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.errors import QueryError
from lookalike.search.rerank.graph import Diffusion, KReciprocal, NeighbourGraph
from lookalike.types import Ranking, Vectors
from tests.search.rerank.rows import Rows, clusters, first_list, unit

Matrix = NDArray[np.float64]


def plain_distances(rows: Vectors) -> Matrix:
    """Squared Euclidean distances over the largest in their row."""
    exact = rows.astype(np.float64)
    squared = np.array([[float(((a - b) ** 2).sum()) for b in exact] for a in exact])
    return np.asarray(squared / squared.max(axis=1, keepdims=True), np.float64)


def reciprocal(lists: Sequence[Sequence[int]], item: int, k: int) -> set[int]:
    """R(p, k): who is among the first k of p, and has p among its own (the item itself beside them)."""
    return {other for other in lists[item][: k + 1] if item in lists[other][: k + 1]}


def plain_k_reciprocal(rows: Vectors, k1: int, k2: int, original: float) -> list[float]:
    """Zhong et al. 2017, equations 2 to 12, for row 0 as the query; > 2/3 and normalised encodings as in their code."""
    distances = plain_distances(rows)
    everyone = range(len(rows))
    lists = [sorted(everyone, key=lambda other: (other != i, distances[i, other], other)) for i in everyone]
    encoded = np.zeros((len(rows), len(rows)))
    for item in everyone:
        own = reciprocal(lists, item, k1)
        expanded = set(own)
        for candidate in own:
            theirs = reciprocal(lists, candidate, round(k1 / 2))
            if len(own & theirs) > 2 / 3 * len(theirs):
                expanded |= theirs
        weights = {other: np.exp(-distances[item, other]) for other in expanded}
        for other, weight in weights.items():
            encoded[item, other] = weight / sum(weights.values())
    smooth = [np.mean([encoded[other] for other in lists[item][:k2]], axis=0) for item in everyone]
    values = []
    for item in everyone[1:]:
        smaller = sum(min(a, b) for a, b in zip(smooth[0], smooth[item], strict=True))
        larger = sum(max(a, b) for a, b in zip(smooth[0], smooth[item], strict=True))
        values.append((1 - original) * (1 - smaller / larger) + original * distances[0, item])
    return values


@pytest.mark.parametrize("k1", [2, 5, 20, 1000])
@pytest.mark.parametrize("k2", [1, 6])
@pytest.mark.parametrize("seed", range(2))
def test_k_reciprocal_is_what_the_formulas_say(k1: int, k2: int, seed: int) -> None:
    gallery = Rows(clusters(40, seed=seed))
    probe, first = first_list(clusters(1, seed=seed + 100), gallery, 40)
    expected = plain_k_reciprocal(np.concatenate([probe.vectors, gallery.all[first.ids]]), k1, k2, 0.3)
    assert np.allclose(KReciprocal(k1, k2).values(probe, first, gallery), -np.array(expected), atol=1e-6)


def test_k_reciprocal_by_hand() -> None:
    """On a circle: 0° asks; 20° and 40° and 60° are near each other, -30° is nearer than 40° but has no company.

    With k1 = 1 the query's only reciprocal neighbour is 20°, whose neighbours are 0° or 40°, equally far.
    """
    angles = np.radians([21, -30, 40, 60])
    gallery = Rows(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    probe, first = first_list(unit([1, 0]), gallery, 4)
    assert first.ids.tolist() == [0, 1, 2, 3]
    values = KReciprocal(k1=1, k2=1, original=0).values(probe, first, gallery)
    # 0°: {0°}, for 21° is nearest to 40°. Nobody else's neighbours hold 0°, so everyone is as far as can be.
    assert values.tolist() == [-1, -1, -1, -1]
    values = KReciprocal(k1=2, k2=1, original=0).values(probe, first, gallery)
    # Two nearest each: 0°: 21°, -30°; 21°: 40°, 0°; -30°: 0°, 21°; 40°: 21°, 60°; 60°: 40°, 21°.
    # R: 0° {0°, 21°, -30°}; 21° {21°, 0°, 40°}; -30° {-30°, 0°}; 40° {40°, 21°, 60°}; 60° {60°, 40°}.
    assert values[0] > values[2] > values[3]
    assert values[1] > values[2], "it shares the query itself, 40° only a neighbour"
    assert values[3] == -1, "it shares nobody with the query"


def test_the_share_of_the_original_distance_alone_leaves_the_order() -> None:
    gallery = Rows(clusters(30))
    probe, first = first_list(clusters(1, seed=1), gallery, 30)
    assert KReciprocal(original=1)(probe, first, gallery).ids.tolist() == first.ids.tolist()


def test_duplicates_share_everything_but_the_order_of_equals() -> None:
    gallery = Rows(np.repeat(clusters(5), 4, axis=0))
    probe, first = first_list(gallery.all[0], gallery, 20)
    values = KReciprocal(k1=3, k2=2).values(probe, first, gallery)
    assert np.isfinite(values).all()
    assert set(KReciprocal(k1=3, k2=2)(probe, first, gallery).ids[:4].tolist()) == {0, 1, 2, 3}


def plain_graph(rows: Vectors, k: int, gamma: float) -> Matrix:
    """S = D^-1/2 A D^-1/2 (Iscen et al. 2017), A the affinity of mutual neighbours."""
    exact = rows.astype(np.float64)
    count = len(rows)
    affinity = np.zeros((count, count))
    near = []
    for item in range(count):
        others = sorted(
            (other for other in range(count) if other != item), key=lambda o: -float(exact[item] @ exact[o])
        )
        near.append(set(others[:k]))
    for item in range(count):
        for other in near[item]:
            if item in near[other]:
                affinity[item, other] = max(float(exact[item] @ exact[other]), 0) ** gamma
    degrees = affinity.sum(axis=1)
    roots = np.sqrt(np.where(degrees > 0, degrees, 1))
    return affinity / roots[:, None] / roots[None, :]


def plain_diffusion(query: Vectors, rows: Vectors, method: Diffusion) -> Matrix:
    """f of (I - αS) f = y, by elimination; y is the affinity to the first k_query."""
    y = np.zeros(len(rows))
    for place in range(min(method.k_query, len(rows))):
        y[place] = max(float(query[0].astype(np.float64) @ rows[place]), 0) ** method.gamma
    system = np.eye(len(rows)) - method.alpha * plain_graph(rows, method.k, method.gamma)
    return np.asarray(np.linalg.solve(system, y), np.float64)


@pytest.mark.parametrize("k", [1, 3, 10, 1000])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("seed", range(2))
def test_diffusion_solves_the_system_of_the_paper(k: int, alpha: float, seed: int) -> None:
    gallery = Rows(clusters(60, seed=seed))
    probe, first = first_list(clusters(1, seed=seed + 100), gallery, 60)
    method = Diffusion(k=k, alpha=alpha, iterations=1000)
    expected = plain_diffusion(probe.vectors, gallery.all[first.ids], method)
    assert np.allclose(method.values(probe, first, gallery), expected, rtol=1e-6, atol=1e-6)


def test_twenty_iterations_are_within_a_percent_of_the_solution() -> None:
    gallery = Rows(clusters(150, dim=32))
    probe, first = first_list(clusters(1, dim=32, seed=1), gallery, 150)
    expected = plain_diffusion(probe.vectors, gallery.all[first.ids], Diffusion())
    values = Diffusion().values(probe, first, gallery)
    assert np.linalg.norm(values - expected) < 0.01 * np.linalg.norm(expected)


def test_diffusion_by_hand() -> None:
    """The query touches a, a touches b: S has a single 1, so f_a - α f_b = y, f_b = α f_a; nobody reaches c."""
    gallery = Rows(unit([0.8, 0.6, 0], [0, 1, 0], [0, 0, 1]))
    probe, first = first_list(unit([1, 0, 0]), gallery, 3)
    values = Diffusion(k_query=1, alpha=0.5, iterations=1000).values(probe, first, gallery)
    y = 0.8**3
    assert values[first.ids.tolist().index(0)] == pytest.approx(y / 0.75)
    assert values[first.ids.tolist().index(1)] == pytest.approx(0.5 * y / 0.75)
    assert values[first.ids.tolist().index(2)] == 0


def test_diffusion_reaches_what_the_query_does_not_see() -> None:
    """A chain from 0° to 120° in steps of 15°, and one row at -50°: the end of the chain is farther, but connected."""
    angles = np.radians([*range(15, 121, 15), -50])
    gallery = Rows(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    probe, first = first_list(unit([1, 0]), gallery, len(angles))
    assert first.ids.tolist()[:5] == [0, 1, 2, 8, 3]
    again = Diffusion(k=2, k_query=1)(probe, first, gallery)
    assert again.ids[-1] == 8


def test_the_graph_joins_those_alone_who_are_near_each_other() -> None:
    """0° and 10° are each other's nearest; 30° is nearest to 10°, but not the other way round."""
    angles = np.radians([0, 10, 30])
    graph = NeighbourGraph.of(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), k=1, gamma=3)
    assert sorted(zip(graph.rows.tolist(), graph.columns.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert (graph @ np.array([1.0, 2, 3])).tolist() == pytest.approx([2, 1, 0])


def test_duplicates_at_the_border_of_the_neighbourhood_all_belong_to_it() -> None:
    rows = np.repeat(unit([1, 0], [0.8, 0.6]), [1, 3], axis=0)
    graph = NeighbourGraph.of(rows, k=1, gamma=3)
    assert set(zip(graph.rows.tolist(), graph.columns.tolist(), strict=True)) >= {(1, 2), (2, 1), (1, 3), (3, 1)}
    f = Diffusion(k=1).values(*first_list(rows[0], Rows(rows), 4), Rows(rows))
    assert np.isfinite(f).all()


def test_what_nothing_reaches_stays_in_its_order() -> None:
    gallery = Rows(unit([-1, 0.1], [-1, 0.2], [-1, 0.3]))
    probe, first = first_list(unit([1, 0]), gallery, 3)
    assert Diffusion()(probe, first, gallery).ids.tolist() == first.ids.tolist()


@pytest.mark.parametrize("method", [KReciprocal(top=10), Diffusion(top=10)])
def test_candidates_beyond_the_top_are_left_where_they_were(method: KReciprocal | Diffusion) -> None:
    gallery = Rows(clusters(40))
    probe, first = first_list(clusters(1, seed=1), gallery, 40)
    again = method(probe, first, gallery)
    assert again.ids[10:].tolist() == first.ids[10:].tolist()
    alone = method(probe, first.head(10), gallery)
    assert again.ids[:10].tolist() == alone.ids.tolist()


@pytest.mark.parametrize("method", [KReciprocal(), Diffusion()])
def test_an_empty_ranking_has_no_values(method: KReciprocal | Diffusion) -> None:
    gallery = Rows(clusters(3))
    probe, _ = first_list(clusters(1), gallery, 3)
    assert method.values(probe, Ranking(np.empty(0, np.int64), np.empty(0, np.float32)), gallery).shape == (0,)


def test_parameters_have_bounds() -> None:
    with pytest.raises(QueryError, match="diffusion: alpha = 1 "):
        Diffusion(alpha=1)
    with pytest.raises(QueryError, match="k-reciprocal: original = 2"):
        KReciprocal(original=2)
