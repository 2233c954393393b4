"""Engines that cannot be used: the error is one line that says what to do, and nothing is half written."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike.cli import _run
from lookalike.collection.collection import Collection
from lookalike.encoders import load_encoder
from lookalike.integrations import row_store
from lookalike.integrations.milvus import client
from lookalike.integrations.milvus.connection import is_passing, is_refused
from lookalike.storage.manifest import read_header, write_header
from tests.integrations.milvus.milvus_servers import impatient, lite, unit_rows
from tests.integrations.milvus.test_lite import counted
from tests.support.job_results import write_result

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


def test_a_filter_whose_images_are_far_from_the_query_costs_what_matches(
    run: Run, tmp_path: Path, lite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("NAMED", 16), ("PART", 100), ("MOST_FETCHED", 50)):
        monkeypatch.setattr(row_store, name, value)
    monkeypatch.setattr(client, "MOST_RESULTS", 50)
    vectors = unit_rows(1000, load_encoder("thumbnail").dim)
    (tmp_path / "far").mkdir()
    write_result(tmp_path / "far", vectors)
    run("index", "--from", tmp_path / "far", "--to", lite, "--collection", tmp_path / "made")
    with Collection(tmp_path / "made") as collection:
        order = np.argsort(-(vectors @ vectors[0]), kind="stable")
        live = np.zeros(1000, np.bool_)
        live[order[-200:]] = True
        calls = counted(collection, monkeypatch)
        answer = collection.store.vectors.search(vectors[:1], 5, 1000, live)
    assert answer is not None
    assert answer[1][0].tolist() == order[800:805].tolist()
    # Two attempts without names, and 200 rows in parts of 100.
    assert calls.count("search") <= 4
    assert "query" not in calls


def test_a_job_goes_into_a_local_collection_to_the_last_bit(run: Run, job: Path, tmp_path: Path) -> None:
    command = ("index", "--from", job, "--collection", tmp_path / "made", "--json")
    assert json.loads(run(*command)[1])["added"] == 20
    with Collection(tmp_path / "made") as collection:
        assert collection.keys() == [f"{number:05}.jpg" for number in range(20)]
        np.testing.assert_array_equal(collection.gallery.vectors(np.arange(20)), unit_rows(20, collection.encoder.dim))


@pytest.mark.parametrize(
    "options",
    [("--rebuild",), ("--watch",), ("--exclude", "*.png"), ("--precision", "int8"), ("--device", "cpu"), (".",)],
    ids=lambda options: options[0],
)
def test_options_that_a_job_cannot_follow_are_refused(
    run: Run, job: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    status, _, _ = run("index", *options, "--from", job, "--collection", tmp_path / "made")
    assert (status, (tmp_path / "made").exists()) == (2, False)


def test_options_that_a_job_can_follow_are_followed(run: Run, job: Path, tmp_path: Path, lite: str) -> None:
    command = ("index", "--from", job, "--collection", tmp_path / "made")
    status, _, error = run(*command, "--encoder", "rootsift")
    assert (status, (tmp_path / "made").exists()) == (1, False)
    assert re.search(r"was made with thumbnail \(\w+\), not with rootsift", error)
    assert re.search("as float32, not as int8", run(*command, "--to", lite, "--store", "int8")[2])
    (tmp_path / "years.csv").write_text("key,year\n00001.jpg,1999\n")
    assert run(*command, "--encoder", "thumbnail", "--store", "float16", "--meta", tmp_path / "years.csv")[0] == 0
    with Collection(tmp_path / "made") as collection:
        assert collection.store.header.dtype == "float16"
        assert [hit.key for hit in collection.search("00003.jpg", where="year = 1999")] == ["00001.jpg"]
    assert re.search("made keeps float16; `lookalike compact", run(*command, "--store", "int8")[2])


def test_strict_counts_what_a_job_had_skipped(run: Run, job: Path, tmp_path: Path) -> None:
    command = ("index", "--from", job, "--collection", tmp_path / "made", "--strict")
    assert run(*command)[0] == 0
    part = job / "vectors" / "part.parquet"
    skipped = pq.read_table(part).slice(0, 1).to_pylist()[0] | {"key": "x.jpg", "reason": "too large", "vector": None}
    pq.write_table(pa.Table.from_pylist([skipped], pq.read_schema(part)), job / "vectors" / "other.parquet")
    assert run(*command)[0] == 3


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
    assert (is_refused(refused), is_refused(away)) == (True, False)


@pytest.mark.parametrize("name", ["black_cats", "connection_timeout", "author", "not_loaded_distribution"])
def test_words_in_the_name_of_a_collection_say_nothing_about_an_error(name: str) -> None:
    from pymilvus.exceptions import MilvusException

    for code in (100, 65535, 1):
        missing = MilvusException(code, f"collection not found[database=default][collection={name}]")
        assert (is_passing(missing), is_refused(missing)) == (False, False)
    full = MilvusException(9, f"quota exceeded: disk of {name} is full")
    assert not is_passing(full)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "service not ready[proxy=1]: initializing"),
        (8, "request is rejected by grpc RateLimiter middleware, please retry later"),
        (65535, "fail to search on QueryNode 3: no available shard delegator found"),
        (503, "channel not available[channel=by-dev-rootcoord-dml_0]"),
    ],
)
def test_a_server_that_starts_or_is_busy_is_asked_again(code: int, text: str) -> None:
    from pymilvus.exceptions import MilvusException

    assert is_passing(MilvusException(code, text))
