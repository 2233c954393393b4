"""One suite for every place of vectors: what `vectors.RowStore` promises, asked through a whole collection."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lookalike.cli import _run
from lookalike.collection.collection import Collection
from lookalike.collection.collection import open as open_collection
from lookalike.errors import CollectionError, EngineError, QueryError
from lookalike.integrations import addresses, row_store
from lookalike.integrations.engine import ServerRow
from lookalike.integrations.row_store import EngineRowStore
from lookalike.storage import fence
from lookalike.storage.vectors import DTYPES, RowStore, encode
from lookalike.types import Vectors
from tests.engines.conftest import ENGINES, Place, address, connect, engine_of, every_place, exists
from tests.support.pictures import PixelEncoder, picture
from tests.support.vectors import put_values


def answers(collection: Collection, query: object, **options: object) -> list[tuple[str, float]]:
    return [(hit.key, hit.score) for hit in collection.search(query, **options)]  # type: ignore[arg-type]


def keys(collection: Collection, query: object, **options: object) -> list[str]:
    return [key for key, _ in answers(collection, query, **options)]


def unit(count: int, dim: int, seed: int = 0) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def rows_of(collection: Collection) -> RowStore:
    return collection.store.vectors


@every_place
def test_it_answers_as_a_file_of_float32_does(
    indexed: Collection, place: Place, photos: Path, tmp_path: Path, encoder: PixelEncoder
) -> None:
    local = open_collection(photos, encoder=encoder, collection=tmp_path / "local")
    local.index()
    for query in (photos / "01.jpg", picture(3), "trip/00.png"):
        scores, expected = dict(answers(indexed, query, k=12)), dict(answers(local, query, k=12))
        assert scores.keys() == expected.keys()
        assert all(abs(scores[key] - expected[key]) < place.loss for key in expected)
    reranked = {"k": 5, "rerank": ["alpha-qe,k=3"]}
    assert keys(indexed, "01.jpg", **reranked) == keys(local, "01.jpg", **reranked)
    # An engine's collection has no file of vectors beside it.
    assert bool(list(indexed.path.glob("vectors.*"))) == (place.engine is None)


def test_scores_are_the_cosines_with_the_stored_vectors(indexed: Collection) -> None:
    query = unit(1, indexed.encoder.dim)
    scores, ids = indexed.gallery.search(query, 5)
    np.testing.assert_allclose(scores[0], rows_of(indexed).rows(ids[0]) @ query[0], atol=1e-6)
    assert (np.diff(scores[0]) <= 0).all()


def test_rows_come_back_in_the_order_that_was_asked_for_and_of_unit_length(indexed: Collection) -> None:
    vectors = rows_of(indexed)
    whole = vectors.block(0, 12)
    np.testing.assert_array_equal(vectors.rows(np.array([5, 3, 5])), whole[[5, 3, 5]])
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    assert len(vectors.rows(np.array([], np.int64))) == 0
    assert (len(vectors), vectors.dim) == (12, indexed.encoder.dim)


def test_checksums_are_those_that_writing_returned(indexed: Collection) -> None:
    assert rows_of(indexed).checksums(2, 12) == indexed.store.catalog.vector_crcs(range(2, 12))


def test_a_search_for_more_results_than_rows_is_padded(indexed: Collection) -> None:
    _, ids = indexed.gallery.search(unit(2, indexed.encoder.dim), 20)
    assert all(sorted(row[row >= 0].tolist()) == list(range(12)) for row in ids)


def test_a_second_run_finds_nothing_to_do_and_embeds_nothing(
    indexed: Collection, opened: Callable[[], Collection], encoder: PixelEncoder
) -> None:
    before = encoder.encoded
    assert opened().index().unchanged == 12
    assert encoder.encoded == before


def test_a_removed_image_is_not_found_and_stays_out(indexed: Collection) -> None:
    indexed.remove(["01.jpg"])
    assert len(indexed) == 11
    assert "01.jpg" not in keys(indexed, picture(1), k=12)
    assert indexed.index().added == 0


def test_a_renamed_image_is_found_under_its_new_name(indexed: Collection, photos: Path, encoder: PixelEncoder) -> None:
    before = encoder.encoded
    (photos / "02.jpg").rename(photos / "moved.jpg")
    assert indexed.index().renamed == 1
    assert encoder.encoded == before
    assert keys(indexed, "moved.jpg", k=1) == ["moved.jpg"]


def test_a_changed_image_takes_the_place_of_the_old_one(indexed: Collection, photos: Path) -> None:
    picture(50).save(photos / "01.jpg")
    assert indexed.index().changed == 1
    ((key, score),) = answers(indexed, photos / "01.jpg", k=1)
    assert key == "01.jpg"
    assert score > 0.999


FILTERS = {
    "key:trip/*": 4,
    "key:*0.*": 2,
    "key = 01.jpg": 1,
    "key in (01.jpg, 02.jpg, none.jpg)": 2,
    "not key = 01.jpg": 11,
    "key < 03": 2,
    "year >= 2005": 4,
    "not year >= 2005": 8,
    "year = 2005": 1,
    "year != 2005": 5,
    "year in (2005, 2007)": 2,
    "year > 2004.5 and year < 2008": 2,
    "year >= abc": 0,
    """place = 'the "Sands"'""": 6,
    "place > the": 6,
    "place: the*": 6,
    """place = 'the "Sands"' or year = 2005""": 7,
    """not (place = 'the "Sands"' or year = 2005)""": 5,
    "huge > 1e300": 1,
    "not huge > 1e300": 11,
}


@pytest.mark.parametrize("named", [0, 4096])
def test_filters_choose_the_same_images_as_the_catalog(
    indexed: Collection, named: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with indexed.store.writing() as store:
        for number, key in enumerate(indexed.keys()):
            put_values(store, key, {"year": 2000 + number} if number % 2 else {"place": 'the "Sands"'})
        put_values(store, "01.jpg", {"huge": float("inf")})
    monkeypatch.setattr(row_store, "NAMED", named)
    for where, count in FILTERS.items():
        view = indexed.gallery.view(where)
        _, ids = view.search(indexed.gallery.vectors(np.array([0])), 12)
        assert len(view) == (ids >= 0).sum() == count, where
        assert all(view.holds(row) for row in ids[0] if row >= 0), where
    with pytest.raises(QueryError, match="no such column"):
        indexed.gallery.view("age > 3")


def test_a_value_that_was_taken_away_is_taken_away_there_too(
    indexed: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_store, "NAMED", 0)
    with indexed.store.writing() as store:
        put_values(store, "01.jpg", {"year": 1999})
    assert len(indexed.gallery.view("not year = 1999")) == 11
    with indexed.store.writing() as store:
        store.catalog.clear_value(indexed.row("01.jpg"), store.catalog.column("year"))  # type: ignore[arg-type]
    view = indexed.gallery.view("not year = 1999")
    _, ids = view.search(indexed.gallery.vectors(np.array([0])), 12)
    assert sorted(ids[0].tolist()) == list(range(12))


@every_place
def test_rows_of_a_run_that_was_killed_are_not_found_and_are_overwritten(indexed: Collection, photos: Path) -> None:
    ghost = unit(2, indexed.encoder.dim, 7)
    vectors = rows_of(indexed)
    if isinstance(vectors, EngineRowStore):
        numbers = encode(ghost, vectors.dtype).view(DTYPES[vectors.dtype][1])
        vectors.engine.upsert([ServerRow(12, "ghost", "", {}), ServerRow(13, "ghost", "", {})], numbers)
    else:
        vectors.append(12, ghost)
    assert len(vectors) == 14
    assert len(indexed.search(ghost[0], k=20)) == 12
    picture(40).save(photos / "new.jpg")
    assert indexed.index().added == 1
    assert len(rows_of(indexed)) == 13
    assert not indexed.verify()


def test_a_rebuild_takes_its_place_and_leaves_nothing_behind(indexed: Collection, place: Place) -> None:
    indexed.remove(["01.jpg"])
    indexed.index(rebuild=True)
    # What was taken out by hand stays out.
    assert (len(indexed), len(rows_of(indexed))) == (11, 12)
    assert keys(indexed, "02.jpg", k=1) == ["02.jpg"]
    if place.engine:
        assert indexed.store.header.engine == addresses.renamed(place.engine)
        assert not exists(place.engine)
    assert not indexed.verify()


def test_a_rebuild_of_a_catalog_that_cannot_be_read_keeps_its_vectors_where_they_were(
    indexed: Collection, place: Place, photos: Path, encoder: PixelEncoder
) -> None:
    indexed.close()
    (indexed.path / "catalog.sqlite").write_bytes(b"nothing")
    with open_collection(photos, encoder=encoder) as again:
        assert again.index([photos], rebuild=True).added == 12
        assert again.store.header.engine == (addresses.renamed(place.engine) if place.engine else None)
        assert bool(list(again.path.glob("vectors.*"))) == (place.engine is None)
        assert keys(again, "01.jpg", k=1) == ["01.jpg"]


def test_another_place_for_the_vectors_is_refused(indexed: Collection, photos: Path, place: Place) -> None:
    other = "milvus:///elsewhere/lite.db/other" if place.name != "milvus" else "postgresql://elsewhere/db"
    with pytest.raises(CollectionError, match=r"keeps its vectors in .*, not in "):
        open_collection(photos, engine=other).index()


def test_a_copy_of_the_folder_is_searched_while_the_original_is_written_to(
    indexed: Collection, photos: Path, opened: Callable[[], Collection]
) -> None:
    reader = opened()
    assert len(reader.search(picture(1), k=20)) == 12
    picture(40).save(photos / "new.jpg")
    indexed.index()
    assert len(reader.search(picture(1), k=20)) == 13


def test_a_rebuild_that_cannot_go_on_begins_anew_there_too(indexed: Collection, place: Place) -> None:
    draft = indexed.path.with_name(f"{indexed.path.name}.new")
    other = PixelEncoder()
    other.fingerprint = "0" * 64
    engine = addresses.renamed(place.engine) if place.engine else None
    with Collection(draft, other, engine=engine) as begun:
        begun.index([indexed.path.parent])
    indexed.index(rebuild=True)
    assert indexed.store.header.engine == engine
    assert keys(indexed, "01.jpg", k=1) == ["01.jpg"]


@pytest.mark.parametrize("place", ENGINES, indirect=True)
def test_verify_names_the_images_whose_vectors_are_gone_and_repair_brings_them_back(indexed: Collection) -> None:
    assert not indexed.verify()
    # Everything from a row on, and the last row again: what is missing lies in the middle.
    engine, row = engine_of(indexed), indexed.row("04.jpg")
    assert row is not None
    last = rows_of(indexed).rows(np.array([11]))
    engine.delete_from(row)
    engine.upsert([ServerRow(11, indexed.key(11), "", {})], last.astype(DTYPES[rows_of(indexed).dtype][1]))
    lost = sorted(indexed.key(number) for number in range(row, 11))
    assert sorted(key for _, key in indexed.verify(repair=True).rows) == lost
    assert not indexed.verify()
    assert indexed.index().added == len(lost)
    assert len(indexed) == 12
    assert keys(indexed, "04.jpg", k=1) == ["04.jpg"]


@pytest.mark.parametrize("place", ENGINES, indirect=True)
def test_a_second_collection_cannot_take_the_same_name(
    indexed: Collection, place: Place, tmp_path: Path, photos: Path, encoder: PixelEncoder
) -> None:
    indexed.close()
    with pytest.raises(EngineError, match="belongs to another collection; give another name"):
        open_collection(photos, encoder=encoder, collection=tmp_path / "second", engine=place.engine).index(
            dtype=place.dtype
        )
    assert not (tmp_path / "second" / "collection.json").exists()


def test_a_place_that_answers_is_well(indexed: Collection) -> None:
    rows_of(indexed).health()


@pytest.mark.parametrize("address", ["milvus://127.0.0.1:1/photos", "postgresql://127.0.0.1:1/db?table=photos"])
def test_a_server_that_is_not_there_leaves_nothing_half_made(address: str, photos: Path, encoder: PixelEncoder) -> None:
    gone = open_collection(photos, encoder=encoder, engine=address)
    with pytest.raises(EngineError, match=rf"{re.escape(address)} cannot be reached .* \(tried for 1 s\)"):
        gone.index()
    assert not gone.exists


def test_an_evaluation_finds_in_a_server_what_it_finds_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "cache"))
    for kind in range(3):
        (tmp_path / "set" / f"kind{kind}").mkdir(parents=True)
        for number in range(4):
            picture(kind, (64 + 8 * number, 48)).save(tmp_path / "set" / f"kind{kind}" / f"{number}.png")
    command = ("evaluate", "folders", "--root", tmp_path / "set", "--encoder", "thumbnail", "--json")
    reports = []
    for options in ((), ("--engine", uri)):
        assert _run([str(argument) for argument in (*command, *options)], debug=False) == 0
        reports.append(json.loads(capsys.readouterr().out))
    alone, there = reports
    assert there["map"] == alone["map"] > 0
    assert [query["ap"] for query in there["queries"]] == [query["ap"] for query in alone["queries"]]
    assert "engine" in json.loads(next((tmp_path / "cache").rglob("collection.json")).read_text())


@pytest.mark.parametrize("place", ENGINES, indirect=True)
def test_what_is_known_of_an_engine_tells_which_share_of_its_rows_is_dead(indexed: Collection) -> None:
    indexed.remove(["01.jpg", "02.jpg", "04.jpg"])
    facts = indexed.info()
    assert (facts["engine_rows"], facts["images"], facts["dead_share"]) == (12, 9, 0.25)
    assert facts["load_state"] == "ready"
    indexed.compact()
    facts = indexed.info()
    assert (facts["engine_rows"], facts["images"], facts["dead_share"]) == (9, 9, 0.0)


@pytest.mark.parametrize("place", ENGINES, indirect=True)
def test_a_server_that_lost_everything_gets_it_again_by_a_rebuild(indexed: Collection, place: Place) -> None:
    indexed.remove(["01.jpg"])
    header = indexed.store.header
    engine = connect(place.engine or "")
    engine.discard(header.id, fence.generations(indexed.store.catalog))
    indexed.close()
    with pytest.raises(EngineError, match="no such collection; index again with --rebuild"):
        indexed.search(picture(1))
    indexed.index(rebuild=True)
    # The catalog kept what was taken out by hand.
    assert len(indexed) == 11
    assert keys(indexed, "02.jpg", k=1) == ["02.jpg"]


def test_vectors_move_from_one_engine_to_another_without_being_embedded(
    request: pytest.FixtureRequest, tmp_path: Path, photos: Path, encoder: PixelEncoder
) -> None:
    places = {name: address(request, name, tmp_path) for name in ("milvus", "postgresql")}
    open_collection(photos, encoder=encoder, engine=places["milvus"]).index()
    with open_collection(photos, encoder=encoder) as collection:
        encoded, before = encoder.encoded, answers(collection, "01.jpg", k=12)
        with pytest.raises(EngineError, match="keeps vectors as float32, not as float16"):
            collection.compact("float16")
        collection.compact("float16", engine=places["postgresql"])
        assert (collection.store.header.engine, collection.store.header.dtype) == (places["postgresql"], "float16")
        assert not exists(places["milvus"])
        assert not collection.verify()
        after = answers(collection, "01.jpg", k=12)
        assert [key for key, _ in after] == [key for key, _ in before]
        assert encoder.encoded == encoded
