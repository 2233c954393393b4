"""Which encoder a new collection gets where none is named."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike.encoders import default, efficientnet, weights
from lookalike.errors import EncoderError
from lookalike.utils.download import out_of_reach
from tests.encoders.checkpoints import shrunken, write


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "cache"))
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    default._tell.cache_clear()


@pytest.fixture
def hub_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A machine that takes connections and never answers one."""
    from huggingface_hub import constants

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        yield address


def test_weights_on_this_machine_are_used_without_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(weights, "is_cached", lambda name: name == "dinov2-base")
    assert default.default_encoder() == "dinov2-base"
    assert caplog.text == ""


def test_weights_that_can_be_fetched_are_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fetched: list[str] = []

    def fetch(name: str) -> Path:
        fetched.append(name)
        return tmp_path

    monkeypatch.setattr(weights, "pull", fetch)
    assert default.default_encoder() == "dinov2-base"
    assert fetched == ["dinov2-base"]


def test_offline_nothing_is_tried_and_one_line_says_what_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, hub_at: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    start = time.monotonic()
    assert [default.default_encoder() for _ in range(3)] == ["efficientnet-lite0"] * 3
    assert time.monotonic() - start < 1
    (record,) = caplog.records
    assert record.getMessage() == (
        "using efficientnet-lite0: dinov2-base cannot be fetched (HF_HUB_OFFLINE is set); "
        "`lookalike index FOLDER --encoder dinov2-base` adds its vectors later"
    )
    assert record.levelno == logging.WARNING


def test_a_hub_that_never_answers_costs_two_seconds_in_all(hub_at: str, caplog: pytest.LogCaptureFixture) -> None:
    start = time.monotonic()
    assert default.default_encoder() == "efficientnet-lite0"
    assert time.monotonic() - start < weights.DECIDE_SECONDS + 2
    assert "(no answer within 2 s)" in caplog.text


def test_without_the_package_of_its_weights_rootsift_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(efficientnet, "PACKAGE", "not-installed-here")
    assert default.default_encoder() == "rootsift"
    assert caplog.text.count("using rootsift") == 1


def test_a_download_that_is_not_what_was_published_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forged(name: str) -> Path:
        raise EncoderError("facebook/dinov2-base/model.safetensors has SHA-256 00…, not 11… as published")

    monkeypatch.setattr(weights, "pull", forged)
    assert default.default_encoder() == "efficientnet-lite0"
    assert "has SHA-256 00…, not 11… as published" in caplog.text


def test_an_answer_of_any_kind_means_that_the_server_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert out_of_reach(address, 5) == ""
    assert "refused" in out_of_reach(address, 5)
    assert out_of_reach("no address", 5)


def test_an_open_encoder_is_used_as_it_is(tmp_path: Path) -> None:
    loaded = default.open_encoder("thumbnail")
    assert default.open_encoder(loaded) is loaded
    assert default.open_encoder(str(write(shrunken("dinov2-small"), tmp_path / "own"))).dim == 128
