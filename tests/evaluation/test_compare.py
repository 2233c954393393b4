"""Two reports, query by query, and whether their difference is more than noise."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.errors import EvaluationError
from lookalike.evaluation.compare import compare, paired_interval


def report(file: Path, aps: Mapping[str, float | None], **changes: Any) -> Path:
    document = {
        "format": 1,
        "dataset": "vgg",
        "protocol": "original",
        "setups": ["all"],
        "encoder": file.stem,
        "rerank": [],
        "uncropped": False,
        "gallery": {"images": 10},
        "queries": [{"name": name, "ap": ap} for name, ap in aps.items()],
    }
    file.write_text(json.dumps(document | changes))
    return file


def queries(*aps: float | None) -> dict[str, float | None]:
    return {f"q{number}": ap for number, ap in enumerate(aps)}


def test_a_gain_on_every_query_is_no_noise(tmp_path: Path) -> None:
    a = report(tmp_path / "a.json", queries(*[0.5] * 12))
    b = report(tmp_path / "b.json", queries(*[0.6] * 12))
    (difference,) = compare(a, b).differences
    assert [difference.a, difference.b, difference.mean] == pytest.approx([0.5, 0.6, 0.1])
    assert [difference.low, difference.high] == pytest.approx([0.1, 0.1])
    assert difference.verdict == "B is better"
    assert compare(b, a).differences[0].verdict == "A is better"


def test_gains_and_losses_that_cancel_are_noise(tmp_path: Path) -> None:
    a = report(tmp_path / "a.json", queries(*[0.5] * 12))
    b = report(tmp_path / "b.json", queries(*[0.3, 0.72] * 6))
    comparison = compare(a, b)
    (difference,) = comparison.differences
    assert difference.low < 0 < difference.high
    assert difference.verdict == "noise"
    assert "noise" in comparison.text()
    assert comparison.to_json()["setups"][0]["verdict"] == "noise"


def test_no_difference_at_all_is_noise(tmp_path: Path) -> None:
    a = report(tmp_path / "a.json", queries(0.5, 0.7))
    assert compare(a, a).differences[0].verdict == "noise"


def test_the_interval_is_that_of_the_mean_of_pairs() -> None:
    """The mean of n values of variance s has a standard error of sqrt(s / n), and 95 % lie within 1.96 of them."""
    differences = np.tile([-0.1, 0.3], 100)
    low, high = paired_interval(differences)
    error = 1.96 * 0.2 / np.sqrt(200)
    assert [low, high] == pytest.approx([0.1 - error, 0.1 + error], abs=2e-3)
    assert paired_interval(differences) == (low, high), "the seed is fixed"
    assert paired_interval(differences, seed=1) != (low, high)


def test_queries_are_listed_by_what_changed(tmp_path: Path) -> None:
    a = report(tmp_path / "a.json", queries(0.5, 0.5, 0.5))
    b = report(tmp_path / "b.json", queries(0.5, 0.9, 0.2))
    comparison = compare(a, b)
    assert [name for name, _, _ in comparison.differences[0].queries] == ["q2", "q0", "q1"]
    assert "q2     50.0  20.0  -30.0" in comparison.text()
    assert "q0 " not in comparison.text(shown=2)


def test_queries_without_positives_are_left_out(tmp_path: Path) -> None:
    a = report(tmp_path / "a.json", queries(0.5, None))
    b = report(tmp_path / "b.json", queries(0.75, None))
    assert compare(a, b).differences[0].mean == pytest.approx(0.25)


def test_every_setup_is_compared(tmp_path: Path) -> None:
    setups = {"setups": ["easy", "hard"], "protocol": "revisited"}
    a = report(tmp_path / "a.json", {}, queries=[{"name": "q", "ap": {"easy": 0.5, "hard": 0.1}}], **setups)
    b = report(tmp_path / "b.json", {}, queries=[{"name": "q", "ap": {"easy": 0.4, "hard": 0.3}}], **setups)
    assert [(setup.setup, round(setup.mean, 9)) for setup in compare(a, b).differences] == [
        ("easy", -0.1),
        ("hard", 0.2),
    ]


def test_only_like_is_compared(tmp_path: Path) -> None:
    a = report(tmp_path / "a.json", queries(0.5))
    with pytest.raises(EvaluationError, match=r"of dataset vgg, .* of folders; only like can be compared"):
        compare(a, report(tmp_path / "b.json", queries(0.5), dataset="folders"))
    with pytest.raises(EvaluationError, match="1 query is in one report only, such as 'q1'"):
        compare(a, report(tmp_path / "c.json", queries(0.5, 0.6)))
    with pytest.raises(EvaluationError, match="no query has an average precision in both"):
        compare(a, report(tmp_path / "d.json", queries(None)))
    noted = compare(a, report(tmp_path / "e.json", queries(0.5), gallery={"images": 20}, uncropped=True)).notes
    assert noted == ("uncropped differ: False and True", "gallery_images differ: 10 and 20")


@pytest.mark.parametrize(
    ("text", "why"),
    [("", ""), ("[]", ""), ("{}", r" \(it has no 'format'\)"), ('{"format": 1}', r" \(it has no 'setups'\)")],
)
def test_what_is_no_report_is_refused_by_its_file(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(EvaluationError, match=rf"x\.json: no report of lookalike evaluate --json{why}$"):
        compare(tmp_path / "x.json", tmp_path / "x.json")


def test_a_report_of_another_format_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="report format 7, this version reads 1"):
        compare(report(tmp_path / "x.json", {}, format=7), tmp_path / "x.json")
    with pytest.raises(EvaluationError, match="no such file"):
        compare(tmp_path / "none.json", tmp_path / "none.json")
