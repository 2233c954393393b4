"""Engines that cannot be used: the error is one line that says what to do, and nothing is half written."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lookalike.cli import _run
from lookalike.collection.collection import Collection
from lookalike.encoders import load_encoder
from lookalike.integrations.milvus.connection import is_passing
from lookalike.storage.manifest import read_header, write_header
from tests.integrations.milvus.milvus_servers import impatient, lite, unit_rows
from tests.support.job_results import write_result
from tests.support.pictures import picture

__all__ = ["impatient", "lite"]

GONE = "milvus://127.0.0.1:1/photos"
AWAY = rf"lookalike: error: {GONE} cannot be reached or is not ready: .* \(tried for 1 s\)\n"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process; an error is a single line, and the last."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = _run([str(argument) for argument in arguments], debug=False)
        output, errors = capfd.readouterr()
        assert "Traceback" not in errors
        return status, output, errors.splitlines(keepends=True)[-1] if errors else ""

    return call


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Twenty embedded images."""
    folder = tmp_path / "job"
    folder.mkdir()
    write_result(folder, unit_rows(20, load_encoder("thumbnail").dim))
    return folder


@pytest.mark.parametrize("command", ["index", "take", "evaluate"])
def test_a_server_that_is_not_there_is_one_line_and_leaves_no_collection(
    run: Run, command: str, photos: Path, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "cache"))
    commands = {
        "index": ("index", photos, "--encoder", "thumbnail", "--engine", GONE),
        "take": ("index", "--from", job, "--to", GONE, "--collection", tmp_path / "made"),
        "evaluate": ("evaluate", "folders", "--root", photos, "--encoder", "thumbnail", "--engine", GONE),
    }
    (photos / "other").mkdir()
    for name in ("01.jpg", "02.jpg"):
        (photos / name).rename(photos / "other" / name)
    status, output, error = run(*commands[command])
    assert (status, output) == (1, "")
    assert re.search(AWAY, error)
    assert not list(tmp_path.rglob("collection.json"))


def test_a_server_that_has_gone_is_one_line_for_a_search_and_for_what_is_known_of_it(
    run: Run, photos: Path, lite: str
) -> None:
    run("index", photos, "--encoder", "thumbnail", "--engine", lite)
    place = photos / ".lookalike"
    write_header(place, replace(read_header(place), engine=GONE))
    for command in (("search", photos, photos / "01.jpg"), ("verify", photos, "--repair")):
        status, output, error = run(*command)
        assert (status, output) == (1, ""), command
        assert re.search(AWAY, error)


def test_another_encoders_collection_is_refused_and_stays_as_it_was(
    run: Run, photos: Path, job: Path, tmp_path: Path, lite: str
) -> None:
    run("index", photos, "--encoder", "rootsift", "--engine", lite)
    status, _, error = run("index", "--from", job, "--to", lite, "--collection", tmp_path / "made")
    assert status == 1
    # The dimension is compared first.
    assert re.search(r"lite.db/photos holds vectors of \d+ numbers, not 177; give another name", error)
    assert not (tmp_path / "made" / "collection.json").exists()
    assert run("search", photos, photos / "01.jpg", "-k", 1)[0] == 0


def test_a_job_of_another_encoder_does_not_go_into_a_collection(
    run: Run, photos: Path, job: Path, tmp_path: Path
) -> None:
    run("index", photos, "--encoder", "rootsift", "--collection", tmp_path / "made")
    status, _, error = run("index", "--from", job, "--collection", tmp_path / "made")
    assert status == 1
    assert re.search(
        r"was made with rootsift \(\w+\), the job with thumbnail \(\w+\); give another --collection", error
    )


def test_a_job_goes_into_a_server_once_and_is_searched_there(run: Run, job: Path, tmp_path: Path, lite: str) -> None:
    command = ("index", "--from", job, "--to", lite, "--collection", tmp_path / "made")
    assert run(*command)[1] == f"{tmp_path / 'made'}: 20 added\n"
    assert run(*command)[1] == f"{tmp_path / 'made'}: 20 unchanged\n"
    results = json.loads(run("search", tmp_path / "made", "00003.jpg", "-k", 2, "--json")[1])["results"]
    assert (results[0]["key"], round(results[0]["score"], 5)) == ("00003.jpg", 1)
    assert len(results) == 2


def test_a_job_goes_into_a_local_collection_to_the_last_bit(run: Run, job: Path, tmp_path: Path) -> None:
    command = ("index", "--from", job, "--collection", tmp_path / "made", "--json")
    assert json.loads(run(*command)[1])["added"] == 20
    with Collection(tmp_path / "made") as collection:
        assert collection.keys() == [f"{number:05}.jpg" for number in range(20)]
        np.testing.assert_array_equal(collection.gallery.vectors(np.arange(20)), unit_rows(20, collection.encoder.dim))


def test_what_is_no_result_of_a_job_is_refused(run: Run, photos: Path, tmp_path: Path) -> None:
    status, _, error = run("index", "--from", photos, "--collection", tmp_path / "made")
    assert (status, (tmp_path / "made").exists()) == (1, False)
    assert re.search(r"no result of `lookalike embed` lies here \(job.json is missing\)", error)


def test_embedding_straight_into_a_server_is_refused_with_the_right_commands(run: Run, photos: Path) -> None:
    status, _, error = run("embed", photos, "--to", "milvus://host/photos", "--encoder", "thumbnail")
    assert status == 1
    assert re.search(r"index --from FOLDER --to milvus://host:19530/photos", error)


def test_a_wrong_password_does_not_pass_and_a_restart_does() -> None:
    from pymilvus.exceptions import MilvusException

    refused = MilvusException(1800, "auth check failure, please check username and password are correct: timeout")
    away = MilvusException(
        2, "Fail connecting to server on 127.0.0.1:1, illegal connection params or server unavailable"
    )
    assert (is_passing(refused), is_passing(away)) == (False, True)


def test_an_evaluation_finds_in_a_server_what_it_finds_alone(
    run: Run, tmp_path: Path, lite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "cache"))
    for kind in range(3):
        (tmp_path / "set" / f"kind{kind}").mkdir(parents=True)
        for number in range(4):
            picture(kind, (64 + 8 * number, 48)).save(tmp_path / "set" / f"kind{kind}" / f"{number}.png")
    command = ("evaluate", "folders", "--root", tmp_path / "set", "--encoder", "thumbnail", "--json")
    alone, there = json.loads(run(*command)[1]), json.loads(run(*command, "--engine", lite)[1])
    assert there["map"] == alone["map"] > 0
    assert [query["ap"] for query in there["queries"]] == [query["ap"] for query in alone["queries"]]
    assert "engine" in json.loads(next((tmp_path / "cache").rglob("collection.json")).read_text())
