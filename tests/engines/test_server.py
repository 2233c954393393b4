"""A real Milvus server: killed while it is written to, started again, and still everything there once."""

import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from milvus_servers import Server, impatient, server, unit_rows
from milvus_suite import check_all

from lookalike.collection import Collection
from lookalike.encoders import load_encoder
from lookalike.engines import Row, Signature, connect, rows
from lookalike.errors import EngineError
from lookalike.jobs import records
from lookalike.types import Vectors

__all__ = ["impatient", "server"]

pytestmark = pytest.mark.server

COUNT = 20_000


def result(folder: Path, vectors: Vectors) -> None:
    """What `lookalike embed` would have written, of images that there are not."""
    encoder = load_encoder("thumbnail")
    dim = vectors.shape[1]
    assert dim == encoder.dim
    records.write_job(str(folder), records.Job(str(folder), "thumbnail", encoder.fingerprint, dim, "float32"))
    (folder / records.VECTORS).mkdir()
    schema = records.result_schema(dim, "float32")
    numbers = np.arange(len(vectors))
    columns = {
        "key": [f"{number:05}.jpg" for number in numbers],
        "sha256": [f"{number:064x}" for number in numbers],
        "width": np.ones(len(vectors), np.int32),
        "height": np.ones(len(vectors), np.int32),
        "bytes": numbers,
        "mtime_ns": numbers,
        "reason": pa.nulls(len(vectors), pa.string()),
        "fingerprint": [encoder.fingerprint] * len(vectors),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim),
    }
    pq.write_table(pa.table(columns, schema=schema), folder / records.VECTORS / "part.parquet")


def loading(target: Path, collection: Path, uri: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "lookalike", "index", "--from", str(target), "--to", uri]
    return subprocess.Popen([*command, "--collection", str(collection)], stderr=subprocess.PIPE, text=True)


def test_the_suite(server: Server) -> None:
    check_all(server.uri)


def test_twenty_thousand_vectors_survive_a_server_killed_in_the_middle_of_an_insert(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server.folder is None:
        pytest.skip("a server that MILVUS_URI names is not ours to kill")
    vectors = unit_rows(COUNT, load_encoder("thumbnail").dim)
    target, place = tmp_path / "job", tmp_path / "collection"
    target.mkdir()
    result(target, vectors)
    uri = f"{server.uri}/k{uuid.uuid4().hex}"

    # Killed with the job waiting for it no longer than a second: the job ends, in one line.
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "1")
    job = loading(target, place, uri)
    killed_while_inserting(server, uri, place)
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 1
    assert errors.strip().splitlines()[-1].startswith(f"lookalike: error: {uri} cannot be reached")
    assert "Traceback" not in errors

    # Started again, and killed once more; this time the job waits for it to come back.
    server.start()
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "120")
    job = loading(target, place, uri)
    killed_while_inserting(server, uri, place)
    server.start()
    assert job.wait(timeout=300) == 0

    with Collection(place) as opened:
        assert len(opened) == COUNT
        assert not opened.verify()
        assert isinstance(opened.store.vectors, rows.EngineRows)
        assert opened.store.vectors.engine.count() == COUNT
        assert opened.info()["index"] == "HNSW"
        queries = unit_rows(200, vectors.shape[1], seed=1)
        _, found = opened.gallery.search(queries, 10)

    exact = faiss.knn(queries, vectors, 10, metric=faiss.METRIC_INNER_PRODUCT)[1]
    recall = np.mean(
        [len(set(one) & set(other)) / 10 for one, other in zip(found.tolist(), exact.tolist(), strict=True)]
    )
    assert recall >= 0.99


def killed_while_inserting(server: Server, uri: str, place: Path) -> None:
    """Kill the server once rows have arrived that the catalog has not committed all of."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
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
    made = Signature("me", "thumbnail", "f" * 64, 16)
    vectors = unit_rows(300, 16)
    engine = connect(f"{server.uri}/r{uuid.uuid4().hex}")
    engine.create(made)
    engine.upsert([Row(row, f"{row}", "", {}) for row in range(300)], vectors)
    engine.flush()
    server.kill()
    back = threading.Timer(1.0, server.start)
    back.start()
    _, ids = engine.search(vectors[:3], 5)
    back.join()
    assert ids[:, 0].tolist() == [0, 1, 2]
    assert engine.count() == 300
    engine.close()


def test_a_wrong_password_is_one_line_and_the_right_one_gets_in(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server.folder is None:
        pytest.skip("a server that MILVUS_URI names has its own passwords")
    server.kill()
    locked = Server(server.uri, tmp_path / "locked", auth=True)
    locked.folder.mkdir() if locked.folder else None
    locked.start()
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "60")
    made = Signature("me", "thumbnail", "f" * 64, 16)
    try:
        bare = server.uri.removeprefix("milvus://")
        for entry in ("root:wrong@", ""):
            with pytest.raises(EngineError, match=r"refuses: .*LOOKALIKE_MILVUS_TOKEN"):
                connect(f"milvus://{entry}{bare}/locked").create(made)
        engine = connect(f"milvus://root:Milvus@{bare}/locked")
        engine.create(made)
        assert engine.count() == 0
        engine.close()
    finally:
        locked.kill()
        server.start()
