import numpy as np
import pytest

from lookalike.errors import QueryError
from lookalike.search.fusion import CalibratedScores, Calibration, ReciprocalRank
from lookalike.types import Ranking


def ranking(ids: list[int], scores: list[float] | None = None) -> Ranking:
    values = scores if scores is not None else list(np.linspace(1, 0, len(ids)))
    return Ranking(np.array(ids, np.int64), np.array(values, np.float32))


def test_reciprocal_ranks_add_up() -> None:
    # k = 60: row 7 is 1st and 2nd, 1/61 + 1/62 = 0.032522; row 3 is 2nd and 1st, the same; row 5 is 3rd once, 1/63.
    fused = ReciprocalRank()([ranking([7, 3, 5]), ranking([3, 7])])
    assert fused.ids.tolist() == [3, 7, 5]
    assert fused.scores.tolist() == pytest.approx([0.032522, 0.032522, 0.015873], abs=1e-6)


def test_an_item_that_both_find_beats_one_that_one_finds_first() -> None:
    # Row 9: 1/62 + 1/62 = 0.0323; rows 1 and 2: 1/61 = 0.0164 each.
    fused = ReciprocalRank()([ranking([1, 9]), ranking([2, 9])])
    assert fused.ids.tolist() == [9, 1, 2]


def test_a_small_k_trusts_the_first_places() -> None:
    # k = 0: row 1 has 1/1 + 1/4 = 1.25, row 2 has 1/2 + 1/2 = 1.
    lists = [ranking([1, 2]), ranking([8, 2, 9, 1])]
    assert ReciprocalRank(k=0)(lists).ids.tolist()[:2] == [1, 2]
    # k = 60: 1/61 + 1/64 = 0.03202 against 2/62 = 0.03226.
    assert ReciprocalRank()(lists).ids.tolist()[:2] == [2, 1]


def test_weights_count_and_negative_ones_push_down() -> None:
    lists = [ranking([1, 2]), ranking([2, 1])]
    assert ReciprocalRank(weights=(1, 3))(lists).ids.tolist() == [2, 1]
    assert ReciprocalRank(weights=(1, -1))(lists).ids.tolist() == [1, 2]


def test_calibration_puts_scores_of_two_encoders_on_one_scale() -> None:
    # Words and images of CLIP lie near 0.2 +- 0.02, images and images of DINOv2 near 0.1 +- 0.1.
    fuse = CalibratedScores((Calibration(0.2, 0.02), Calibration(0.1, 0.1)))
    # Row 1: (0.26 - 0.2) / 0.02 + (0.2 - 0.1) / 0.1 = 3 + 1 = 4; row 2: 1 + 4 = 5.
    fused = fuse([ranking([1, 2], [0.26, 0.22]), ranking([2, 1], [0.5, 0.2])])
    assert fused.ids.tolist() == [2, 1]
    assert fused.scores.tolist() == pytest.approx([5, 4], abs=1e-4)


def test_a_missing_item_counts_as_the_last_that_was_found() -> None:
    fuse = CalibratedScores((Calibration(0, 1), Calibration(0, 1)))
    # Row 3 is not in the first ranking: 0.4 (its last) + 0.9.
    fused = fuse([ranking([1, 2], [0.8, 0.4]), ranking([3, 1], [0.9, 0.6])])
    assert dict(zip(fused.ids.tolist(), fused.scores.tolist(), strict=True)) == pytest.approx({1: 1.4, 3: 1.3, 2: 1.0})


def test_calibration_is_not_moved_by_the_few_that_belong_to_the_query() -> None:
    usual = np.random.default_rng(0).normal(0.2, 0.03, 10_000)
    fitted = Calibration.fit(np.concatenate([usual, np.full(100, 0.95)]).astype(np.float32))
    assert fitted.mean == pytest.approx(0.2, abs=0.002)
    assert fitted.deviation == pytest.approx(0.03, abs=0.002)


def test_one_ranking_keeps_its_order_and_an_empty_one_changes_nothing() -> None:
    assert ReciprocalRank()([ranking([4, 2, 9])]).ids.tolist() == [4, 2, 9]
    assert ReciprocalRank()([ranking([4, 2]), ranking([])]).ids.tolist() == [4, 2]
    fuse = CalibratedScores((Calibration(0, 1), Calibration(0, 1)))
    assert fuse([ranking([4, 2]), ranking([])]).ids.tolist() == [4, 2]
    assert len(fuse([ranking([]), ranking([])]).ids) == 0


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(QueryError, match="at least one"):
        ReciprocalRank()([])
    with pytest.raises(QueryError, match="2 rankings need as many weights, not 1"):
        ReciprocalRank(weights=(1,))([ranking([1]), ranking([2])])
    with pytest.raises(QueryError, match="finite"):
        ReciprocalRank(weights=(float("nan"),))([ranking([1])])
    with pytest.raises(QueryError, match="as many calibrations"):
        CalibratedScores((Calibration(0, 1),))([ranking([1]), ranking([2])])
    with pytest.raises(QueryError, match="different cosines"):
        Calibration.fit(np.ones(5, np.float32))
