"""What `embed` asks of a cluster and of stores before it starts, and what it tells the workers."""

import os
import pickle
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lookalike.cli import _run
from lookalike.errors import SourceError
from lookalike.images import remote
from lookalike.integrations.ray import cluster

Failing = Callable[..., str]


@pytest.fixture
def failing(capfd: pytest.CaptureFixture[str]) -> Failing:
    """The single line with which a command ends, within 15 seconds."""

    def call(*arguments: object) -> str:
        start = time.monotonic()
        assert _run([str(argument) for argument in arguments], debug=False) == 1
        assert time.monotonic() - start < 15
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    return call


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a program that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def web() -> Iterator[int]:
    """The port of a web server."""
    handler = type("Quiet", (BaseHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_a_wrong_address_of_a_cluster_is_one_line(failing: Failing, photos: Path, tmp_path: Path, address: str) -> None:
    line = failing("embed", photos, "--to", tmp_path / "job", "--encoder", "thumbnail", "--cluster", address)
    assert re.search(f"--cluster {address}: no Ray cluster there .*; --cluster local starts one", line)
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize("kind", ["silent", "web"])
def test_another_programs_port_is_one_line(
    failing: Failing, photos: Path, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    address = f"127.0.0.1:{request.getfixturevalue(kind)}"
    line = failing("embed", photos, "--to", tmp_path / "job", "--encoder", "thumbnail", "--cluster", address)
    assert re.search(f"--cluster {address}: .*no Ray cluster", line)


@pytest.mark.parametrize("command", ["from", "to", "load"])
def test_a_wrong_address_of_a_store_is_one_line(
    failing: Failing, photos: Path, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    commands = {
        "from": ("embed", "s3://photos", "--to", tmp_path / "job", "--encoder", "thumbnail"),
        "to": ("embed", photos, "--to", "s3://vectors/job", "--encoder", "thumbnail"),
        "load": ("index", "--from", "s3://vectors/job", "--collection", tmp_path / "made"),
    }
    assert re.search("s3://.*: .*check the address, AWS_ENDPOINT_URL and the network", failing(*commands[command]))


def test_a_store_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "kind", lambda uri: threading.Event().wait(5))
    with pytest.raises(SourceError, match=r"s3://photos: the store has not answered for 0.1 s"):
        remote.require_answer("s3://photos", seconds=0.1)


def test_workers_get_what_they_need_and_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "LOOKALIKE_TOKEN", "LOOKALIKE_MILVUS_TOKEN", "LOOKALIKE_CACHE", "HF_TOKEN", "HF_HOME", "AWS_REGION",
        "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY",
        "AZURE_STORAGE_ACCOUNT_NAME",
    ):  # fmt: skip
        monkeypatch.setenv(name, "value")
    local = set(cluster.passed_on(["/photos", "/vectors"]))
    assert {"LOOKALIKE_CACHE", "HF_HOME"} <= local
    assert not {name for name in local if name.startswith(("AWS_", "AZURE_")) or "TOKEN" in name}
    s3 = set(cluster.passed_on(["s3://photos", "/vectors"])) - local
    assert {"AWS_REGION", "AWS_ENDPOINT_URL"} <= s3
    assert not {name for name in s3 if re.search("KEY|TOKEN", name) or name.startswith("AZURE_")}


def test_a_file_system_takes_its_keys_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    system = remote.portable(remote.place("s3://photos?region=eu-west-1")[0])
    assert b"the-secret" in pickle.dumps(system)
    assert "the-secret" not in repr(system)
    assert remote.portable(remote.place("/photos")[0]) == remote.place("/photos")[0]


def test_a_cluster_that_is_started_here_inherits_no_token_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("LOOKALIKE_TOKEN", "LOOKALIKE_MILVUS_TOKEN", "HF_TOKEN", "PGPASSWORD")
    for name in (*secrets, "LOOKALIKE_CACHE"):
        monkeypatch.setenv(name, "value")
    with cluster._without_tokens():
        assert not set(secrets) & set(os.environ)
        assert os.environ["LOOKALIKE_CACHE"] == "value"
    assert {os.environ[name] for name in secrets} == {"value"}
