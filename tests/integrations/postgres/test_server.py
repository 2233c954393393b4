"""A real PostgreSQL: killed while it is written to, started again, full, read-only, too old, or in other hands."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psycopg
import pytest

from lookalike.cli import _run
from lookalike.collection.collection import Collection
from lookalike.collection.collection import open as open_collection
from lookalike.encoders import load_encoder
from lookalike.errors import CollectionError, EngineError, IndexSpecError
from lookalike.index.exact import ExactIndex, share_of
from lookalike.integrations import row_store
from lookalike.integrations.addresses import stored
from lookalike.integrations.engine import WHOLE, Selection, ServerRow, Signature
from lookalike.integrations.postgres import client
from lookalike.integrations.postgres.address import parse
from lookalike.integrations.postgres.client import Postgres, connect
from lookalike.integrations.postgres.connection import Connections, is_passing
from lookalike.integrations.postgres.indexes import Kind
from lookalike.integrations.ray.load import load
from lookalike.integrations.row_store import EngineRowStore
from lookalike.types import Vectors
from tests.integrations.milvus.milvus_servers import unit_rows
from tests.integrations.postgres.postgres_server import Server
from tests.support.job_results import write_result
from tests.support.pictures import PixelEncoder, picture
from tests.support.vectors import put_values

DIM = 24
MADE = Signature("me", "thumbnail", "f" * 64, DIM)
HALF = Signature("me", "thumbnail", "f" * 64, DIM, "float16")


def rows(start: int, stop: int) -> list[ServerRow]:
    return [ServerRow(row, f"{row % 3}/{row}.jpg", "a" * 64, {"year": 2000 + row % 100}) for row in range(start, stop)]


def filled(uri: str, vectors: Vectors, signature: Signature = MADE) -> Postgres:
    engine = connect(uri)
    engine.create(signature)
    engine.upsert(rows(0, len(vectors)), vectors.astype("<f2") if signature.dtype == "float16" else vectors)
    return engine


def engine_of(collection: Collection) -> Postgres:
    assert isinstance(collection.store.vectors, EngineRowStore)
    engine = collection.store.vectors.engine
    assert isinstance(engine, Postgres)
    return engine


def test_halves_are_stored_to_the_last_bit(uri: str) -> None:
    vectors = unit_rows(50, DIM)
    engine = filled(uri, vectors, HALF)
    np.testing.assert_array_equal(engine.vectors(np.arange(50)), vectors.astype("<f2"))
    engine.close()


@pytest.mark.parametrize("kind", ["hnsw", "ivfflat"])
def test_an_index_finds_what_an_exact_search_finds_under_any_filter(uri: str, kind: str) -> None:
    vectors = unit_rows(4000, DIM)
    engine = filled(uri, vectors, HALF)
    name, size = engine.build(kind)
    assert (name, engine.facts()["index"]) == (kind, kind)
    assert size > 100_000
    queries = unit_rows(50, DIM, seed=1)
    truth = ExactIndex(vectors).search(queries, 10)[1]
    assert share_of(engine.nearest(queries, 10, WHOLE, "usual")[1], truth) >= 0.98
    # Halves may exchange what is equally near.
    assert share_of(engine.nearest(queries, 10, WHOLE, "exact")[1], truth) >= 0.995
    for where, live in (("year = 2007", np.arange(4000) % 100 == 7), ("year >= 2050", np.arange(4000) % 100 >= 50)):
        ids = engine.nearest(queries, 10, Selection(where=where, share=float(live.mean())), "usual")[1]
        assert (ids >= 0).all()
        assert live[ids].all()
        assert share_of(ids, ExactIndex(vectors, live, 4000).search(queries, 10)[1]) >= 0.95, where
    # More than ef_search may be.
    ids = engine.nearest(queries[:2], 1500, WHOLE, "usual")[1]
    assert (ids >= 0).all()
    assert share_of(ids, ExactIndex(vectors).search(queries[:2], 1500)[1]) >= 0.95
    assert engine.build("exact") == ("exact", 0)
    with pytest.raises(IndexSpecError, match="PostgreSQL has auto, exact"):
        engine.build("HNSW32")
    engine.close()


def test_a_searcher_that_stays_open_uses_the_index_that_another_process_builds(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit_rows(300, DIM)
    writer, searcher = filled(uri, vectors), connect(uri)
    searcher.open(MADE)
    writer.build("hnsw")
    assert "effort" not in searcher.facts()
    monkeypatch.setattr(client, "LOOK_SECONDS", 0.0)
    assert searcher.nearest(vectors[:3], 1, WHOLE, "usual")[1].ravel().tolist() == [0, 1, 2]
    assert searcher.facts()["effort"] == writer.facts()["effort"]
    writer.close()
    searcher.close()


def test_vectors_that_are_too_long_for_an_index_are_searched_without(uri: str) -> None:
    signature = Signature("me", "long", "f" * 64, 2001)
    engine = connect(uri)
    engine.create(signature)
    engine.upsert(rows(0, 3), unit_rows(3, 2001))
    with pytest.raises(IndexSpecError, match="pgvector indexes at most 2000 numbers of float32"):
        engine.build("hnsw")
    assert engine.build("auto")[0] == "exact"
    assert engine.nearest(unit_rows(3, 2001), 1, WHOLE, "usual")[1].ravel().tolist() == [0, 1, 2]
    engine.close()


def test_a_new_collection_keeps_halves_and_its_address_without_a_password(
    indexed: Collection, server: Server, database: str
) -> None:
    header = json.loads((indexed.path / "collection.json").read_text())
    assert (header["engine"], header["dtype"]) == (server.uri(database), "float16")
    facts = indexed.info()
    assert facts["server"].startswith("PostgreSQL 18")
    assert "pgvector 0.8" in facts["server"]
    assert facts["index"] == "exact"
    assert not list(indexed.path.glob("vectors.*"))


def test_others_join_the_view_with_their_tables_also_after_a_rebuild(
    indexed: Collection, server: Server, database: str
) -> None:
    server.execute(database, "CREATE TABLE products (photo text, price int)")
    server.execute(database, "INSERT INTO products VALUES ('01.jpg', 5), ('trip/00.png', 7)")
    server.execute(database, "CREATE ROLE shop LOGIN")
    server.execute(database, "GRANT USAGE ON SCHEMA lookalike TO shop; GRANT SELECT ON lookalike.photos TO shop")
    server.execute(database, "GRANT SELECT ON products TO shop")
    join = (
        "SELECT p.price FROM lookalike.photos i JOIN products p ON p.photo = i.key "
        "ORDER BY i.embedding <=> (SELECT embedding FROM lookalike.photos WHERE key = '01.jpg')"
    )
    assert server.execute(database, join, user="postgres") == [(5,), (7,)]
    indexed.remove(["trip/00.png"])
    assert server.execute(database, join, user="shop") == [(5,)]
    indexed.index(rebuild=True)
    assert indexed.store.header.engine == server.uri(database) + "_r2"
    # What was taken out by hand stays out; the grant is still there.
    assert server.execute(database, join, user="shop") == [(5,)]
    tables = server.execute(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'lookalike' ORDER BY 1")
    assert tables == [("collections",), ("photos_r2",)]


def test_a_rebuild_with_other_numbers_takes_the_view_over_too(
    indexed: Collection, server: Server, database: str
) -> None:
    indexed.index(rebuild=True, dtype="float32")
    (kind,) = server.execute(database, "SELECT DISTINCT pg_typeof(embedding)::text FROM lookalike.photos")
    assert kind == ("vector",)


def test_verify_names_what_is_gone_or_changed_there_and_repair_brings_it_back(
    indexed: Collection, server: Server, database: str
) -> None:
    assert not indexed.verify()
    lost, changed, last = indexed.row("04.jpg"), indexed.row("01.jpg"), len(indexed) - 1
    expected = sorted({"04.jpg", "01.jpg", indexed.key(last)})
    server.execute(database, f"DELETE FROM lookalike.photos_r1 WHERE id IN ({lost}, {last})")
    server.execute(
        database,
        "UPDATE lookalike.photos_r1 SET embedding = (SELECT embedding FROM lookalike.photos_r1 WHERE key = '02.jpg') "
        f"WHERE id = {changed}",
    )
    assert sorted(key for _, key in indexed.verify().rows) == expected
    indexed.verify(repair=True)
    assert not indexed.verify()
    assert indexed.index().added == len(expected)
    assert sorted(hit.key for hit in indexed.search(picture(1), k=20)) == sorted(indexed.keys())
    assert len(indexed) == 12


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER DATABASE {} SET default_transaction_read_only = on", "is read-only .*name the primary server"),
        ("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'", "is 0.7.4, and 0.8 is needed"),
        ("DROP EXTENSION vector CASCADE", "has no pgvector; CREATE EXTENSION vector there"),
        ("DROP TABLE lookalike.collections", "there is no such collection"),
        ("UPDATE lookalike.collections SET owner = 'you'", "belongs to another collection"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_take_rows_is_one_line_and_nothing_is_lost(
    indexed: Collection, photos: Path, server: Server, database: str, encoder: PixelEncoder, change: str, words: str
) -> None:
    indexed.close()
    server.execute(database, change.format(database))
    picture(40).save(photos / "new.jpg")
    with open_collection(photos, encoder=encoder) as again, pytest.raises(EngineError, match=words) as caught:
        again.index()
    assert "\n" not in str(caught.value)
    assert "postgresql://" in str(caught.value)


def test_a_database_that_does_not_exist_is_no_reason_to_wait(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "30")
    start = time.monotonic()
    with pytest.raises(EngineError, match='database "nowhere" does not exist'):
        connect(server.uri("nowhere")).create(MADE)
    assert time.monotonic() - start < 5


def test_a_missing_extra_is_one_line_that_names_it(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(EngineError, match=r'needs `pip install "lookalike\[postgres\]"`'):
        connect(uri)


def test_an_address_of_another_dtype_is_refused(photos: Path, uri: str, encoder: PixelEncoder) -> None:
    with pytest.raises(CollectionError, match="keeps vectors as float16 or float32, not as int8"):
        open_collection(photos, encoder=encoder, engine=uri).index(dtype="int8")


def test_where_an_iterative_scan_ends_early_the_matching_rows_are_compared_one_by_one(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit_rows(2000, load_encoder("thumbnail").dim)
    (tmp_path / "job").mkdir()
    write_result(tmp_path / "job", vectors)
    load(str(tmp_path / "job"), tmp_path / "collection", stored(uri))
    with Collection(tmp_path / "collection") as collection:
        with collection.store.writing() as store:
            for row in range(0, 2000, 100):
                put_values(store, f"{row:05}.jpg", {"year": 2000 + row})
        assert collection.optimize("hnsw").spec == "hnsw"
        early = {"hnsw.ef_search": "5", "hnsw.iterative_scan": "off"}
        monkeypatch.setattr(Kind, "settings", lambda *_: early)
        monkeypatch.setattr(row_store, "NAMED", 0)
        live = (np.arange(2000) % 100 == 0) & (np.arange(2000) >= 500)
        queries = unit_rows(20, vectors.shape[1], seed=1)
        _, ids = collection.gallery.view("year >= 2500").search(queries, 12)
        # As far as halves distinguish them.
        assert share_of(ids, ExactIndex(vectors, live, 2000).search(queries, 12)[1]) > 0.98
        assert live[ids].all()
        # Without a filter too, where more is wanted than the index gives.
        assert (collection.gallery.search(queries, 300)[1] >= 0).all()


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process."""

    def call(*arguments: object) -> tuple[int, str]:
        status = _run([str(argument) for argument in arguments], debug=False)
        output, errors = capfd.readouterr()
        assert "Traceback" not in errors
        return status, output

    return call


def test_the_command_line_indexes_optimizes_searches_and_tells(run: Run, photos: Path, uri: str) -> None:
    assert run("index", photos, "--encoder", "thumbnail", "--engine", uri, "--store", "float32")[0] == 0
    status, output = run("optimize", photos, "--index", "ivfflat")
    assert (status, output.startswith(f"{photos / '.lookalike'}: ivfflat over 12 images")) == (0, True)
    results = json.loads(run("search", photos, photos / "01.jpg", "-k", 2, "--json")[1])["results"]
    assert (results[0]["key"], round(results[0]["score"], 5)) == ("01.jpg", 1)
    facts = json.loads(run("info", photos, "--json")[1])
    assert (facts["engine"], facts["index"], facts["dtype"]) == (uri, "ivfflat", "float32")
    assert run("optimize", photos, "--index", "HNSW32")[0] == 1
    assert "searched exactly" in run("optimize", photos)[1]
    assert run("verify", photos)[0] == 0


Wait = Callable[[], object]


def until(condition: Wait, job: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert job.poll() is None, "the job has ended before"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def job_of(target: Path, collection: Path, uri: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "lookalike", "index", "--from", str(target), "--to", uri]
    return subprocess.Popen([*command, "--collection", str(collection)], stderr=subprocess.PIPE, text=True)


def test_a_server_killed_while_it_loads_and_while_it_builds_goes_on_with_the_same_command(
    mortal: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, dim = 10_500, load_encoder("thumbnail").dim
    vectors = unit_rows(count, dim)
    (tmp_path / "job").mkdir()
    write_result(tmp_path / "job", vectors)
    database = mortal.database()
    uri = mortal.uri(database)
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "2")
    for view, done in (("pg_stat_progress_copy", "tuples_processed"), ("pg_stat_progress_create_index", "tuples_done")):
        job = job_of(tmp_path / "job", tmp_path / "collection", uri)
        until(partial(mortal.execute, database, f"SELECT 1 FROM {view} WHERE {done} > 0"), job)
        mortal.kill()
        _, errors = job.communicate(timeout=60)
        assert job.returncode == 1
        assert errors.strip().splitlines()[-1].startswith(f"lookalike: error: {uri} cannot be reached")
        assert "Traceback" not in errors
        mortal.start()

    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "30")
    job = job_of(tmp_path / "job", tmp_path / "collection", uri)
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 0, errors
    with Collection(tmp_path / "collection") as collection:
        assert len(collection) == count
        assert not collection.verify()
        assert engine_of(collection).count() == count
        assert collection.info()["index"] == "hnsw"
        queries = unit_rows(50, dim, seed=1)
        _, ids = collection.gallery.search(queries, 10)
    assert share_of(ids, ExactIndex(vectors).search(queries, 10)[1]) >= 0.98


def test_a_search_waits_for_a_server_that_restarts(mortal: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "30")
    vectors = unit_rows(300, DIM)
    engine = filled(mortal.uri(mortal.database()), vectors)
    mortal.kill()
    mortal.start()
    assert engine.nearest(vectors[:3], 5, WHOLE, "usual")[1][:, 0].tolist() == [0, 1, 2]
    assert engine.count() == 300
    engine.close()


def test_a_frozen_server_is_known_within_seconds_and_is_waited_for(
    mortal: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "0")
    vectors = unit_rows(300, DIM)
    engine, watcher = (filled(mortal.uri(mortal.database()), vectors) for _ in range(2))
    watcher.health()
    with mortal.frozen():
        start = time.monotonic()
        with pytest.raises(EngineError, match=r"cannot be reached or is not ready: .*timeout"):
            watcher.health()
        assert time.monotonic() - start < 4
    watcher.health()
    assert engine.count() == 300
    engine.close()
    watcher.close()


def test_a_silent_server_is_waited_for_no_longer_than_a_call_may_take(uri: str) -> None:
    connections = Connections(parse(uri))
    connections.may_create = True
    silence = pytest.raises(psycopg.errors.ConnectionTimeout, match=r"no answer for 0\.5 s")
    with silence as caught, connections.borrowed(0.5) as connection:
        connection.execute("SELECT pg_sleep(5)")
    assert is_passing(caught.value)
    with connections.borrowed(0.5) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    connections.close()
