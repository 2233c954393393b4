"""The report's faults, replayed on numbers checked by hand and on a benchmark with known rankings."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.errors import EvaluationError
from lookalike.evaluation.datasets.benchmark import Benchmark, BenchmarkQuery, Truth
from lookalike.evaluation.metrics import Judged
from lookalike.evaluation.replay import (
    GALLERY,
    IMAGENET_MEAN,
    IMAGENET_STD,
    QUERY,
    PreprocessedEncoder,
    explain,
    replayed_average_precision_at,
    replayed_table,
)
from lookalike.evaluation.report import decimal
from lookalike.evaluation.run import evaluate
from lookalike.types import Gallery, Probe, Ranking
from tests.evaluation.angles import AngleEncoder, paint, vgg

KS = (5, 10, 15, 20)


def first_five(*hits: int, total: int = 40) -> Judged:
    return Judged(np.array(hits, np.int64), 5, total)


def test_233_hits_in_the_top_5_of_55_queries_print_the_reports_table() -> None:
    """46 queries with 5 hits and one with 3 make 233; the other 8 have none."""
    judged = [first_five(0, 1, 2, 3, 4)] * 46 + [first_five(0, 2, 4)] + [first_five()] * 8
    assert sum(len(query.positions) for query in judged) == 233
    table = replayed_table(judged, KS)
    assert [decimal(table["precision"][k]) for k in KS] == [".8473", ".4236", ".2824", ".2118"]


def test_the_reports_map_falls_with_k_because_nothing_more_was_retrieved() -> None:
    perfect = first_five(0, 1, 2, 3, 4)
    assert [replayed_average_precision_at(perfect, k) for k in KS] == [1, 1 / 2, 1 / 3, 1 / 4]
    few = first_five(0, 1, 2, 3, 4, total=6)
    assert [replayed_average_precision_at(few, k) for k in KS] == [1, 5 / 6, 5 / 6, 5 / 6]


def test_gallery_images_lose_their_borders_and_queries_another_part_of_them() -> None:
    picture = Image.new("RGB", (512, 256), "white")
    picture.paste("red", (100, 0, 412, 256))
    for step in (GALLERY, QUERY):
        assert step(picture).size == (224, 224)
        assert step(Image.new("RGB", (20, 300))).size == (224, 224)
    assert GALLERY(picture).getcolors() == [(224 * 224, (255, 0, 0))], "the white sides are cut away"


def test_a_query_is_normalised_by_halves_as_an_encoder_with_imagenet_statistics_sees_it() -> None:
    seen = np.asarray(QUERY(Image.new("RGB", (300, 300), (255, 128, 0))))[0, 0] / 255
    right = (seen - IMAGENET_MEAN) / IMAGENET_STD
    assert right == pytest.approx((np.array([255, 128, 0]) / 255 - 0.5) / 0.5, abs=0.02)


def test_an_encoder_with_another_preprocessing_is_another_encoder() -> None:
    inner = AngleEncoder()
    outer = PreprocessedEncoder(inner, GALLERY)
    assert (outer.name, outer.dim, outer.decode_size) == ("angles", 2, 256)
    assert len({inner.fingerprint, outer.fingerprint, PreprocessedEncoder(inner, QUERY).fingerprint}) == 3
    vectors = outer.encode([Image.new("RGB", (300, 260), (228, 128, 128))])
    assert vectors[0] == pytest.approx([1, 0], abs=1e-6)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """25 images, 10 degrees apart; the query finds itself, then junk, then positives down to rank 12."""
    angles = {f"a{number:02}": 10.0 * number for number in range(25)}
    positives = ";".join(f"a{number:02}" for number in (0, *range(2, 12)))
    return vgg(tmp_path / "set", angles, {"q": ("a00 0 0 32 24", positives, "a01")})


def test_the_replay_counts_junk_as_wrong_and_divides_five_results_by_k(root: Path, tmp_path: Path) -> None:
    report = evaluate("vgg", root, AngleEncoder(), protocol="report", cache=tmp_path / "cache")
    at = report.setups["all"].at
    # Hits at ranks 1, 3, 4, 5 of the five that were retrieved; R = 11; no preprocessing moves these.
    assert at["precision"] == {k: pytest.approx(4 / k) for k in KS}
    area = 1 + 2 / 3 + 3 / 4 + 4 / 5
    assert at["map"] == {k: pytest.approx(area / min(k, 11)) for k in KS}
    document = report.to_json()
    assert document["map"] is None
    assert document["denominators"]["precision_at"] == "k, though only 5 were retrieved"
    verdicts = [result["verdict"] for result in document["queries"][0]["results"]]
    assert verdicts == ["positive", "negative"] + ["positive"] * 3
    assert ".4000" in report.text()


def test_the_explanation_mends_one_fault_after_the_other(root: Path, tmp_path: Path) -> None:
    explanation = explain("vgg", root, AngleEncoder(), cache=tmp_path / "cache")
    precision = [stage.at["precision"] for stage in explanation.stages]
    assert precision[0] == {k: pytest.approx(4 / k) for k in KS}
    assert precision[1] == {5: pytest.approx(4 / 5), 10: 9 / 10, 15: pytest.approx(11 / 15), 20: pytest.approx(11 / 20)}
    # The wrong statistics turn the query's colour by 15 degrees, which brings a24 (at -120) before a10 (at 100).
    assert precision[2] == {5: 1, 10: 9 / 10, 15: pytest.approx(11 / 15), 20: pytest.approx(11 / 20)}
    assert precision[3] == {5: 1, 10: 1, 15: pytest.approx(11 / 15), 20: pytest.approx(11 / 20)}
    # An image of one colour has the same at its centre.
    assert precision[4] == precision[3]
    assert explanation.stages[-1].map == 1
    assert explanation.aside.at["precision"][10] == 1
    corrected = evaluate("vgg", root, AngleEncoder(), cache=tmp_path / "cache")
    assert explanation.stages[-1].at["precision"] == corrected.setups["all"].at["precision"]
    assert explanation.stages[-1].map == corrected.map


def test_the_explanation_prints_both_tables_and_points(root: Path, tmp_path: Path) -> None:
    explanation = explain("vgg", root, AngleEncoder(), cache=tmp_path / "cache")
    text = explanation.text()
    assert "as the report measured:" in text
    assert "corrected:" in text
    (retrieved,) = [line for line in text.splitlines() if line.startswith("as many results")]
    # P@10 rises from 4/10 to 9/10, P@20 from 4/20 to 11/20.
    assert retrieved.split()[-4:] == ["+0.0", "+50.0", "+46.7", "+35.0"]
    assert "not replayed: vectors without L2 normalisation" in text
    document = explanation.to_json()
    assert document["stages"][0]["map"] is None
    assert document["stages"][0]["precision_at"]["10"] == pytest.approx(0.4)


def test_the_report_reranked_nothing(root: Path, tmp_path: Path) -> None:
    def same(probe: Probe, ranking: Ranking, gallery: Gallery) -> Ranking:
        return ranking

    with pytest.raises(EvaluationError, match="the report re-ranked nothing"):
        evaluate("vgg", root, AngleEncoder(), protocol="report", rerank=[same], cache=tmp_path / "cache")


@pytest.mark.parametrize("protocol", ["report", "original"])
def test_a_k_below_one_is_refused_by_every_protocol(root: Path, tmp_path: Path, protocol: str) -> None:
    with pytest.raises(EvaluationError, match="k = 0 is not a number of results"):
        evaluate("vgg", root, AngleEncoder(), protocol, [0, 5], cache=tmp_path / "cache")


def test_the_explanation_refuses_a_k_that_the_gallery_cannot_answer(root: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="k = 50 goes beyond"):
        explain("vgg", root, AngleEncoder(), k=[5, 50], cache=tmp_path / "cache")


def test_the_explanation_is_of_ground_truth_without_setups(tmp_path: Path) -> None:
    three = {setup: Truth(frozenset({"a10.png"})) for setup in ("easy", "medium", "hard")}
    paint(tmp_path / "a0.png", 0)
    paint(tmp_path / "a10.png", 10)
    query = BenchmarkQuery("q", tmp_path / "a0.png", None, three)
    with pytest.raises(EvaluationError, match="protocol report"):
        explain(Benchmark("tiny", tmp_path, (query,), "revisited"), None, AngleEncoder(), cache=tmp_path / "cache")
