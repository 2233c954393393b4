"""From a benchmark to how far confidences can be believed: queries with and without positives, folds, and figures."""

import json
from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import EvaluationError
from lookalike.evaluation.answers import ask_collection, embed_gallery
from lookalike.evaluation.calibration import (
    Verdict,
    _weights,
    bins,
    calibrate,
    cross_validated,
    fit_model,
    predicted,
    summarised,
)
from lookalike.evaluation.calibration_samples import CalibrationQuery, Sample, collect, queries_of
from lookalike.evaluation.datasets import load
from lookalike.evaluation.datasets.benchmark import BenchmarkQuery, Truth
from lookalike.evaluation.page import save_report
from lookalike.evaluation.run import evaluate
from lookalike.search import confidence
from lookalike.search.confidence import expected_error
from tests.evaluation.angles import AngleEncoder, paint, vgg
from tests.service.browsing import textured
from tests.support.confident import MODEL
from tests.support.pictures import PixelEncoder

WHOLE = "0 0 32 24"
TRUTHS = {"q": (f"a {WHOLE}", "a;b;c", "d"), "r": (f"x {WHOLE}", "y", "")}
ANGLES = {"a": 0.0, "b": 4.0, "c": 8.0, "d": 2.0, "x": 90.0, "y": 94.0, "far": 200.0}


def test_every_positive_is_a_query_with_its_positives_and_without(tmp_path: Path) -> None:
    queries = queries_of(load("vgg", vgg(tmp_path / "set", ANGLES, TRUTHS)))
    assert [(query.query.name, query.removed) for query in queries[::2]] == [
        ("q", False), ("r", False), ("a.png", False), ("b.png", False), ("c.png", False),
        ("x.png", False), ("y.png", False),
    ]  # fmt: skip
    assert [query.removed for query in queries] == [False, True] * 7
    by_name = {query.query.name: query for query in queries}
    assert by_name["q"].query.box is not None
    assert by_name["b.png"].query.box is None
    assert by_name["b.png"].positives == {"a.png", "c.png"}
    assert by_name["b.png"].hidden == {"b.png", "d.png"}
    # The photo of query r is no positive of it, but shows the same thing.
    assert by_name["y.png"].positives == {"x.png"}
    assert len({by_name[name].group for name in ("q", "a.png", "c.png")}) == 1
    assert by_name["q"].group != by_name["r"].group == by_name["y.png"].group


def test_queries_that_share_a_positive_through_others_are_a_group(tmp_path: Path) -> None:
    truths = {"one": (f"a {WHOLE}", "b", ""), "two": (f"c {WHOLE}", "d", ""), "three": (f"x {WHOLE}", "b;d", "")}
    queries = queries_of(load("vgg", vgg(tmp_path / "set", ANGLES, truths)))
    assert len({query.group for query in queries}) == 1


def test_a_leave_one_out_set_has_each_photo_once(tmp_path: Path) -> None:
    root = vgg(tmp_path / "set", {}, {})
    for name in ("one", "two"):
        for number in range(3):
            vgg_folder = root / "images" / name
            vgg_folder.mkdir(parents=True, exist_ok=True)
            paint(vgg_folder / f"{number}.png", 90 * (name == "two") + number)
    queries = queries_of(load("folders", root / "images"))
    assert len(queries) == 12
    assert {len(query.positives) for query in queries} == {2}


def plain_error(confidences: list[float], right: list[bool]) -> float:
    """The expected calibration error as its definition says it."""
    total = 0.0
    for number in range(10):
        low, high = number / 10, (number + 1) / 10
        inside = [at for at, value in enumerate(confidences) if low <= value < high or (value == 1 and number == 9)]
        if inside:
            mean = sum(confidences[at] for at in inside) / len(inside)
            share = sum(right[at] for at in inside) / len(inside)
            total += len(inside) / len(confidences) * abs(mean - share)
    return total


@pytest.mark.parametrize("seed", range(5))
def test_the_expected_error_agrees_with_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidences = np.concatenate([rng.random(rng.integers(1, 200)), [0.0, 1.0]])
    right = rng.random(len(confidences)) < confidences**2
    error = expected_error(confidences, right)
    assert error == pytest.approx(plain_error(confidences.tolist(), right.tolist()), abs=1e-6)


def test_confidences_that_are_kept_have_no_error() -> None:
    confidences, right = np.array([0.25] * 4 + [1.0]), np.array([True, False, False, False, True])
    diagram = bins(confidences, right)
    assert [(row.low, row.answers, row.confidence, row.right) for row in diagram] == [
        (0.2, 4, 0.25, 0.25),
        (0.9, 1, 1, 1),
    ]
    assert expected_error(confidences, right) == 0


def verdict(confidences: list[float], right: list[int], removed: bool) -> Verdict:
    return Verdict(np.array(confidences), np.array(right, np.bool_), removed)


def test_the_figures_worked_by_hand() -> None:
    verdicts = [
        verdict([0.9, 0.8], [1, 1], False),
        verdict([0.7, 0.1], [1, 0], False),
        verdict([0.3, 0.1], [1, 0], False),
        verdict([0.6, 0.1], [0, 1], False),
        verdict([0.1, 0.0], [0, 0], True),
        # Found, since one of the first ten is more likely than not.
        verdict([0.4, 0.55], [0, 0], True),
    ]
    figures = summarised(verdicts, "by hand", False)
    assert (figures.present, figures.removed, figures.first_right) == (4, 2, 0.75)
    assert figures.false_found == 0.5
    # Of the right first results .9, .7 and .3, two are above .5, and as many above 98 % between .1 and .55.
    assert figures.kept == figures.kept_at_two_percent == pytest.approx(2 / 3)
    assert figures.error == pytest.approx((0.1 + 0.3 + 0.7 + 0.6 + 0.1 + 0.4) / 6)


def made(group: int, removed: bool, cosines: list[float], right: list[int], groups: list[int], inliers: int) -> Sample:
    query = BenchmarkQuery(f"{group}", Path("photo.jpg"), None, {"all": Truth(frozenset())})
    asked = CalibrationQuery(query, group, frozenset(), frozenset(), removed)
    usual = np.linspace(0, 0.4, 101).astype(np.float32)
    labels = np.array(right, np.bool_)
    scores = np.array(cosines, np.float32)
    return Sample(asked, scores, labels, np.array(groups), usual, 1000, np.array([inliers, 4, 4], np.float64))


def answers(seed: int = 0) -> list[Sample]:
    """Three subjects, forty answers each: right results have cosines about .8, wrong ones about .5."""
    rng = np.random.default_rng(seed)
    samples = []
    for group in range(3):
        for number in range(40):
            near, far = sorted(rng.normal(0.8, 0.1, 2))[::-1], rng.normal(0.5, 0.1)
            wrong = sorted(rng.normal(0.5, 0.1, 3))[::-1]
            other = (group + 1) % 3
            samples += [
                made(group, False, [near[0], near[1], far], [1, 1, 0], [group, group, other], int(rng.integers(4, 60))),
                made(group, True, wrong, [0, 0, 0], [other, -1, -1], 4 + int(number % 9 == 0)),
            ]
    return samples


def test_a_model_is_not_fitted_on_the_group_that_it_judges() -> None:
    samples = answers()
    without = fit_model(samples, [0])
    # However the answers of group 0 and its photos among others' results look, nothing changes.
    changed = [
        made(0, False, [-0.5, -0.6, -0.7], [1, 1, 1], [0, 0, 0], 4) if sample.query.group == 0 else sample
        for sample in samples
    ]
    assert fit_model(changed, [0]) == without
    spoiled = [
        Sample(
            sample.query, sample.cosines, sample.right | (sample.groups == 0), sample.groups, sample.usual, sample.rows,
            sample.inliers,
        )
        for sample in samples
    ]  # fmt: skip
    assert fit_model(spoiled, [0]) == without
    assert fit_model(spoiled) != fit_model(samples)


def test_a_cross_validation_judges_each_answer_once_by_the_model_of_the_others() -> None:
    samples = answers()
    verdicts = cross_validated(samples, verify=False)
    assert len(verdicts) == len(samples)
    first = [sample for sample in samples if sample.query.group == 0]
    model = fit_model(samples, [0])
    for sample, judged in zip(first, verdicts, strict=False):
        assert (judged.confidences == predicted(sample, model, False).confidences).all()


def test_confidences_of_answers_that_follow_the_model_are_calibrated() -> None:
    for figures in calibrate(answers(), shipped=MODEL)[:2]:
        assert figures.error < 0.1
        assert figures.kept > 0.8
        assert figures.false_found < 0.1


def test_a_single_subject_cannot_be_cross_validated() -> None:
    with pytest.raises(EvaluationError, match="two subjects or more"):
        cross_validated([sample for sample in answers() if sample.query.group == 0], False)


@pytest.fixture
def towns(tmp_path: Path) -> Path:
    """Four subjects of three photos, each photo 3° from the next, and nothing between them but other subjects."""
    angles = {
        f"{name}{number}": start + 3.0 * number
        for name, start in zip("abcd", (0, 40, 130, 220), strict=True)
        for number in range(3)
    }
    truths = {name: (f"{name}0 {WHOLE}", f"{name}1;{name}2", "") for name in "abcd"}
    return vgg(tmp_path / "towns", angles, truths)


def test_an_evaluation_has_a_calibration_where_it_is_requested(towns: Path, tmp_path: Path) -> None:
    report = evaluate("vgg", towns, AngleEncoder(), cache=tmp_path / "cache", calibration=True)
    plain, verified = report.calibrations
    assert (plain.verify, verified.verify) == (False, True)
    assert (plain.present, plain.removed, plain.first_right) == (16, 16, 1)
    assert sum(row.answers for row in plain.diagram) == 32
    document = json.loads(json.dumps(report.to_json()))["calibration"][0]
    assert {"false_found", "kept", "error", "diagram"} <= set(document)
    assert document["diagram"][0]["answers"] == plain.diagram[0].answers
    for text in (report.text(), report.markdown()):
        assert "calibration: 16 queries with their positives, and 16 without" in text
        assert "false found" in text
    assert any("false found" in path.read_text("utf-8") for path in save_report(report, tmp_path / "out"))
    without = evaluate("vgg", towns, AngleEncoder(), cache=tmp_path / "cache")
    assert without.calibrations == ()
    assert "calibration" not in without.to_json()


def test_the_report_cannot_be_calibrated(towns: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="does not go with --calibration"):
        evaluate("vgg", towns, AngleEncoder(), "report", cache=tmp_path / "cache", calibration=True)


def test_the_confidence_of_an_answer_uses_what_calibration_measures() -> None:
    sample = answers()[0]
    assert predicted(sample, MODEL, False).confidences == pytest.approx(
        MODEL.predict(confidence.Evidence(sample.cosines, float(sample.cosines[0]), sample.tail(MODEL.typical)))
    )


def test_distractors_are_queries_of_which_there_is_nothing_else(towns: Path, tmp_path: Path) -> None:
    for number, angle in enumerate((85.0, 175.0, 300.0, 302.0)):
        paint(tmp_path / "more" / f"{number}.png", angle)
    options = {"cache": tmp_path / "cache", "calibration": True}
    report = evaluate("vgg", towns, AngleEncoder(), distractors=[tmp_path / "more"], **options)  # type: ignore[arg-type]
    plain = report.calibrations[0]
    assert (plain.present, plain.removed, plain.ordinary) == (16, 16, 4)
    # Two of them are as near to each other as photos of one subject, and nothing says that they are not.
    assert plain.ordinary_found in (0.0, 0.5)
    assert sum(row.answers for row in plain.diagram) == 32
    assert "4 distractors as queries" in report.text()
    without = evaluate("vgg", towns, AngleEncoder(), **options)  # type: ignore[arg-type]
    assert without.to_json()["calibration"][0]["ordinary_found"] is None


def test_an_ordinary_photo_that_shares_points_with_another_is_no_query(tmp_path: Path, own_cache: Path) -> None:
    root = vgg(tmp_path / "set", ANGLES, TRUTHS)
    (tmp_path / "more").mkdir()
    for seed in range(3):
        textured(seed).save(tmp_path / "more" / f"{seed}.png")
    textured(0).crop((20, 20, 460, 340)).save(tmp_path / "more" / "part.png")
    benchmark = load("vgg", root, [tmp_path / "more"])
    with embed_gallery(benchmark, PixelEncoder(), tmp_path / "cache").collection as collection:
        samples = collect(benchmark, collection, ask_collection(collection))
    asked = {sample.query.query.name.rpartition("/")[2] for sample in samples if sample.query.is_ordinary}
    assert asked == {"1.png", "2.png"}


def test_ordinary_photos_together_count_an_eighth_of_all_groups() -> None:
    samples = [*answers(), *(made(-2 - at, True, [0.4, 0.3, 0.2], [0, 0, 0], [-1, -1, -1], 4) for at in range(10))]
    weights = _weights(samples)
    assert [weights[group] for group in range(3)] == pytest.approx([1 / 80] * 3)
    assert sum(weights[-2 - at] for at in range(10)) == pytest.approx(3 / 8)
