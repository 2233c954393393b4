"""`lookalike search` says whether there is anything like it: in JSON, with --found, and in a line on stderr."""

import json
from pathlib import Path

import pytest

from tests.cli.running import Run
from tests.support.confident import measured
from tests.support.pictures import picture


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A picture of something else than any in the collection."""
    picture(99).save(tmp_path / "stranger.png")
    return tmp_path / "stranger.png"


def test_json_has_the_confidence_of_each_result_and_of_the_answer(
    run: Run, indexed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch)
    document = json.loads(run("search", indexed, "01.jpg", "-k", 3, "--json")[1])
    assert document["found"] is True
    first, copied, other = document["results"]
    assert (first["key"], first["confidence"]) == ("01.jpg", 1.0)
    assert copied["key"] == "copy.png"
    assert copied["confidence"] > 0.5 > other["confidence"]


def test_found_leaves_nothing_where_nothing_is_like_it_and_the_status_stays_0(
    run: Run, indexed: Path, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch)
    status, output, errors = run("search", indexed, stranger, "--found")
    assert (status, output) == (0, "")
    best = json.loads(run("search", indexed, stranger, "-k", 1, "--json")[1])["results"][0]
    would = f"(the best is {best['key']}, {best['score']:.4f})"
    assert errors == f"lookalike: probably nothing like it here {would}; without --found, what is alike is listed\n"
    assert run("search", indexed, "01.jpg", "--exclude-self", "--found", "--paths")[1] == f"{indexed}/copy.png\n"


def test_what_is_only_alike_is_listed_with_a_line_on_stderr(
    run: Run, indexed: Path, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch)
    status, output, errors = run("search", indexed, stranger, "-k", 4)
    assert (status, output.count("\n")) == (0, 4)
    assert errors == "lookalike: probably nothing like it here; these are only alike\n"
    assert json.loads(run("search", indexed, stranger, "-k", 4, "--verify", "--json")[1])["found"] is False


def test_an_encoder_that_was_not_measured_claims_nothing(run: Run, indexed: Path, stranger: Path) -> None:
    document = json.loads(run("search", indexed, stranger, "--json")[1])
    assert document["found"] is None
    assert {result["confidence"] for result in document["results"]} == {None}
    assert run("search", indexed, stranger)[2] == ""
    status, output, errors = run("search", indexed, stranger, "--found")
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert "no confidence was measured for pixels; cut results off" in errors


def test_an_evaluation_prints_how_far_confidences_can_be_believed(
    run: Run, three_buildings: Path, own_cache: Path
) -> None:
    evaluate = ("evaluate", "vgg", "--root", three_buildings, "--encoder", "thumbnail")
    status, printed, _ = run(*evaluate, "--calibration", "--json")
    assert status == 0
    figures = json.loads(printed)["calibration"]
    assert [each["model"] for each in figures] == ["fitted here, cross-validated over subjects"] * 2
    assert [each["verify"] for each in figures] == [False, True]
    assert all(0 <= each["error"] <= 1 for each in figures)
    assert run(*evaluate, "--explain", "--calibration")[0] == 2
