"""Milvus Lite: what the suite of all engines does not ask of a collection that keeps its vectors there."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.collection.collection import open as open_collection
from lookalike.integrations import row_store as rows
from lookalike.integrations.milvus import client
from lookalike.integrations.milvus.address import parse
from lookalike.integrations.milvus.client import Milvus
from lookalike.integrations.milvus.connection import connected
from tests.integrations.milvus.milvus_servers import impatient, lite
from tests.support.pictures import PixelEncoder
from tests.support.vectors import put_values

__all__ = ["impatient", "lite"]


@pytest.fixture
def indexed(photos: Path, lite: str, encoder: PixelEncoder) -> Collection:
    collection = open_collection(photos, encoder=encoder, engine=lite)
    collection.index()
    return collection


def test_the_address_is_kept_without_its_password(photos: Path, lite: str, encoder: PixelEncoder) -> None:
    collection = open_collection(photos, encoder=encoder, engine=lite)
    collection.index()
    assert json.loads((collection.path / "collection.json").read_text())["engine"] == lite
    facts = collection.info()
    assert (facts["engine"], facts["index"]) == (lite, "FLAT")
    assert facts["server"].startswith("milvus_lite")


def test_what_the_catalog_knows_can_be_asked_of_the_server(indexed: Collection, photos: Path, lite: str) -> None:
    with indexed.store.writing() as store:
        put_values(store, "01.jpg", {"year": 1999})
    (photos / "02.jpg").rename(photos / "moved.jpg")
    indexed.index()
    row = {key: indexed.row(key) for key in ("01.jpg", "moved.jpg")}
    assert isinstance(indexed.store.vectors, rows.EngineRowStore)
    engine = indexed.store.vectors.engine
    assert isinstance(engine, Milvus)
    assert engine.matching('$meta["year"] == 1999').tolist() == [row["01.jpg"]]
    assert engine.matching('key == "moved.jpg"').tolist() == [row["moved.jpg"]]


def test_a_channel_at_rest_is_not_pinged(lite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Milvus Lite takes that for an attack after a minute, and grpc writes so on stderr."""
    made: list[dict[str, Any]] = []
    monkeypatch.setattr("pymilvus.MilvusClient", lambda *_, **options: made.append(options))
    connected(parse(lite))
    assert made == [{"grpc_options": {"grpc.keepalive_permit_without_calls": False}}]


def test_a_search_is_one_call_to_the_server(indexed: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    query = indexed.gallery.vectors(np.array([0]))
    indexed.search(query[0], k=3)
    calls = counted(indexed, monkeypatch)
    assert indexed.search(query[0], k=3)[0].score == pytest.approx(1)
    assert calls == ["search"]


def counted(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the calls that go to the server from now on."""
    calls: list[str] = []
    ask = Milvus._on_server

    def counting(engine: Milvus, method: str, *place: str, **arguments: Any) -> Any:
        calls.append(method)
        return ask(engine, method, *place, **arguments)

    monkeypatch.setattr(Milvus, "_on_server", counting)
    return calls


def test_an_index_is_waited_for_however_long_it_takes(
    lite: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += 1000

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", sleep)
    client.connect(lite)._wait(lambda: clock[0] >= 20_000, "built its index")
    assert clock == [20_000]
    assert "has not built its index after 19000 s; still waiting" in caplog.text
