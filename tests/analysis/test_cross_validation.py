"""Gains on held-out groups: proven where there is structure, refused where there is none."""

from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from lookalike.analysis.cross_validation import (
    Change,
    Gain,
    Split,
    choose,
    cluster_interval,
    figures,
    folds,
    gain,
    score,
)
from lookalike.encoders.adaptation import Coordinates, Method, coordinates
from lookalike.evaluation.metrics import average_precision, judge
from lookalike.types import Vectors

IMAGES, SIZE = 40, 5


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As `adapt` measures: threads within products this small would only wait for one another."""
    with threadpool_limits(1, "blas"):
        yield


def unit(rows: np.ndarray) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def noise(seed: int, distractors: int = 0) -> tuple[Coordinates, np.ndarray]:
    """Vectors without any structure, and labels by chance."""
    rows = unit(np.random.default_rng(seed).standard_normal((IMAGES + distractors, 16)))
    return coordinates(rows[:IMAGES], rows[IMAGES:], rows.mean(axis=0, dtype=np.float64)), np.arange(IMAGES) // SIZE


def planted(seed: int) -> tuple[Coordinates, np.ndarray]:
    """Eight numbers say what a picture shows; eight larger ones vary from picture to picture."""
    random = np.random.default_rng(seed)
    groups = np.arange(IMAGES) // SIZE
    things = random.standard_normal((IMAGES // SIZE, 8))[groups] + 0.3 * random.standard_normal((IMAGES, 8))
    rows = unit(np.hstack([things, 2 * random.standard_normal((IMAGES, 8))]))
    return coordinates(rows, rows[:0], rows.mean(axis=0, dtype=np.float64)), groups


def whole(count: int, queries: int | None = None) -> Split:
    """The first rows are queries, and all can be found."""
    everything = np.ones(count, np.bool_)
    return Split(everything, everything, np.arange(count if queries is None else queries))


@pytest.mark.parametrize(("distractors", "seeds"), [(0, 100), (50, 40)])
def test_pure_noise_is_refused(distractors: int, seeds: int) -> None:
    proven = [gain(*noise(seed, distractors), seed=seed).is_proven for seed in range(seeds)]
    assert sum(proven) <= 0.05 * seeds, [seed for seed, is_proven in enumerate(proven) if is_proven]


def test_planted_structure_is_applied() -> None:
    proven = [gain(*planted(seed), seed=seed).is_proven for seed in range(100)]
    assert sum(proven) >= 95, [seed for seed, is_proven in enumerate(proven) if not is_proven]


def test_the_figures_are_those_of_the_evaluation() -> None:
    random = np.random.default_rng(3)
    rows, others = unit(random.standard_normal((20, 8))), unit(random.standard_normal((30, 8)))
    groups = np.arange(20) // 4
    scored = score(rows, others, groups, whole(20))
    gallery = np.vstack([rows, others])
    for query in range(20):
        ranked = np.argsort(-(gallery @ rows[query]), kind="stable")
        ranked = ranked[ranked != query]
        positives = [place for place in range(20) if groups[place] == groups[query] and place != query]
        assert scored.ap[query] == pytest.approx(average_precision(judge(ranked, positives)), abs=1e-6)
        assert scored.first[query] == (ranked[0] in positives)


def test_of_equal_scores_the_wrong_one_comes_first() -> None:
    rows = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    scored = score(rows, np.zeros((0, 2), np.float32), np.array([0, 0, 1]), whole(3, 1))
    assert (scored.ap.tolist(), scored.first.tolist()) == ([0.25], [0])


def plain_interval(differences: np.ndarray, clusters: np.ndarray, resamples: int) -> tuple[float, float]:
    """Loop by loop, with a generator of its own."""
    random = np.random.default_rng(99)
    by_group = [differences[clusters == number] for number in np.unique(clusters)]
    means = []
    for _ in range(resamples):
        drawn: list[float] = []
        for _ in by_group[1:]:
            members = by_group[random.integers(len(by_group))]
            drawn += [members[random.integers(len(members))] for _ in members]
        means.append(np.mean(drawn))
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def test_the_interval_is_that_of_a_plain_bootstrap_of_groups_and_queries() -> None:
    random = np.random.default_rng(1)
    clusters = np.repeat(np.arange(8), [3, 9, 4, 6, 2, 7, 5, 4])
    differences = 0.05 + 0.1 * random.standard_normal(8)[clusters] + 0.1 * random.standard_normal(40)
    order = random.permutation(40)
    low, high = cluster_interval(differences[order], clusters[order])
    plain_low, plain_high = plain_interval(differences, clusters, 5000)
    # Both are of 5,000 resamples of a mean with a deviation of .04: their ends vary by .0015.
    assert low == pytest.approx(plain_low, abs=0.006)
    assert high == pytest.approx(plain_high, abs=0.006)


def test_an_interval_without_spread_is_exact() -> None:
    assert cluster_interval(np.full(12, 0.25), np.arange(12) // 3) == (0.25, 0.25)


def test_a_gain_is_no_gain_without_a_map_or_where_first_results_get_worse() -> None:
    up, level, down = Change(0.5, 0.6, 0.05, 0.15), Change(0.5, 0.5, -0.1, 0.1), Change(0.5, 0.4, -0.2, -0.1)
    within = Method("within", "labels", 0.5)
    assert Gain(within, up, level, 9).is_proven
    assert not Gain(within, up, down, 9).is_proven
    assert not Gain(within, level, up, 9).is_proven
    assert not Gain(Method(), up, up, 9).is_proven


def test_one_group_that_gains_much_is_no_proof() -> None:
    clusters = np.repeat(np.arange(6), 10)
    differences = np.where(clusters == 0, 0.6, 0.0)
    assert differences.mean() == pytest.approx(0.1)
    assert cluster_interval(differences, clusters)[0] <= 0


def test_a_method_is_chosen_without_the_groups_that_it_is_measured_on() -> None:
    """Whatever the held-out vectors are, the choice among the others is the same."""
    data, groups = planted(0)
    among = groups < 5
    changed = data.labelled.copy()
    changed[~among] = noise(1)[0].labelled[~among]
    other = Coordinates(changed, data.background, data.mean, data.dim)
    chosen = [choose(given, groups, among, np.random.default_rng(4)) for given in (data, other)]
    assert chosen[0] == chosen[1]
    assert chosen[0].kind == "within"


def test_every_group_is_held_out_once_and_two_at_a_time_where_nothing_else_is_wrong() -> None:
    groups = np.repeat(np.arange(7), 2)
    rows = np.eye(14, 3)
    alone, amid = (Coordinates(rows, np.zeros((count, 3)), np.zeros(3), 3) for count in (0, 50))
    assert sorted(len(part) for part in folds(alone, groups, 5, np.random.default_rng(0))) == [2, 2, 3]
    parts = folds(amid, groups, 5, np.random.default_rng(0))
    assert sorted(np.concatenate(parts).tolist()) == list(range(7))
    assert len(parts) == 5


def test_what_a_map_was_learned_on_is_not_in_its_gallery() -> None:
    """Moving a training image onto a query changes no figure: the map is given, and the image cannot be found."""
    data, groups = planted(0)
    held_out = groups < 2
    split = Split(~held_out, held_out, np.flatnonzero(held_out))
    moved = data.labelled.copy()
    moved[-1] = moved[0]
    other = Coordinates(moved, data.background, data.mean, data.dim)
    assert (figures(data, groups, split, Method()).ap == figures(other, groups, split, Method()).ap).all()


def test_without_a_map_the_figures_are_those_of_the_vectors() -> None:
    data, groups = planted(2)
    held_out = groups < 2
    split = Split(~held_out, held_out, np.arange(10))
    plain = score(data.labelled.astype(np.float32), np.zeros((0, 16), np.float32), groups, split)
    measured = figures(data, groups, split, Method())
    assert measured.ap == pytest.approx(plain.ap, abs=1e-6)
