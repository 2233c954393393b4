"""A report says how it was made, and is made again from what it says; what has changed since is named."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy
import pytest

from lookalike.errors import EncoderError, EvaluationError
from lookalike.evaluation.again import again
from lookalike.evaluation.datasets import load
from lookalike.evaluation.datasets.synthetic import render
from lookalike.evaluation.page import save_report
from lookalike.evaluation.provenance import EvaluationOptions, command_line, weights
from lookalike.evaluation.run import evaluate
from lookalike.evaluation.trec import TrecFiles, evaluate_run
from tests.evaluation.angles import AngleEncoder, paint

KS = [1, 3]


@pytest.fixture
def town(tmp_path: Path) -> Path:
    render(tmp_path / "town", buildings=2, views=3, distractors=0)
    return tmp_path / "town"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def saved(town: Path, folder: Path, cache: Path, protocol: str | None = None) -> Path:
    return save_report(evaluate("vgg", town, "thumbnail", protocol, KS, uncropped=True, cache=cache), folder)[0]


@pytest.mark.parametrize("protocol", [None, "report"])
def test_nothing_differs_where_nothing_has_changed(
    town: Path, tmp_path: Path, cache: Path, protocol: str | None
) -> None:
    repetition = again(saved(town, tmp_path / "out", cache, protocol), cache=cache)
    assert (repetition.made, repetition.figures) == ((), ())
    assert repetition.to_json()["same"] is True
    assert repetition.text().endswith("all figures of 4 queries are the same")
    assert repetition.report.uncropped


def test_a_report_says_what_it_was_made_with_and_of(town: Path, tmp_path: Path, cache: Path) -> None:
    made = json.loads(saved(town, tmp_path / "out", cache).read_text())["made"]
    assert made["options"]["dataset"] == "vgg"
    assert made["options"]["root"] == str(town.resolve())
    assert (made["options"]["encoder"], made["options"]["k"], made["options"]["uncropped"]) == ("thumbnail", KS, True)
    assert made["versions"]["numpy"] == numpy.__version__
    assert {"python", "faiss-cpu", "pillow"} <= made["versions"].keys()
    assert made["machine"]["cores"] >= 1
    assert made["seeds"]["bootstrap"] == 0
    lines = [
        hashlib.sha256(f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}".encode()).digest()
        for file in (town / "images").iterdir()
    ]
    assert made["data"]["images"] == hashlib.sha256(b"".join(sorted(lines))).hexdigest()


def test_changed_images_and_ground_truth_are_named_with_the_figures_that_they_change(
    town: Path, tmp_path: Path, cache: Path
) -> None:
    file = saved(town, tmp_path / "out", cache)
    truth = next((town / "groundtruth").glob("*_good.txt"))
    truth.write_text("\n".join(truth.read_text().split()[1:]))
    repetition = again(file, cache=cache)
    assert [change.what for change in repetition.made] == ["data · ground_truth"]
    assert any(change.what.startswith("1 query (") for change in repetition.figures)
    assert repetition.text().endswith("the figures differ")
    paint(town / "images" / "more.png", 10)
    repetition = again(file, cache=cache)
    assert [change.what for change in repetition.made] == ["data · images", "data · ground_truth"]
    assert any(
        (change.what, change.then, change.now) == ("gallery · images", "6", "7") for change in repetition.figures
    )


def test_other_versions_and_another_encoder_are_named(town: Path, tmp_path: Path, cache: Path) -> None:
    file = saved(town, tmp_path / "out", cache)
    document = json.loads(file.read_text())
    document["made"]["versions"]["numpy"] = "1.0"
    file.write_text(json.dumps(document))
    assert f"versions · numpy: 1.0, now {numpy.__version__}" in again(file, cache=cache).text().splitlines()
    repetition = again(file, EvaluationOptions(encoder="rootsift"), cache=cache)
    assert ("encoder", "thumbnail", "rootsift") in {(of.what, of.then, of.now) for of in repetition.figures}
    assert "weights · rootsift.safetensors" in {change.what for change in repetition.made}


def test_a_data_set_that_has_moved_is_measured_where_it_is_now(town: Path, tmp_path: Path, cache: Path) -> None:
    file = saved(town, tmp_path / "out", cache)
    town.rename(tmp_path / "elsewhere")
    with pytest.raises(EvaluationError, match="no such folder"):
        again(file, cache=cache)
    repetition = again(file, EvaluationOptions(root=str(tmp_path / "elsewhere")), cache=cache)
    assert (repetition.made, repetition.figures) == ((), ())


def test_a_run_is_scored_again_from_its_files(town: Path, tmp_path: Path, cache: Path) -> None:
    files = TrecFiles(tmp_path / "run", tmp_path / "qrels", tmp_path / "junk")
    evaluate("vgg", town, "thumbnail", cache=cache, files=files)
    file = save_report(evaluate_run(tmp_path / "run", tmp_path / "qrels", tmp_path / "junk"), tmp_path / "out")[0]
    assert again(file).figures == ()
    (tmp_path / "run").write_text((tmp_path / "run").read_text().replace(" thumbnail", " other"))
    repetition = again(file)
    assert [change.what for change in repetition.made] == ["data · run"]
    assert [change.what for change in repetition.figures] == ["encoder", "fingerprint"]


def test_what_a_file_cannot_hold_and_what_is_no_report_is_refused_in_one_line(
    town: Path, tmp_path: Path, cache: Path
) -> None:
    file = save_report(evaluate("vgg", town, AngleEncoder(), k=KS, cache=cache), tmp_path / "out")[0]
    with pytest.raises(EncoderError, match="angles: no such encoder"):
        again(file, cache=cache)
    assert again(file, EvaluationOptions(encoder="thumbnail"), cache=cache).figures
    document = json.loads(file.read_text())
    for content, reason in (
        ("{", "no report of lookalike evaluate"),
        ("[]", "no report.json of format 1"),
        (json.dumps(document | {"made": None}), "does not say how it was made"),
        (json.dumps(document | {"made": {"options": {"colour": 1}}}), "options that this version does not have"),
    ):
        file.write_text(content)
        with pytest.raises(EvaluationError, match=reason):
            again(file, cache=cache)
    with pytest.raises(EvaluationError, match="no such file"):
        again(tmp_path / "gone.json")


def test_what_only_a_python_program_had_is_named(town: Path, tmp_path: Path, cache: Path) -> None:
    """A grid reads its data set once, so its reports name that and not the folder."""
    benchmark = load("vgg", town)
    file = save_report(evaluate(benchmark, None, "thumbnail", k=KS, cache=cache), tmp_path / "out")[0]
    with pytest.raises(EvaluationError, match="does not say where vgg lies; give --root DIR"):
        again(file, cache=cache)
    repetition = again(file, EvaluationOptions(root=str(town)), cache=cache)
    assert (repetition.made, repetition.figures) == ((), ())
    mine = evaluate(replace(benchmark, name="mine"), None, "thumbnail", k=KS, cache=cache)
    with pytest.raises(EvaluationError, match="measured with a data set of a Python program"):
        again(save_report(mine, tmp_path / "out")[0], cache=cache)
    ranked = evaluate("vgg", town, "thumbnail", k=KS, rerank=[lambda probe, ranking, gallery: ranking], cache=cache)
    with pytest.raises(EvaluationError, match="measured with a re-ranker of a Python program"):
        again(save_report(ranked, tmp_path / "out")[0], cache=cache)


def test_the_weights_of_a_file_and_of_what_comes_with_the_package_have_hashes(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert weights(f"{tmp_path / 'model.onnx'}@squash-224") == {"model.onnx": expected}
    assert list(weights("rootsift")) == ["rootsift.safetensors"]
    assert list(weights("efficientnet-lite0").values()) != []
    assert weights("thumbnail") == weights("angles") == {}


def test_a_command_line_is_kept_without_secrets_and_that_of_other_programs_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["/bin/lookalike", "evaluate", "vgg", "--engine", "milvus://me:secret@host:1/photos", "--root", "a b"]
    monkeypatch.setattr(sys, "argv", asked)
    assert command_line() == "lookalike evaluate vgg --engine milvus://host:1/photos --root 'a b'"
    monkeypatch.setattr(sys, "argv", ["/lib/lookalike/__main__.py", "evaluate"])
    assert command_line() == "lookalike evaluate"
    for program in ("train.py", "/lib/training/__main__.py"):
        monkeypatch.setattr(sys, "argv", [program, "--token", "secret"])
        assert command_line() is None
