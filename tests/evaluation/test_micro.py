"""µAP by hand, against a plain count over all thresholds, and on copies in the layouts of DISC21 and Copydays."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets import load
from lookalike.evaluation.micro import PairScores
from lookalike.evaluation.page import report_page
from lookalike.evaluation.run import evaluate
from lookalike.evaluation.trec import TrecFiles
from tests.evaluation.angles import AngleEncoder, paint


def pairs(scores: list[float], right: list[int], positives: int, most: int = 100) -> PairScores:
    collected = PairScores(most)
    collected.add(np.array(scores, np.float32), np.array(right, np.bool_), positives)
    return collected


def test_average_precision_over_all_pairs_worked_by_hand() -> None:
    """By falling score: right, wrong, right; one of three is never found: (1/1 + 2/3) / 3."""
    collected = pairs([0.9, 0.5], [1, 1], 2)
    collected.add(np.array([0.7], np.float32), np.array([False]), 1)
    figures = collected.figures()
    assert figures.average_precision == pytest.approx((1 + 2 / 3) / 3, abs=1e-12)
    assert figures.recall_at_p90 == pytest.approx(1 / 3)
    assert (figures.pairs, figures.positives) == (3, 3)


def test_pairs_of_one_score_are_found_together() -> None:
    """A right and a wrong pair tie: whichever is first, their precision is a half."""
    assert pairs([0.5, 0.5], [1, 0], 1).figures().average_precision == pytest.approx(1 / 2)
    assert pairs([0.5, 0.5], [0, 1], 1).figures().average_precision == pytest.approx(1 / 2)


def plainly(scores: list[float], right: list[bool], positives: int) -> tuple[float, float]:
    """Precision and recall counted anew at every threshold."""
    area, before, best = 0.0, 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        above = [of for score, of in zip(scores, right, strict=True) if score >= threshold]
        precision, recall = sum(above) / len(above), sum(above) / positives
        area, before = area + (recall - before) * precision, recall
        best = max(best, recall) if precision >= 0.9 else best
    return area, best


@pytest.mark.parametrize("seed", range(10))
def test_many_queries_with_ties_equal_a_plain_count(seed: int) -> None:
    random = np.random.default_rng(seed)
    collected, positives = PairScores(), 0
    scores: list[float] = []
    right: list[bool] = []
    for _ in range(20):
        drawn = np.sort(random.integers(0, 12, 15) / 12)[::-1].astype(np.float32)
        hits = random.random(15) < drawn**4
        wanted = int(hits.sum()) + int(random.integers(0, 2))
        collected.add(drawn, hits, wanted)
        scores, right, positives = scores + drawn.tolist(), right + hits.tolist(), positives + wanted
    area, best = plainly(scores, right, positives)
    assert collected.figures().average_precision == pytest.approx(area, abs=1e-9)
    assert collected.figures().recall_at_p90 == pytest.approx(best, abs=1e-9)


def test_only_the_best_pairs_are_kept_and_none_of_a_score_that_is_cut_through() -> None:
    collected = PairScores(most=3)
    for score in (0.1, 0.9, 0.3, 0.8, 0.3, 0.2, 0.3, 0.7):
        collected.add(np.array([score], np.float32), np.array([score > 0.25]), int(score > 0.25))
    figures = collected.figures()
    assert (figures.pairs, figures.positives) == (3, 6)
    assert figures.average_precision == pytest.approx(3 / 6)
    tied = pairs([0.9, 0.5, 0.5, 0.5], [1, 1, 1, 1], 4, most=3)
    assert tied.figures().pairs == 1
    tied.add(np.array([0.7, 0.5], np.float32), np.array([True, True]), 2)
    assert tied.figures().pairs == 2, "a score that was dropped once stays out"


def test_without_positives_and_without_pairs_there_is_no_figure() -> None:
    assert np.isnan(pairs([0.5], [0], 0).figures().average_precision)
    assert pairs([], [], 2).figures().average_precision == 0


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """Two copies and a photo that is none, among three references."""
    for name, degrees in {"R1": 0, "R2": 40, "R3": 90}.items():
        paint(tmp_path / "references" / f"{name}.png", degrees)
    for name, degrees in {"Q1": 2, "Q2": 60, "Q3": 91, "unlisted": 5}.items():
        paint(tmp_path / "queries" / f"{name}.png", degrees)
    (tmp_path / "ground_truth.csv").write_text("query_id,reference_id\nQ1,R1\nQ2,R2\nQ3,\n")
    return tmp_path


def test_copies_of_disc21_are_judged_by_one_threshold_for_all(disc: Path, tmp_path: Path) -> None:
    """Best pairs by angle: Q3-R3 (1, wrong), Q1-R1 (2), Q2-R2 (20): (1/2 + 2/3) / 2."""
    report = evaluate("copies", disc, AngleEncoder(), k=[1], cache=tmp_path / "cache")
    assert report.micro
    assert report.micro.average_precision == pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-9)
    assert (report.micro.pairs, report.micro.positives) == (9, 2)
    assert report.setups["all"].at["hit_rate"][1] == 1
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["micro"]["average_precision"] == report.micro.average_precision
    for text in (report.text(), report.markdown(), report_page(report)):
        assert "µAP" in text
        assert ".5833" in text
    assert report.heading() == "copies · protocol copies · angles · whole photos · 3 queries · 3 images"


def test_a_ground_truth_without_heading_or_with_several_references_is_read(disc: Path) -> None:
    (disc / "ground_truth.csv").write_text("Q1,R1\nQ1,R2\n\nQ3\n")
    queries = load("copies", disc).queries
    assert {query.name: sorted(query.truths["all"].positives) for query in queries} == {
        "Q1": ["R1.png", "R2.png"],
        "Q3": [],
    }
    assert load("copies", disc / "ground_truth.csv").queries == queries


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Q1,R9\n", r"1 ground-truth name is not among the 3 images .*R9 \(Q1 in ground_truth\.csv\)"),
        ("Q9,R1\n", r"not among the 4 images .*Q9 \(ground_truth\.csv\)"),
        ("Q1,R1,0.5\n", r"ground_truth\.csv line 1: expected query_id,reference_id"),
        (",R1\n", r"line 1: expected query_id,reference_id"),
        ("Q1,\n", "no query has a positive"),
    ],
)
def test_a_ground_truth_of_copies_that_does_not_hold_together_is_refused(disc: Path, text: str, reason: str) -> None:
    (disc / "ground_truth.csv").write_text(text)
    with pytest.raises(EvaluationError, match=reason):
        load("copies", disc)


def test_copydays_has_a_photo_in_the_last_digits_but_two_and_only_originals_are_searched(tmp_path: Path) -> None:
    root = tmp_path / "copydays"
    for name, degrees in {
        "original/200000": 0,
        "original/200100": 45,
        "strong/200001": 3,
        "strong/200102": 50,
        "jpegqual/75/200000": 1,
        "crops/10/200100": 44,
    }.items():
        paint(root / f"{name}.png", degrees)
    benchmark = load("copies", root)
    assert {query.name: set(query.truths["all"].positives) for query in benchmark.queries} == {
        "strong/200001.png": {"200000.png"},
        "strong/200102.png": {"200100.png"},
        "jpegqual/75/200000.png": {"200000.png"},
        "crops/10/200100.png": {"200100.png"},
    }
    report = evaluate(benchmark, None, AngleEncoder(), k=[1], cache=tmp_path / "cache")
    assert report.micro
    assert (report.micro.average_precision, report.gallery.images) == (1, 2)


def test_where_neither_layout_is_there_both_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        EvaluationError, match=r"expected one ground truth \.csv .*\(DISC21\), there is none, .*Copydays"
    ):
        load("copies", tmp_path)
    (tmp_path / "original").mkdir()
    with pytest.raises(EvaluationError, match="no copies in strong/, jpegqual/, crops/ beside original/"):
        load("copies", tmp_path)


def test_a_run_has_no_pairs_of_all_queries(tmp_path: Path, disc: Path) -> None:
    from lookalike.evaluation.trec import evaluate_run

    files = TrecFiles(tmp_path / "run", tmp_path / "qrels")
    evaluate("copies", disc, AngleEncoder(), k=[1], cache=tmp_path / "cache", files=files)
    with pytest.raises(EvaluationError, match="a run is not scored by protocol 'copies'"):
        evaluate_run(tmp_path / "run", tmp_path / "qrels", protocol="copies")


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    angles = {
        "mug_000/query/Q000_00": 0,
        "mug_000/pos/P000_00": 5,
        "mug_000/pos/P000_01": 30,
        "toy_001/query/Q001_00": 60,
    }
    for name, degrees in (angles | {"toy_001/pos/P001_00": 50}).items():
        paint(tmp_path / "set" / "ilias_core" / f"{name}.png", degrees)
        (tmp_path / "set" / "ilias_core" / f"{name}_bbox.txt").write_text("1 1 5 5\n")
    paint(tmp_path / "yfcc" / "1.png", 10)
    with tarfile.open(tmp_path / "yfcc.tar", "w") as shard:
        shard.add(tmp_path / "yfcc" / "1.png", "1.png")
    return tmp_path / "set"


def test_objects_of_ilias_are_searched_without_the_queries(objects: Path, tmp_path: Path) -> None:
    """Of the mug: P000_00 (5), the distractor (10), P000_01 (30): (1/1 + 2/3) / 2; of the toy: the first."""
    more = [tmp_path / "yfcc"]
    report = evaluate("ilias", objects, AngleEncoder(), k=[4], distractors=more, cache=tmp_path / "cache")
    assert (report.protocol, report.gallery.images, report.gallery.distractors) == ("ilias", 4, 1)
    assert report.setups["all"].at["map"][4] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert any("mAP@1000" in note for note in report.notes)


def test_similarities_are_what_the_script_of_ilias_reads(objects: Path, tmp_path: Path) -> None:
    """Its evaluation, ported: the object is the first part of a query's id, results are sorted by similarity."""
    files = TrecFiles(similarities=tmp_path / "similarities.json")
    more = [tmp_path / "yfcc.tar"]
    report = evaluate("ilias", objects, AngleEncoder(), k=[4], distractors=more, cache=tmp_path / "cache", files=files)
    assert report.gallery.distractors == 1
    table = json.loads((tmp_path / "similarities.json").read_text())
    assert list(table) == ["mug_000/query/Q000_00.png", "toy_001/query/Q001_00.png"]
    assert next(iter(table["toy_001/query/Q001_00.png"])) == "toy_001/pos/P001_00.png"
    aps = []
    for query, similarities in table.items():
        best = sorted(similarities, key=lambda name: -similarities[name])[:4]
        right = [name.startswith(query.split("/")[0] + "/pos/") for name in best]
        precisions = [sum(right[:at]) / at for at in range(1, len(best) + 1) if right[at - 1]]
        aps.append(sum(precisions) / min(4, sum(right)))
    assert report.setups["all"].at["map"][4] == pytest.approx(float(np.mean(aps)), abs=1e-9)
    with pytest.raises(EvaluationError, match="no <object>/query/ with images"):
        load("ilias", tmp_path / "yfcc")
