"""A confidence fitted to labels: believable on things that it was not fitted on, or none."""

from dataclasses import replace

import numpy as np
import pytest

from lookalike.analysis import refit
from lookalike.analysis.cross_validation import in_pairs
from lookalike.analysis.refit import Mapped, Refit, Sample, fitted, refitted
from lookalike.encoders.adaptation import Coordinates, Method, coordinates
from lookalike.evaluation import calibration
from lookalike.search.confidence import Evidence, Logistic, Model, Tail, expected_error, read_model
from tests.support.confident import MODEL
from tests.support.vectors import things

WITHIN = Method("within", "labels", 0.3)


def labelled(seed: int, noise: bool = False, others: int = 1500) -> tuple[Coordinates, np.ndarray]:
    rows, background = things(24, seed, 1.0, noise), things(others, seed + 100, 1.0, noise=True, times=1)
    return coordinates(rows, background, rows.mean(axis=0, dtype=np.float64)), np.arange(144) // 6


def mapped(seed: int) -> Mapped:
    """As `labelled` has them; a map of held-out parts alone is what these tests are about."""
    return Mapped(144 / 1644, things(24, seed, 1.0), things(1500, seed + 100, 1.0, noise=True, times=1))


def answers(rows: np.ndarray, others: np.ndarray, model: Model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The confidence of the nearest image, whether it is right, and whether all right ones were removed."""
    confidences, right, removed = [], [], []
    groups, gallery = np.arange(len(rows)) // 6, np.vstack([rows, others])
    for query in range(len(rows)):
        cosines = rows @ rows[query]
        is_other = groups != groups[query]
        wrong = np.concatenate([cosines[is_other], others @ rows[query]])
        best = cosines[~is_other & (np.arange(len(rows)) != query)].max()
        for present in (True, False):
            lead = max(best, wrong.max()) if present else wrong.max()
            usual = np.delete(gallery @ rows[query], [query] if present else np.flatnonzero(~is_other))
            tail = Tail.of(usual, len(wrong) + 5 * present, model.typical)
            confidences += model.predict(Evidence(np.array([lead]), float(lead), tail)).tolist()
            right.append(present and best > wrong.max())
            removed.append(not present)
    return np.array(confidences), np.array(right), np.array(removed)


def test_what_it_promises_holds_for_things_that_nobody_labelled() -> None:
    """One collection's false answers are known to some points only; over eight they are what was measured."""
    measured, met = [], []
    for seed in range(8):
        finding = refitted(*labelled(seed), Method(), mapped(seed), seed=seed)
        assert finding.model is not None
        unseen, others = things(24, seed + 1000, 1.0), things(1500, seed + 2000, 1.0, noise=True, times=1)
        confidences, right, removed = answers(unseen, others, finding.model)
        sure = confidences > 0.5
        measured.append((finding.false_found, finding.kept, finding.error))
        met.append((sure[removed].mean(), sure[right].mean(), expected_error(confidences, right)))
    promise, truth = np.mean(measured, axis=0), np.mean(met, axis=0)
    assert truth[0] == pytest.approx(promise[0], abs=0.03)
    # A model of all parts keeps more than those of four of them did.
    assert truth[1] > promise[1] - 0.03
    assert truth[2] == pytest.approx(promise[2], abs=0.03)
    assert truth[2] < 0.07


@pytest.mark.parametrize("method", [Method(), WITHIN])
def test_of_noise_there_is_none(method: Method) -> None:
    for seed in range(5):
        finding = refitted(*labelled(seed, noise=True), method, mapped(seed), seed=seed)
        assert finding.to_store() is None
        assert finding.shortfall == "fewer than 50 first results are right"


def test_most_planted_structure_gives_one_mapped_and_unmapped() -> None:
    for method in (Method(), WITHIN):
        good = [refitted(*labelled(seed), method, mapped(seed), seed=seed).to_store() is not None for seed in range(5)]
        assert sum(good) >= 3


def test_nothing_is_judged_by_what_it_was_fitted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that judges a part is fitted to other groups, and beside the other half of the images in no group."""
    data, groups = labelled(0)
    parts = list(refit._parts(data, groups, WITHIN, mapped(0), np.random.default_rng(0)))
    assert [len(part.measuring) for part in parts] == [len(part.fitting) for part in parts]
    of_parts = [{sample.group for sample in part.measuring} for part in parts]
    assert sum(len(numbers) for numbers in of_parts) == len(set.union(*of_parts)) == 24
    # A group, five of each: the other groups of the part, and 750 of the 1,500.
    for part, numbers in zip(parts, of_parts, strict=True):
        rows = {(sample.removed, sample.rows) for sample in (*part.measuring, *part.fitting)}
        assert rows == {(False, 6 * len(numbers) - 1 + 750), (True, 6 * (len(numbers) - 1) + 750)}
        assert not any(sample.right.any() for sample in part.measuring if sample.removed)
    trained: list[set[int]] = []

    def noted(samples: list[Sample], usual: Model | None) -> Model:
        trained.append({sample.group for sample in samples})
        return MODEL

    monkeypatch.setattr(refit, "fitted", noted)
    refit._measured(parts, Refit(144, 750), None)
    assert [numbers & own for numbers, own in zip(trained, of_parts, strict=False)] == [set()] * 5


def test_labels_that_are_too_few_claim_nothing_and_say_why() -> None:
    data, groups = labelled(0)
    few = Coordinates(data.labelled[:96], data.background, data.mean, data.dim)
    assert (
        refitted(few, groups[:96], Method(), replace(mapped(0), labelled=mapped(0).labelled[:96])).shortfall
        == "96 labelled images to ask with, and 100 are needed"
    )
    alone = Coordinates(data.labelled, data.background[:0], data.mean, data.dim)
    assert refitted(alone, groups, Method(), mapped(0)).shortfall == (
        "18 other images beside those of a held-out group, and 50 are needed"
    )


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({}, None),
        ({"first_right": 0.24}, "fewer than 50 first results are right"),
        ({"false_found": 0.06}, "6.0% of the queries without a match are answered, and 5% may be"),
        ({"kept": 0.4}, "40% of the right first results are kept, and 50% must be"),
        ({"error": 0.11}, "calibration error 0.110, and 0.1 may be"),
    ],
)
def test_the_rule(figures: dict[str, float], reason: str | None) -> None:
    good = {"first_right": 0.9, "false_found": 0.05, "kept": 0.8, "error": 0.1}
    finding = Refit(200, 500, **{**good, **figures}, model=MODEL)
    assert (finding.shortfall, finding.to_store() is None) == (reason, reason is not None)


@pytest.mark.parametrize("seed", range(3))
def test_the_error_is_that_of_the_evaluations_diagram(seed: int) -> None:
    random = np.random.default_rng(seed)
    confidences = np.concatenate([random.random(200), [0.0, 1.0]])
    right = random.random(202) < confidences**2
    rows = calibration.bins(confidences, right)
    plain = sum(row.answers * abs(row.confidence - row.right) for row in rows) / len(confidences)
    assert expected_error(confidences, right) == pytest.approx(plain, abs=1e-6)


def test_pixels_count_as_the_encoder_has_it_and_else_not_at_all() -> None:
    data, groups = labelled(0)
    samples = [
        s for part in refit._parts(data, groups, Method(), mapped(0), np.random.default_rng(0)) for s in part.fitting
    ]
    alone, beside = fitted(samples), fitted(samples, MODEL)
    assert not alone.sees_pixels
    evidence = samples[0].evidence(alone.typical)
    seen = Evidence(evidence.cosines, evidence.lead, evidence.tail, np.full(len(evidence.cosines), 50.0))
    assert alone.predict(seen) == pytest.approx(alone.predict(evidence))
    assert (beside.verified, beside.verified_further, beside.typical) == (
        MODEL.verified,
        MODEL.verified_further,
        MODEL.typical,
    )
    assert in_pairs(groups).all()


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        {},
        {**MODEL.to_json(), "first": {"weights": [1.0], "bias": 0.0}},
        {**MODEL.to_json(), "first": {"weights": ["a", "b"], "bias": 0.0}},
        {**MODEL.to_json(), "typical": {"start": 0.0, "excess": 0.0, "rows": 1}},
        {**MODEL.to_json(), "typical": {"start": float("nan"), "excess": 1.0, "rows": 1}},
        {**MODEL.to_json(), "further": {"weights": [1.0, 1.0, 1.0], "bias": float("inf")}},
    ],
)
def test_what_is_no_model_is_not_taken_for_one(values: object) -> None:
    assert read_model(values) is None
    assert read_model(MODEL.to_json()) == MODEL
    assert MODEL.first == Logistic((20.0, 0.0), -19.0)
