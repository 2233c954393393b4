"""The model of confidence: its features, its regression and what it must never do, against numbers worked by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from lookalike.encoders import load_encoder
from lookalike.encoders.measured import confidence_rows
from lookalike.errors import LookalikeError
from lookalike.search.confidence import Evidence, Logistic, Model, Tail, fit, model_for
from tests.support.confident import MODEL

HUNDRED = np.arange(101) / 100
"""Cosines whose quantiles are themselves: the ninetieth is .90, the ninety-fifth .95."""


def test_the_tail_begins_at_the_ninetieth_percentile_and_halves_every_excess() -> None:
    tail = Tail.of(HUNDRED, 2000)
    assert tail.start == pytest.approx(0.9)
    assert tail.excess == pytest.approx(0.05 / math.log(2))
    assert tail.rows == 2000


def test_the_surprise_is_what_lies_beyond_the_largest_of_so_many_chances() -> None:
    tail = Tail(0.3, 0.1, 1000)
    # A tenth of 1,000 images is in the tail; the largest of 100 exponential excesses is about 0.1 · log 100.
    expected = 0.3 + 0.1 * math.log(100)
    assert tail.surprise(np.array([expected, expected + 0.2, 0.3])) == pytest.approx([0, 2, -math.log(100)])


def test_in_a_larger_collection_the_same_cosine_is_less_surprising() -> None:
    few, many = (Tail(0.3, 0.1, rows).surprise(np.array([0.8]))[0] for rows in (1000, 1_000_000))
    assert few - many == pytest.approx(math.log(1000))


def test_a_small_collection_takes_the_typical_tail_of_its_encoder() -> None:
    typical = Tail(0.5, 0.2, 4000)
    assert Tail.of(np.empty(0), 0, typical) == Tail(0.5, 0.2, 0)
    half = Tail.of(np.full(100, 0.1), 100, typical)
    assert [half.start, half.excess] == pytest.approx([0.3, 0.1])


def test_images_of_the_querys_own_subject_hardly_move_its_tail() -> None:
    plain, mixed = Tail.of(HUNDRED, 101), Tail.of(np.concatenate([HUNDRED, [7.0]]), 102)
    # One more of a hundred moves each quantile by its share of a hundredth, however far away it is.
    assert mixed.start == pytest.approx(plain.start + 0.009)
    assert mixed.excess == pytest.approx(plain.excess + 0.0005 / math.log(2))


def test_cosines_that_are_all_the_same_have_a_tail() -> None:
    assert np.isfinite(Tail.of(np.full(50, 0.4), 50).surprise(np.array([0.4, 0.5]))).all()


def test_the_features_are_in_the_order_of_their_names() -> None:
    evidence = Evidence(np.array([0.9, 0.6]), 0.9, Tail(0.3, 0.1, 10), np.array([14.0, 2.0]))
    assert evidence.features(("cosine", "surprise", "lead", "inliers")) == pytest.approx(
        np.array([[0.9, 6, 0.9, math.log(11)], [0.6, 3, 0.9, 0]])
    )


def test_a_confidence_is_the_logistic_of_its_evidence() -> None:
    predicted = MODEL.predict(Evidence(np.array([0.95, 0.95 - 0.1]), 0.95, Tail(0, 1, 10)))
    # 20 · .95 - 19 = 0 for the nearest; 20 · .85 - 18.5 = -1.5 for the other.
    assert predicted == pytest.approx([0.5, 1 / (1 + math.exp(1.5))])


def test_without_verification_no_image_is_surer_than_the_nearest() -> None:
    eager = replace(MODEL, further=Logistic((20.0, 0.0, 0.0), 10.0))
    assert eager.predict(Evidence(np.array([0.9, 0.8]), 0.9, Tail(0, 1, 10))) == pytest.approx([1 / (1 + math.e)] * 2)


def test_only_candidates_whose_pixels_were_compared_are_judged_by_them() -> None:
    seen = Evidence(np.array([0.9, 0.8, 0.7]), 0.9, Tail(0, 1, 10), np.array([4.0, np.nan, 40.0]))
    plain = MODEL.predict(replace(seen, inliers=None))
    assert MODEL.predict(seen) == pytest.approx([1 / (1 + math.exp(3)), plain[1], 1 / (1 + math.exp(3) / 37**2)])


def test_nothing_has_no_confidence() -> None:
    assert MODEL.predict(Evidence(np.empty(0), 0.0, Tail(0, 1, 0))).shape == (0,)


def test_a_fit_agrees_with_plain_gradient_descent() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(300, 2)) * (1, 5) + (2, -3)
    labels = (rng.random(300) < 1 / (1 + np.exp(-(features @ (1.5, 0.2) - 2)))).astype(float)
    weights = rng.uniform(0.5, 2, 300)
    fitted = fit(features, labels, weights, ridge=0.01)
    mean, scale = np.average(features, axis=0, weights=weights), features.std(axis=0)
    standard, slopes, bias = (features - mean) / scale, np.zeros(2), 0.0
    for _ in range(20_000):
        wrong = weights * (1 / (1 + np.exp(-(standard @ slopes + bias))) - labels) / weights.sum()
        slopes, bias = slopes - 0.5 * (standard.T @ wrong + 0.02 * slopes), bias - 0.5 * wrong.sum()
    assert fitted.weights == pytest.approx(slopes / scale, abs=1e-6)
    assert fitted.bias == pytest.approx(bias - (slopes / scale) @ mean, abs=1e-6)


def test_labels_that_can_be_separated_give_finite_weights() -> None:
    fitted = fit(np.array([[0.1], [0.2], [0.8], [0.9]]), np.array([0, 0, 1, 1]))
    assert np.isfinite([*fitted.weights, fitted.bias]).all()
    assert fitted.predict(np.array([[0.1], [0.9]])) == pytest.approx([0, 1], abs=0.05)


def test_evidence_that_would_count_against_a_hit_is_left_out() -> None:
    rng = np.random.default_rng(2)
    useful, backwards = rng.normal(size=500), rng.normal(size=500)
    labels = (useful - backwards + rng.normal(size=500) > 0).astype(float)
    fitted = fit(np.column_stack([useful, backwards]), labels)
    assert fitted.weights[1] == 0
    alone = fit(useful[:, None], labels)
    assert [fitted.weights[0], fitted.bias] == pytest.approx([alone.weights[0], alone.bias])


def test_labels_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(LookalikeError, match="3 labels that are all the same; give both"):
        fit(np.zeros((3, 1)), np.ones(3))


def test_a_model_comes_back_from_its_file_as_it_was() -> None:
    assert Model.from_json(json.loads(json.dumps(MODEL.to_json()))) == MODEL


ROWS = confidence_rows()


@pytest.mark.parametrize("name", ["efficientnet-lite0", "rootsift"])
def test_a_row_is_of_the_vectors_that_its_encoder_makes_now(name: str) -> None:
    assert ROWS[name]["fingerprint"] == load_encoder(name).fingerprint
    assert model_for(ROWS[name]["fingerprint"]) == Model.from_json(ROWS[name]["model"])


def test_an_encoder_without_a_row_claims_nothing() -> None:
    assert model_for(load_encoder("thumbnail").fingerprint) is None
    assert model_for(load_encoder("efficientnet-lite0@fit-224").fingerprint) is None


@pytest.mark.parametrize("name", ROWS)
def test_in_every_row_more_evidence_makes_a_hit_more_likely(name: str) -> None:
    model = Model.from_json(ROWS[name]["model"])
    tail, cosines = model.typical, np.linspace(-1, 1, 201)
    as_first = np.array([model.predict(Evidence(cosines[at : at + 1], cosines[at], tail))[0] for at in range(201)])
    as_further = model.predict(Evidence(cosines, 1.01, tail))
    matched = model.predict(Evidence(np.full(60, 0.5), 0.5, tail, np.arange(60.0)))
    for likely in (as_first, as_further, matched):
        assert (np.diff(likely) >= 0).all()
    assert as_first[-1] > 0.99
    assert as_first[100] < 0.05
    larger = model.predict(Evidence(np.array([0.6]), 0.6, replace(tail, rows=100 * tail.rows)))[0]
    assert larger <= model.predict(Evidence(np.array([0.6]), 0.6, tail))[0]
