"""Milvus Lite: the engine's own suite, and a whole collection that keeps its vectors there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.collection.collection import open as open_collection
from lookalike.errors import CollectionError, EngineError, QueryError
from lookalike.integrations.milvus import row_store as rows
from lookalike.integrations.milvus.client import Milvus, ServerRow, connect
from tests.integrations.milvus import milvus_suite as suite
from tests.integrations.milvus.milvus_servers import impatient, lite
from tests.support.pictures import PixelEncoder, picture
from tests.support.vectors import put_values

__all__ = ["impatient", "lite"]


@pytest.mark.parametrize("check", suite.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_milvus_lite(check: Callable[[str], None], tmp_path: Path) -> None:
    check(f"milvus://{tmp_path}/lite.db")


@pytest.fixture
def indexed(photos: Path, lite: str, encoder: PixelEncoder) -> Collection:
    collection = open_collection(photos, encoder=encoder, engine=lite)
    collection.index()
    return collection


def answers(collection: Collection, query: object, **options: object) -> list[tuple[str, float]]:
    return [(hit.key, round(hit.score, 5)) for hit in collection.search(query, **options)]  # type: ignore[arg-type]


def test_it_answers_as_the_file_does(indexed: Collection, photos: Path, tmp_path: Path, encoder: PixelEncoder) -> None:
    local = open_collection(photos, encoder=encoder, collection=tmp_path / "local")
    local.index()
    assert not list(indexed.path.glob("vectors.*"))
    for query in (photos / "01.jpg", picture(3), "trip/00.png"):
        assert answers(indexed, query, k=12) == answers(local, query, k=12)
    reranked = {"k": 5, "rerank": ["alpha-qe,k=3"]}
    assert answers(indexed, "01.jpg", **reranked) == answers(local, "01.jpg", **reranked)


def test_the_address_is_kept_without_its_password(photos: Path, lite: str, encoder: PixelEncoder) -> None:
    collection = open_collection(photos, encoder=encoder, engine=lite)
    collection.index()
    assert json.loads((collection.path / "collection.json").read_text())["engine"] == lite
    facts = collection.info()
    assert (facts["engine"], facts["index"]) == (lite, "FLAT")
    assert facts["server"].startswith("milvus_lite")


def test_a_second_run_finds_nothing_to_do_and_embeds_nothing(indexed: Collection, encoder: PixelEncoder) -> None:
    before = encoder.encoded
    assert indexed.index().unchanged == 12
    assert encoder.encoded == before


def test_a_removed_image_is_not_found_and_stays_out(indexed: Collection) -> None:
    indexed.remove(["01.jpg"])
    assert len(indexed) == 11
    assert "01.jpg" not in dict(answers(indexed, picture(1), k=12))
    assert indexed.index().added == 0


def test_filters_choose_the_same_images_as_the_catalog(indexed: Collection) -> None:
    with indexed.store.writing() as store:
        for number, key in enumerate(indexed.keys()):
            put_values(store, key, {"year": 2000 + number} if number % 2 else {"place": 'the "Sands"'})

    def keys_of(where: str) -> list[str]:
        chosen = indexed.gallery.view(where)
        _, ids = chosen.search(indexed.gallery.vectors(np.array([0])), 12)
        return sorted(indexed.key(row) for row in ids[0].tolist() if row >= 0)

    assert keys_of("key:trip/*") == [f"trip/{number:02}.png" for number in (0, 3, 6, 9)]
    assert len(keys_of("year >= 2005")) == 4
    assert len(keys_of("not year >= 2005")) == 8
    assert len(keys_of("""place = 'the "Sands"'""")) == 6
    with pytest.raises(QueryError, match="no such column"):
        keys_of("age > 3")


def test_a_large_selection_is_put_to_the_server_as_an_expression(
    indexed: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "NAMED", 2)
    chosen = indexed.gallery.view("key:trip/*")
    _, ids = chosen.search(indexed.gallery.vectors(np.array([0])), 3)
    assert all(indexed.key(row).startswith("trip/") for row in ids[0].tolist())


def test_what_the_catalog_knows_can_be_asked_of_the_server(indexed: Collection, photos: Path, lite: str) -> None:
    with indexed.store.writing() as store:
        put_values(store, "01.jpg", {"year": 1999})
    (photos / "02.jpg").rename(photos / "moved.jpg")
    indexed.index()
    row = {key: indexed.row(key) for key in ("01.jpg", "moved.jpg")}
    assert isinstance(indexed.store.vectors, rows.MilvusRows)
    engine = indexed.store.vectors.engine
    assert engine.matching('$meta["year"] == 1999').tolist() == [row["01.jpg"]]
    assert engine.matching('key == "moved.jpg"').tolist() == [row["moved.jpg"]]


def test_a_rebuild_takes_its_place_and_leaves_nothing_behind(indexed: Collection, lite: str) -> None:
    indexed.index(rebuild=True)
    assert indexed.store.header.engine == f"{lite}_r2"
    assert len(indexed) == 12
    assert answers(indexed, "01.jpg", k=1) == [("01.jpg", 1.0)]
    with pytest.raises(EngineError, match="no such collection"):
        connect(lite).open(suite.MADE)


def test_a_rebuild_of_a_catalog_that_cannot_be_read_keeps_its_vectors_in_the_server(
    photos: Path, indexed: Collection, lite: str, encoder: PixelEncoder
) -> None:
    indexed.close()
    (indexed.path / "catalog.sqlite").write_bytes(b"nothing")
    with open_collection(photos, encoder=encoder) as again:
        assert again.index([photos], rebuild=True).added == 12
        assert again.store.header.engine == f"{lite}_r2"
        assert not list(again.path.glob("vectors.*"))
        assert answers(again, "01.jpg", k=1) == [("01.jpg", 1.0)]


def test_a_rebuild_that_cannot_go_on_begins_anew_on_the_server_too(indexed: Collection, lite: str) -> None:
    draft = indexed.path.with_name(f"{indexed.path.name}.new")
    other = PixelEncoder()
    other.fingerprint = "0" * 64
    with Collection(draft, other, engine=f"{lite}_r2") as begun:
        begun.index([indexed.path.parent])
    indexed.index(rebuild=True)
    assert indexed.store.header.engine == f"{lite}_r2"
    assert answers(indexed, "01.jpg", k=1) == [("01.jpg", 1.0)]


def test_verify_names_the_images_whose_vectors_are_gone_and_repair_brings_them_back(indexed: Collection) -> None:
    assert not indexed.verify()
    assert isinstance(indexed.store.vectors, rows.MilvusRows)
    lost = indexed.row("04.jpg")
    indexed.store.vectors.engine.delete(np.array([lost]))
    damage = indexed.verify()
    assert [key for _, key in damage.rows] == ["04.jpg"]


def test_rows_of_a_run_that_was_killed_are_not_found_and_are_overwritten(indexed: Collection, photos: Path) -> None:
    assert isinstance(indexed.store.vectors, rows.MilvusRows)
    engine = indexed.store.vectors.engine
    ghost = indexed.gallery.vectors(np.array([0]))
    engine.upsert([ServerRow(12, "ghost", "", {}), ServerRow(13, "ghost too", "", {})], np.repeat(ghost, 2, axis=0))
    assert len(indexed.search(ghost[0], k=20)) == 12
    picture(40).save(photos / "new.jpg")
    assert indexed.index().added == 1
    assert engine.count() == 13


def test_another_place_for_the_vectors_is_refused(indexed: Collection, photos: Path, lite: str) -> None:
    with pytest.raises(CollectionError, match=r"keeps its vectors in milvus:.*lite.db/photos, not in milvus:"):
        open_collection(photos, engine=lite.replace("photos", "others")).index()


def test_a_second_collection_cannot_take_the_same_name(
    indexed: Collection, tmp_path: Path, lite: str, encoder: PixelEncoder, photos: Path
) -> None:
    indexed.close()
    with pytest.raises(EngineError, match="belongs to another collection; give another name"):
        open_collection(photos, encoder=encoder, collection=tmp_path / "second", engine=lite).index()
    assert not (tmp_path / "second" / "collection.json").exists()


def test_a_server_that_is_not_there_leaves_nothing_half_made(
    photos: Path, tmp_path: Path, encoder: PixelEncoder
) -> None:
    gone = open_collection(photos, encoder=encoder, engine="milvus://127.0.0.1:1/photos")
    with pytest.raises(EngineError, match=r"milvus://127.0.0.1:1/photos cannot be reached .* \(tried for 1 s\)"):
        gone.index()
    assert not gone.exists


def test_a_search_is_one_call_to_the_server(indexed: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(indexed.store.vectors, rows.MilvusRows)
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
