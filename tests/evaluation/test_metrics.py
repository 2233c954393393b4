"""Every figure against numbers worked by hand, against a reference written from the papers, and against trec_eval."""

import math
from collections.abc import Collection, Sequence

import numpy as np
import pytest

from lookalike.errors import EvaluationError
from lookalike.evaluation.metrics import (
    DENOMINATORS,
    METRICS,
    Judged,
    average_precision,
    average_precision_at,
    hit_rate_at,
    judge,
    mean,
    ndcg_at,
    positions,
    precision_at,
    recall_at,
    revisited_precision_at,
)


def ids(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


RANKS_1_3_7 = judge(ids(10, 0, 11, 1, 2, 3, 12, 4), positives={10, 11, 12})


def test_junk_does_not_push_positives_down() -> None:
    assert positions(ids(7, 3, 9, 1), positives={3, 1}, junk={7}).tolist() == [0, 2]


def test_hits_at_ranks_1_3_7_have_three_different_precisions() -> None:
    step = (1 / 1 + 2 / 3 + 3 / 7) / 3
    trapezoid = ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2 + (2 / 6 + 3 / 7) / 2) / 3
    assert average_precision(RANKS_1_3_7, "step") == pytest.approx(step, abs=1e-12)
    assert average_precision(RANKS_1_3_7) == pytest.approx(trapezoid, abs=1e-12)
    assert (round(step, 4), round(trapezoid, 4)) == (0.6984, 0.6548)


def test_map_at_2_differs_with_its_denominator() -> None:
    assert average_precision_at(RANKS_1_3_7, 2, "R") == pytest.approx(1 / 3)
    assert average_precision_at(RANKS_1_3_7, 2) == pytest.approx(1 / 2)


def test_a_perfect_list_has_average_precision_one_by_both_rules() -> None:
    perfect = judge(ids(4, 5, 6, 0, 1), positives={4, 5, 6})
    assert average_precision(perfect) == average_precision(perfect, "step") == 1


def test_counting_junk_as_wrong_costs_precision() -> None:
    ranked = ids(7, 1, 8, 2, 0)
    assert average_precision(judge(ranked, {1, 2}, junk={7, 8})) == 1
    # Hits at ranks 2 and 4: ((0/1 + 1/2) / 2 + (1/3 + 2/4) / 2) / 2.
    assert average_precision(judge(ranked, {1, 2})) == pytest.approx((1 / 4 + 5 / 12) / 2)


def test_precision_recall_hit_rate_and_ndcg_at_3() -> None:
    assert precision_at(RANKS_1_3_7, 3) == pytest.approx(2 / 3)
    assert recall_at(RANKS_1_3_7, 3) == pytest.approx(2 / 3)
    assert hit_rate_at(RANKS_1_3_7, 3) == 1
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_at(RANKS_1_3_7, 3) == pytest.approx((1 + 1 / math.log2(4)) / ideal)


def test_hit_rate_is_no_recall() -> None:
    judged = judge(ids(0, 1, 2, 3), positives={1, 3})
    assert (hit_rate_at(judged, 1), recall_at(judged, 1)) == (0, 0)
    assert (hit_rate_at(judged, 2), recall_at(judged, 2)) == (1, 0.5)


def test_revisited_precision_stops_at_the_last_positive() -> None:
    judged = judge(ids(5, 0, 6, 1, 2, 3, 4, 7, 8, 9), positives={5, 6})
    assert revisited_precision_at(judged, 10) == pytest.approx(2 / 3)
    assert precision_at(judged, 10) == pytest.approx(2 / 10)


@pytest.mark.parametrize("figure", METRICS)
def test_no_figure_looks_beyond_what_was_retrieved(figure: str) -> None:
    five = judge(ids(1, 2, 3, 4, 5), positives={1, 2})
    METRICS[figure](five, 5)
    with pytest.raises(EvaluationError, match="k = 10 goes beyond the 5 results"):
        METRICS[figure](five, 10)


def test_junk_counts_against_what_was_retrieved() -> None:
    with pytest.raises(EvaluationError, match="beyond the 4 results"):
        precision_at(judge(ids(1, 2, 3, 4, 5), positives={1}, junk={2}), 5)


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one_is_refused(k: int) -> None:
    with pytest.raises(EvaluationError, match="not a number of results"):
        precision_at(RANKS_1_3_7, k)


def test_average_precision_wants_the_whole_list() -> None:
    with pytest.raises(EvaluationError, match="holds 1 of 2 positives"):
        average_precision(judge(ids(1, 3), positives={1, 2}))


def test_a_positive_that_cannot_be_read_is_never_found_and_still_counts() -> None:
    judged = judge(ids(1, 0), positives={1}, absent=1)
    assert average_precision(judged) == 0.5
    assert recall_at(judged, 2) == 0.5


def test_a_query_without_positives_leaves_the_mean() -> None:
    nothing = judge(ids(1, 2), positives=())
    assert all(math.isnan(figure(nothing, 1)) for figure in METRICS.values())
    assert mean(map(average_precision, [nothing, judge(ids(1, 2), positives={1})])) == 1
    assert math.isnan(mean([]))


@pytest.mark.parametrize(
    ("ranked", "reason"), [(ids(1, -1), "id -1"), (ids(1, 2, 1), "an id twice")], ids=["padding", "twice"]
)
def test_a_list_that_is_no_ranking_is_refused(ranked: np.ndarray[tuple[int], np.dtype[np.int64]], reason: str) -> None:
    with pytest.raises(EvaluationError, match=reason):
        judge(ranked, positives={1})


def test_an_image_cannot_be_both_positive_and_junk() -> None:
    with pytest.raises(EvaluationError, match="both positive and junk"):
        judge(ids(1, 2), positives={1}, junk={1, 2})


def test_every_figure_names_what_it_divides_by() -> None:
    assert set(DENOMINATORS) == set(METRICS)


# An independent reference, written from the protocol's text: it walks the list image by image, as compute_ap does.


def reference_ap(ranked: Sequence[int], positives: Collection[int], junk: Collection[int]) -> float:
    old_recall, old_precision, area, hits, seen = 0.0, 1.0, 0.0, 0, 0
    for image in ranked:
        if image in junk:
            continue
        if image in positives:
            hits += 1
        recall, precision = hits / len(positives), hits / (seen + 1)
        area += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
        seen += 1
    return area


def reference_precision(ranked: Sequence[int], positives: Collection[int], junk: Collection[int], k: int) -> float:
    kept = [image for image in ranked if image not in junk]
    last = max(rank for rank, image in enumerate(kept, 1) if image in positives)
    depth = min(k, last)
    return sum(image in positives for image in kept[:depth]) / depth


def test_all_three_setups_agree_with_the_reference_on_a_thousand_random_rankings() -> None:
    random = np.random.default_rng(2018)
    for _ in range(1000):
        size = int(random.integers(20, 200))
        label = random.choice(4, size, p=[0.1, 0.1, 0.1, 0.7])
        ranked = random.permutation(size).astype(np.int64)
        easy, hard, junk = (set(np.flatnonzero(label == value).tolist()) for value in range(3))
        for positives, ignored in ((easy, junk | hard), (easy | hard, junk), (hard, junk | easy)):
            judged = judge(ranked, positives, ignored)
            if not positives:
                assert math.isnan(average_precision(judged))
                continue
            order = ranked.tolist()
            assert average_precision(judged) == pytest.approx(reference_ap(order, positives, ignored), abs=1e-9)
            for k in (1, 5, 10):
                if k <= judged.length:
                    expected = reference_precision(order, positives, ignored, k)
                    assert revisited_precision_at(judged, k) == pytest.approx(expected, abs=1e-9)


def test_step_average_precision_and_figures_at_k_agree_with_trec_eval() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec-eval-terrier is not installed")
    random = np.random.default_rng(5)
    relevance, run, judged = {}, {}, {}
    for number in range(200):
        size = int(random.integers(15, 120))
        positives = set(random.choice(size, int(random.integers(1, 12)), replace=False).tolist())
        ranked = random.permutation(size).astype(np.int64)
        name = f"q{number}"
        relevance[name] = {f"d{image}": int(image in positives) for image in range(size)}
        run[name] = {f"d{image}": float(size - rank) for rank, image in enumerate(ranked.tolist())}
        judged[name] = judge(ranked, positives)
    measures = {"map", "P.5,10", "recall.5,10", "ndcg_cut.5,10", "success.5,10"}
    expected = pytrec_eval.RelevanceEvaluator(relevance, measures).evaluate(run)
    for name, query in judged.items():
        assert average_precision(query, "step") == pytest.approx(expected[name]["map"], abs=1e-9)
        for k in (5, 10):
            assert precision_at(query, k) == pytest.approx(expected[name][f"P_{k}"], abs=1e-9)
            assert recall_at(query, k) == pytest.approx(expected[name][f"recall_{k}"], abs=1e-9)
            assert ndcg_at(query, k) == pytest.approx(expected[name][f"ndcg_cut_{k}"], abs=1e-9)
            assert hit_rate_at(query, k) == pytest.approx(expected[name][f"success_{k}"], abs=1e-9)


@pytest.fixture(scope="module")
def oxford() -> list[tuple[set[int], set[int]]]:
    """Positives and junk of 55 queries among 5,063 images: five of each landmark, which share them, as in Oxford5k.

    Of the landmarks one has 6 positives, the next 26, and so on to 206, and each half as many junk; Oxford5k's have 6
    to 221. They lie anywhere among the images.
    """
    rows = np.random.default_rng(5063).permutation(5063).tolist()
    starts = range(0, 11 * 400, 400)
    landmarks = [
        (set(rows[start : start + count]), set(rows[start + count : start + count + count // 2]))
        for start, count in zip(starts, range(6, 226, 20), strict=True)
    ]
    return [landmark for landmark in landmarks for _ in range(5)]


def _ranked(first: Collection[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return ids(*first, *(row for row in range(5063) if row not in set(first)))


def test_an_oracle_on_all_of_oxford5k_has_map_one(oxford: list[tuple[set[int], set[int]]]) -> None:
    judged = [judge(_ranked([*junk, *positives]), positives, junk) for positives, junk in oxford]
    assert mean(average_precision(ranking) for ranking in judged) == pytest.approx(1.0, abs=1e-12)
    assert mean(average_precision(ranking, "step") for ranking in judged) == pytest.approx(1.0, abs=1e-12)


def test_oxford5k_with_one_wrong_image_before_every_oracle_list(oxford: list[tuple[set[int], set[int]]]) -> None:
    """Positives at ranks 2 to R + 1: the precision at the jth is j/(j+1), the precision just before it is (j-1)/j."""
    judged, step, trapezoid = [], [], []
    for positives, junk in oxford:
        wrong = next(row for row in range(5063) if row not in positives | junk)
        judged.append(judge(_ranked([*junk, wrong, *positives]), positives, junk))
        count = len(positives)
        after = [j / (j + 1) for j in range(1, count + 1)]
        before = [(j - 1) / j for j in range(1, count + 1)]
        step.append(sum(after) / count)
        trapezoid.append((sum(after) + sum(before)) / 2 / count)
    assert mean(average_precision(ranking, "step") for ranking in judged) == pytest.approx(sum(step) / 55, abs=1e-12)
    assert mean(average_precision(ranking) for ranking in judged) == pytest.approx(sum(trapezoid) / 55, abs=1e-12)


def test_oxford5k_shuffled_agrees_with_the_reference(oxford: list[tuple[set[int], set[int]]]) -> None:
    random = np.random.default_rng(0)
    ranked = random.permutation(5063).astype(np.int64)
    expected = [reference_ap(ranked.tolist(), positives, junk) for positives, junk in oxford[::5]]
    judged = [judge(ranked, positives, junk) for positives, junk in oxford[::5]]
    average = mean(average_precision(ranking) for ranking in judged)
    assert average == pytest.approx(sum(expected) / len(expected), abs=1e-9)
    assert average < 0.05


def test_a_judged_list_is_made_of_plain_counts() -> None:
    assert RANKS_1_3_7.positions.tolist() == [0, 2, 6]
    assert Judged(RANKS_1_3_7.positions, 8, 3) == Judged(RANKS_1_3_7.positions, 8, 3, 0)
