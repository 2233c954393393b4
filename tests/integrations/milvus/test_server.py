"""A real Milvus server: killed while it is written to, started again, and still everything there once."""

import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.encoders import load_encoder
from lookalike.errors import EngineError
from lookalike.index.library import library
from lookalike.integrations import row_store as rows
from lookalike.integrations.engine import ServerRow, Signature
from lookalike.integrations.milvus.client import connect
from tests.integrations.milvus.milvus_servers import Server, impatient, server, unit_rows
from tests.service.running import running
from tests.support.job_results import write_result
from tests.support.pictures import PixelEncoder

faiss = library()

__all__ = ["impatient", "server"]

pytestmark = pytest.mark.server

COUNT = 20_000
ENTRY = "root:Milvus"
MADE = Signature("me", "thumbnail", "f" * 64, 16)


def loading(target: Path, collection: Path, uri: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "lookalike", "index", "--from", str(target), "--to", uri]
    return subprocess.Popen([*command, "--collection", str(collection)], stderr=subprocess.PIPE, text=True)


def test_twenty_thousand_vectors_survive_a_server_killed_in_the_middle_of_an_insert(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server.folder is None:
        pytest.skip("a server that MILVUS_URI names is not ours to kill")
    vectors = unit_rows(COUNT, load_encoder("thumbnail").dim)
    target, place = tmp_path / "job", tmp_path / "collection"
    target.mkdir()
    write_result(target, vectors)
    uri = f"{server.uri}/k{uuid.uuid4().hex}"

    # The job waits for the server no longer than a few seconds, and ends in one line.
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "3")
    job = loading(target, place, uri)
    killed_while_inserting(server, job, uri, place)
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 1
    assert errors.strip().splitlines()[-1].startswith(f"lookalike: error: {uri} cannot be reached")
    assert "Traceback" not in errors

    server.start()
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "120")
    job = loading(target, place, uri)
    _, errors = job.communicate(timeout=600)
    assert job.returncode == 0, errors

    with Collection(place) as collection:
        assert len(collection) == COUNT
        assert not collection.verify()
        assert isinstance(collection.store.vectors, rows.EngineRowStore)
        assert collection.store.vectors.engine.count() == COUNT
        assert collection.info()["index"] == "HNSW"
        queries = unit_rows(200, vectors.shape[1], seed=1)
        _, ids = collection.gallery.search(queries, 10)

    exact = faiss.knn(queries, vectors, 10, metric=faiss.METRIC_INNER_PRODUCT)[1]
    recall = np.mean([len(set(row) & set(truth)) / 10 for row, truth in zip(ids.tolist(), exact.tolist(), strict=True)])
    assert recall >= 0.99


def killed_while_inserting(server: Server, job: "subprocess.Popen[str]", uri: str, place: Path) -> None:
    """Kill the server once rows have arrived, of which the catalog has committed none."""
    deadline = time.monotonic() + 300
    while True:
        assert job.poll() is None, "the job has ended before"
        assert time.monotonic() < deadline, "no row has arrived"
        if (place / "collection.json").exists():
            client = connect(uri)
            try:
                if client.count() > 0:
                    break
            except EngineError:
                pass
            finally:
                client.close()
        time.sleep(0.05)
    server.kill()


def test_a_search_waits_for_a_server_that_restarts(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    if server.folder is None:
        pytest.skip("a server that MILVUS_URI names is not ours to kill")
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "120")
    vectors = unit_rows(300, 16)
    engine = connect(f"milvus://{ENTRY}@{bare(server)}/r{uuid.uuid4().hex}")
    engine.create(MADE)
    engine.upsert([ServerRow(row, f"{row}", "", {}) for row in range(300)], vectors)
    engine.flush()
    server.kill()
    server.auth = True
    back = threading.Timer(1.0, server.start)
    back.start()
    _, ids = engine.search(vectors[:3], 5)
    back.join()
    assert ids[:, 0].tolist() == [0, 1, 2]
    assert engine.count() == 300
    engine.close()


def test_a_wrong_password_is_one_line_and_the_right_one_gets_in(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server.folder is None:
        pytest.skip("a server that MILVUS_URI names has its own passwords")
    if not server.auth:
        server.kill()
        server.auth = True
        server.start()
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "60")
    # First the right one, which waits for a server that has only just started.
    engine = connect(f"milvus://{ENTRY}@{bare(server)}/locked")
    engine.create(MADE)
    assert engine.count() == 0
    engine.close()
    for entry in ("root:wrong@", ""):
        start = time.monotonic()
        with pytest.raises(EngineError, match=r"refuses: .*LOOKALIKE_MILVUS_TOKEN"):
            connect(f"milvus://{entry}{bare(server)}/locked").create(MADE)
        assert time.monotonic() - start < 30, "a refusal is no reason to wait"


def bare(server: Server) -> str:
    return server.uri.removeprefix("milvus://")


def test_a_service_whose_server_is_frozen_says_so_and_still_shows_pictures(
    server: Server, photos: Path, encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server.folder is None:
        pytest.skip("a server that MILVUS_URI names is not ours to freeze")
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "30")
    if server.auth:
        monkeypatch.setenv("LOOKALIKE_MILVUS_TOKEN", ENTRY)
    uri = f"milvus://{bare(server)}/f{uuid.uuid4().hex}"
    with Collection(photos / ".lookalike", encoder, [photos], engine=uri) as collection:
        collection.index()
    with running(photos, encoder) as service:
        assert service.client.get("/readyz").status_code == 200
        item = service.client.get("/v1/items").json()["items"][0]["id"]
        assert service.client.post("/v1/search", json={"query": {"id": item}}).status_code == 200
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(6)
            for path, status in (("/readyz", 503), ("/healthz", 200), (f"/v1/items/{item}/thumbnail", 200)):
                start = time.monotonic()
                assert service.client.get(path).status_code == status, path
                assert time.monotonic() - start < 3, path
            start = time.monotonic()
            refused = service.client.post("/v1/search", json={"query": {"id": item}})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine")
            assert time.monotonic() - start < 3
        finally:
            server.process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 60
        while service.client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert service.client.post("/v1/search", json={"query": {"id": item}}).status_code == 200
        assert "lookalike_engine_seconds_count" in service.client.get("/metrics").text
