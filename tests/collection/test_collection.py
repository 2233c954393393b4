import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import lookalike.collection.collection as collections
from lookalike.collection.collection import Collection
from lookalike.collection.sync import IndexReport
from lookalike.errors import CollectionError, EncoderMismatch, QueryError, SourceError
from lookalike.index.library import library
from lookalike.search import hybrid as spaces
from lookalike.storage.sqlite import Database
from lookalike.storage.store import Store
from lookalike.storage.vectors import VectorFile
from lookalike.types import Box, Ids, Probe, Vectors
from tests.support.pictures import PixelEncoder, picture
from tests.support.vectors import clustered, make


def indexed(folder: Path, encoder: PixelEncoder) -> Collection:
    collection = collections.open(folder, encoder=encoder)
    collection.index()
    return collection


def state(collection: Collection) -> dict[str, bytes]:
    """Keys and the vectors behind them."""
    return {
        item.key: collection.gallery.vectors(np.array([item.row])).tobytes()
        for item in collection.store.catalog.live_items()
    }


# Indexing


def test_a_folder_becomes_a_collection_beside_its_photos(photos: Path, encoder: PixelEncoder) -> None:
    collection = collections.open(photos, encoder=encoder)
    assert collection.index() == IndexReport(added=12)
    assert collection.path == photos / ".lookalike"
    assert sorted(collection.keys())[::11] == ["01.jpg", "trip/09.png"]
    assert len(collection) == 12


def test_a_second_run_has_nothing_to_embed(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    assert collection.index() == IndexReport(unchanged=12)
    assert encoder.encoded == 12


def test_new_changed_and_deleted_files_are_seen(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    picture(50).save(photos / "new.png")
    picture(51).save(photos / "01.jpg")
    (photos / "02.jpg").unlink()
    assert collection.index() == IndexReport(added=1, changed=1, removed=1, unchanged=10)
    assert encoder.encoded == 14
    assert collection.search(photos / "01.jpg", 1)[0].key == "01.jpg"
    assert collection.row("02.jpg") is None


def test_a_touched_file_is_compared_by_content(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    os.utime(photos / "01.jpg", ns=(1, 1))
    assert collection.index() == IndexReport(unchanged=12)
    assert collection.index() == IndexReport(unchanged=12)
    assert encoder.encoded == 12


def test_a_file_that_was_overwritten_with_as_many_bytes_is_embedded_again(photos: Path, encoder: PixelEncoder) -> None:
    picture(20).save(photos / "same size.bmp")
    collection = indexed(photos, encoder)
    size = (photos / "same size.bmp").stat().st_size
    picture(21).save(photos / "same size.bmp")
    os.utime(photos / "same size.bmp", ns=(7, 7))  # the clock of a file system may stand still between two writes
    assert (photos / "same size.bmp").stat().st_size == size
    assert collection.index() == IndexReport(changed=1, unchanged=12)
    assert collection.search(picture(21), 1)[0].key == "same size.bmp"


def test_renamed_and_moved_files_are_recognised_without_embedding(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    before = collection.row("01.jpg")
    (photos / "01.jpg").rename(photos / "trip" / "moved.jpg")
    assert collection.index() == IndexReport(renamed=1, unchanged=11)
    assert collection.row("trip/moved.jpg") == before
    assert encoder.encoded == 12


def test_a_copy_is_embedded_once_and_found_twice(photos: Path, encoder: PixelEncoder) -> None:
    shutil.copy(photos / "01.jpg", photos / "zz copy.jpg")
    collection = indexed(photos, encoder)
    again = indexed(photos, encoder)
    assert [hit.key for hit in again.search(photos / "zz copy.jpg", 2)] == ["zz copy.jpg", "01.jpg"]
    shutil.copy(photos / "01.jpg", photos / "later.jpg")
    assert collection.index() == IndexReport(added=1, unchanged=13)
    assert encoder.encoded <= 13  # the first pair may be in flight together


def test_two_files_that_exchange_names_keep_their_vectors(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    before = state(collection)
    (photos / "01.jpg").rename(photos / "x")
    (photos / "02.jpg").rename(photos / "01.jpg")
    (photos / "x").rename(photos / "02.jpg")
    os.utime(photos / "01.jpg", ns=(5, 5))
    os.utime(photos / "02.jpg", ns=(6, 6))
    assert collection.index() == IndexReport(changed=2, unchanged=10)
    after = state(collection)
    assert (after["01.jpg"], after["02.jpg"]) == (before["02.jpg"], before["01.jpg"])
    assert encoder.encoded == 12


def test_a_deleted_file_that_comes_back_is_not_embedded_again(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    shutil.move(photos / "01.jpg", photos.parent / "01.jpg")
    assert collection.index().removed == 1
    shutil.move(photos.parent / "01.jpg", photos / "01.jpg")
    assert collection.index() == IndexReport(added=1, unchanged=11)
    assert encoder.encoded == 12


def test_broken_files_are_listed_and_mended_ones_leave_the_list(photos: Path, encoder: PixelEncoder) -> None:
    (photos / "broken.jpg").write_bytes(b"no picture")
    collection = collections.open(photos, encoder=encoder)
    assert collection.index() == IndexReport(added=12, skipped=1)
    assert collection.skipped() == [("broken.jpg", "not an image")]
    picture(77).save(photos / "broken.jpg")
    assert collection.index() == IndexReport(added=1, unchanged=12)
    assert collection.skipped() == []


def test_a_file_that_breaks_is_no_longer_found(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    (photos / "01.jpg").write_bytes(b"overwritten")
    assert collection.index() == IndexReport(removed=1, unchanged=11, skipped=1)
    assert collection.row("01.jpg") is None


def test_a_folder_that_vanished_is_an_error_and_forgets_nothing(photos: Path, encoder: PixelEncoder) -> None:
    collection = collections.open(photos, encoder=encoder, collection=photos.parent / "collection")
    collection.index()
    photos.rename(photos.parent / "unplugged")
    with pytest.raises(SourceError, match="no such folder, archive or list"):
        collection.index()
    assert len(collection) == 12


def test_a_folder_that_cannot_be_read_for_once_is_told_and_forgets_nothing(
    photos: Path, encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a network that is slow, say; the permissions of a folder do not hold root back."""
    collection = indexed(photos, encoder)
    before, scandir = sorted(collection.keys()), os.scandir

    def refused(folder: Path) -> Any:
        if folder == photos / "trip":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refused)
    assert collection.index() == IndexReport(unchanged=8, skipped=1)
    assert collection.skipped() == [("trip/", "folder cannot be read")]
    assert sorted(collection.keys()) == before
    monkeypatch.undo()
    assert collection.index() == IndexReport(unchanged=12)
    assert collection.skipped() == []


def test_a_copy_in_another_folder_is_no_new_name_of_the_first(tmp_path: Path, encoder: PixelEncoder) -> None:
    for place in ("a/one.png", "b/two.png"):
        (tmp_path / place).parent.mkdir()
        picture(0).save(tmp_path / place)
    collection = Collection(tmp_path / "collection", encoder)
    collection.index([tmp_path / "a"])
    assert collection.index([tmp_path / "b"]) == IndexReport(added=1)
    assert collection.keys() == ["one.png", "b/two.png"]
    assert encoder.encoded == 1


def test_of_two_sources_with_an_image_of_one_key_the_first_keeps_it(tmp_path: Path, encoder: PixelEncoder) -> None:
    for number, place in enumerate(("a/photos/same.png", "b/photos/same.png")):
        (tmp_path / place).parent.mkdir(parents=True)
        picture(number).save(tmp_path / place)
    collection = Collection(tmp_path / "collection", encoder)
    collection.index([tmp_path / "a"])
    assert collection.index([tmp_path / "b" / "photos"]) == IndexReport(skipped=1)
    reason = "another source of this collection has an image of this name"
    assert collection.skipped() == [("photos/same.png", reason)]
    assert collection.search(picture(0), 1)[0].path == tmp_path / "a" / "photos" / "same.png"
    assert len(collection) == 1


def test_several_folders_in_one_collection_keep_their_names_apart(tmp_path: Path, encoder: PixelEncoder) -> None:
    for number, place in enumerate(["a/photos", "b/photos"]):
        (tmp_path / place).mkdir(parents=True)
        picture(number).save(tmp_path / place / "same.png")
    collection = Collection(tmp_path / "collection", encoder)
    collection.index([tmp_path / "a/photos"])
    collection.index([tmp_path / "b/photos"])
    assert collection.keys() == ["same.png", "photos/same.png"]
    assert collection.search(tmp_path / "b/photos/same.png", 1)[0].path == tmp_path / "b/photos/same.png"
    assert collection.index() == IndexReport(unchanged=2)


def test_a_collection_beside_its_photos_moves_with_them(photos: Path, encoder: PixelEncoder) -> None:
    indexed(photos, encoder).close()
    moved = photos.rename(photos.parent / "elsewhere")
    hit = collections.open(moved, encoder=encoder).search("01.jpg", 1)[0]
    assert hit.path == moved / "01.jpg"
    assert hit.path.is_file()


def test_progress_counts_to_the_total(photos: Path, encoder: PixelEncoder) -> None:
    calls: list[tuple[int, int | None]] = []
    collections.open(photos, encoder=encoder).index(progress=lambda done, total: calls.append((done, total)))
    assert calls == [(number, 12) for number in range(1, 13)]


# Another encoder


class OtherEncoder(PixelEncoder):
    name = "other"
    fingerprint = "0" * 64


class NewerEncoder(PixelEncoder):
    fingerprint = "0" * 64


def test_an_encoder_whose_vectors_changed_is_refused_with_the_way_out(photos: Path, encoder: PixelEncoder) -> None:
    indexed(photos, encoder).close()
    expected = r"was made with pixels of other weights or of an earlier release .*; index again with --rebuild$"
    with pytest.raises(EncoderMismatch, match=expected):
        collections.open(photos, encoder=NewerEncoder()).search(picture(1))


def test_another_encoder_is_refused_with_the_way_out(photos: Path, encoder: PixelEncoder) -> None:
    indexed(photos, encoder).close()
    collection = collections.open(photos, encoder=OtherEncoder())
    with pytest.raises(EncoderMismatch, match=r"was made with pixels .*, not other .*--rebuild"):
        collection.index()
    with pytest.raises(EncoderMismatch):
        collection.search(picture(1))
    with pytest.raises(EncoderMismatch):
        collection.search(photos / "01.jpg")  # whose stored vector is the other encoder's


def test_rebuild_embeds_everything_with_the_new_encoder(photos: Path, encoder: PixelEncoder) -> None:
    indexed(photos, encoder).close()
    collection = collections.open(photos, encoder=OtherEncoder())
    assert collection.index(rebuild=True) == IndexReport(added=12)
    assert collection.info()["encoder"] == "other"
    assert collection.search("01.jpg", 1)[0].path == photos / "01.jpg"
    assert [path.name for path in photos.iterdir() if path.name.startswith(".")] == [".lookalike"]


def test_a_rebuild_by_a_relative_path_keeps_its_source_and_every_image_once(
    photos: Path, encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    indexed(Path("photos"), encoder).close()
    with collections.open("photos", encoder=encoder) as collection:
        collection.index(rebuild=True)
        assert collection.info()["sources"] == ["photos"]
    with collections.open("photos", encoder=encoder) as collection:
        assert collection.index(["photos"]) == IndexReport(unchanged=12)
        assert collection.gallery.path(0) == Path("photos") / collection.key(0)


class Interrupted(PixelEncoder):
    """Ctrl-C comes once it has encoded so many."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        if self.encoded >= self.most:
            raise KeyboardInterrupt
        return super().encode_batch(prepared)


@pytest.fixture
def interrupted(photos: Path, encoder: PixelEncoder) -> Path:
    """A collection of two folders whose rebuild was interrupted in the second one."""
    second = photos.with_name("second")
    second.mkdir()
    picture(77).save(second / "77.jpg")
    path = photos.parent / "collection"
    with Collection(path, encoder) as collection:
        collection.index([photos, second])
    with Collection(path, Interrupted(12)) as collection, pytest.raises(KeyboardInterrupt):
        collection.index(rebuild=True)
    return path


def test_an_interrupted_rebuild_goes_on(interrupted: Path, encoder: PixelEncoder) -> None:
    with Collection(interrupted, encoder) as collection:
        assert collection.index(rebuild=True) == IndexReport(added=1, unchanged=12)
        assert len(collection) == 13
    assert encoder.encoded == 13 + 1


def test_a_rebuild_of_one_folder_does_not_go_on_with_one_of_two(
    interrupted: Path, photos: Path, encoder: PixelEncoder
) -> None:
    with Collection(interrupted, encoder) as collection:
        collection.index([photos], rebuild=True)
        assert collection.info()["sources"] == [str(photos)]
        assert len(collection) == 12


def test_a_rebuild_does_not_go_on_with_vectors_of_other_weights(interrupted: Path, encoder: PixelEncoder) -> None:
    encoder.fingerprint = "0" * 64
    with Collection(interrupted, encoder) as collection:
        assert collection.index(rebuild=True) == IndexReport(added=13)
        assert collection.store.header.fingerprint == "0" * 64
    assert not interrupted.with_name("collection.new").exists()


def test_an_interrupted_exchange_of_a_rebuild_is_finished(photos: Path, encoder: PixelEncoder) -> None:
    indexed(photos, encoder).close()
    (photos / ".lookalike").rename(photos / ".lookalike.old")
    assert len(collections.open(photos, encoder=encoder)) == 12


# Searching


def test_the_query_itself_comes_first_with_score_one(photos: Path, encoder: PixelEncoder) -> None:
    hits = indexed(photos, encoder).search(photos / "04.jpg", 3)
    assert (hits[0].rank, hits[0].key, hits[0].path, hits[0].score) == (1, "04.jpg", photos / "04.jpg", 1.0)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert hits[1].score >= hits[2].score


def test_without_the_query_itself_there_are_as_many_results(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    whole = collection.search(photos / "04.jpg", 4)
    alone = collection.search(photos / "04.jpg", 3, exclude_self=True)
    assert [(hit.rank, hit.key) for hit in alone] == [(hit.rank - 1, hit.key) for hit in whole[1:]]


def test_exclude_self_leaves_only_others(photos: Path, encoder: PixelEncoder) -> None:
    hits = indexed(photos, encoder).search(photos / "04.jpg", 20, exclude_self=True)
    assert len(hits) == 11
    assert "04.jpg" not in [hit.key for hit in hits]
    assert hits[0].rank == 1


def test_a_stored_image_needs_no_encoder_to_be_searched_for(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    collection.search("04.jpg")
    collection.search(photos / "04.jpg")
    collection.search((photos / "04.jpg").read_bytes())
    assert encoder.encoded == 12


def test_scores_are_cosines(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    query = encoder.encode([picture(99)])[0]
    hits = collection.search(picture(99), 12)
    for hit in hits:
        row = collection.row(hit.key)
        assert row is not None
        assert hit.score == pytest.approx(float(collection.gallery.vectors(np.array([row]))[0] @ query), abs=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_distances_are_those_of_index_flat_l2_and_only_their_rows_are_read(
    tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    faiss = library()

    vectors = clustered(500)
    with closing(make(tmp_path, vectors, dtype)) as store:
        reference = faiss.IndexFlatL2(32)
        reference.add(store.vectors.block(0, 500))
        keys = [store.catalog.item(row).key for row in (7, 499, 0, 7, 123)]
    read: list[list[int]] = []
    rows = VectorFile.rows

    def reading(file: VectorFile, ids: Ids) -> Vectors:
        read.append(ids.tolist())
        return rows(file, ids)

    monkeypatch.setattr(VectorFile, "rows", reading)
    monkeypatch.setattr(VectorFile, "block", lambda *_: pytest.fail("all rows were read"))
    with Collection(tmp_path) as collection:
        for query in (vectors[7], clustered(1, seed=5)[0]):
            expected, ids = reference.search(query[None], 500)
            by_row = dict(zip(ids[0].tolist(), expected[0].tolist(), strict=True))
            distances = collection.distances(Probe(query[None]), keys)
            assert np.allclose(distances, [by_row[row] for row in (7, 499, 0, 7, 123)], rtol=0, atol=1e-6)
    assert read == [[7, 499, 0, 7, 123]] * 2


def test_a_distance_to_a_key_that_is_not_there_is_refused_and_so_is_a_vector_of_another_length(
    photos: Path, encoder: PixelEncoder
) -> None:
    with closing(indexed(photos, encoder)) as collection:
        probe = Probe(np.eye(1, 192, dtype=np.float32))
        with pytest.raises(QueryError, match=r"no/such\.jpg: no such key in .*photos"):
            collection.distances(probe, ["01.jpg", "no/such.jpg"])
        with pytest.raises(QueryError, match="the query vector has 8 numbers, the collection's have 192"):
            collection.distances(Probe(np.eye(1, 8, dtype=np.float32)), ["01.jpg"])
        assert collection.distances(probe, []).tolist() == []


def test_a_path_an_image_its_bytes_and_its_vector_ask_the_same(photos: Path, encoder: PixelEncoder) -> None:
    collection, outside = indexed(photos, encoder), photos.parent / "query.png"
    picture(99).save(outside)
    queries = [outside, str(outside), Image.open(outside), outside.read_bytes(), encoder.encode([outside])[0] * 3]
    answers = [[hit.key for hit in collection.search(query, 5)] for query in queries]
    assert all(answer == answers[0] for answer in answers)


def test_a_box_searches_for_a_region(tmp_path: Path, encoder: PixelEncoder) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        picture(number, (80, 80)).save(folder / f"{number}.png")
    both = Image.new("RGB", (160, 80))
    both.paste(Image.open(folder / "3.png"), (0, 0))
    both.paste(Image.open(folder / "5.png"), (80, 0))
    both.save(tmp_path / "both.png")
    collection = indexed(folder, encoder)
    assert collection.search(tmp_path / "both.png", 1, box=Box(0, 0, 80, 80))[0].key == "3.png"
    assert collection.search(tmp_path / "both.png", 1, box=Box(80, 0, 160, 80))[0].key == "5.png"


def test_a_region_of_a_stored_image_scores_as_any_other(photos: Path, encoder: PixelEncoder) -> None:
    """The whole image is not the region: it comes where its cosine puts it, and not first with score 1."""
    collection, box = indexed(photos, encoder), Box(0, 0, 24, 16)
    region = encoder.encode([picture(4).crop((0, 0, 24, 16))])[0]
    picture(4).save(photos / "exact.png")
    collection.index()
    hits = collection.search("exact.png", 13, box=box)
    cosines = {path: float(encoder.encode([photos / path])[0] @ region) for path in sorted(collection.keys())}
    assert [hit.key for hit in hits] == sorted(cosines, key=lambda key: -cosines[key])
    assert [hit.score for hit in hits] == pytest.approx([cosines[hit.key] for hit in hits], abs=1e-5)
    assert cosines["exact.png"] < 0.9


def test_a_search_during_which_rows_get_new_numbers_begins_again(
    photos: Path, encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection, answer, calls = indexed(photos, encoder), spaces.answer, 0
    first, last = collection.key(0), collection.key(11)
    expected = [hit.key for hit in collection.search(picture(4), 12) if hit.key != first][:3]
    assert last not in expected, "its number would be missed afterwards, and the search begin again for that"

    def overtaken(*arguments: Any) -> spaces.Answer:
        """Another process clears the first row away, once the rows were found."""
        nonlocal calls
        calls += 1
        result = answer(*arguments)
        if calls == 1:
            with Collection(collection.path, encoder) as other:
                other.remove([other.key(0)])
                other.compact()
        return result

    monkeypatch.setattr(spaces, "answer", overtaken)
    assert [hit.key for hit in collection.search(picture(4), 3)] == expected
    assert calls == 2


def test_several_queries_are_averaged(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    hits = collection.search([photos / "01.jpg", "02.jpg"], 2)
    assert {hit.key for hit in hits} == {"01.jpg", "02.jpg"}
    assert hits[0].score == pytest.approx(hits[1].score, abs=1e-6)


def test_min_score_cuts_off(photos: Path, encoder: PixelEncoder) -> None:
    assert [hit.key for hit in indexed(photos, encoder).search("01.jpg", 12, min_score=0.999)] == ["01.jpg"]


def test_a_score_that_is_exactly_min_score_is_kept(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    first, second, third = collection.search("01.jpg", 3)
    assert (first.score, second.score > third.score) == (1.0, True)
    assert collection.search("01.jpg", 12, min_score=1.0) == [first]
    assert collection.search("01.jpg", 12, min_score=second.score) == [first, second]
    above = float(np.nextafter(np.float32(second.score), np.float32(2)))
    assert collection.search("01.jpg", 12, min_score=above) == [first]


@pytest.mark.parametrize(
    ("query", "box", "message"),
    [
        ("nowhere.jpg", None, "nowhere.jpg: no such file, and no such key in the collection"),
        ([], None, "no query was given"),
        (["01.jpg", "02.jpg"], Box(0, 0, 1, 1), "a box goes with one query image"),
        ("01.jpg", Box(100, 0, 200, 10), "has no area inside the image of 64 x 48 pixels"),
        (b"not an image", None, "the query image: not an image"),
        (np.zeros(192, np.float32), None, "finite and not zero"),
        (np.ones(7, np.float32), None, "has 7 numbers, the collection's have 192"),
    ],
)
def test_a_bad_query_is_one_line(
    photos: Path, encoder: PixelEncoder, query: object, box: Box | None, message: str
) -> None:
    with pytest.raises(QueryError, match=message):
        indexed(photos, encoder).search(query, box=box)  # type: ignore[arg-type]


@pytest.mark.parametrize(("k", "offset"), [(0, 0), (-1, 0), (1, -1)])
def test_no_results_and_none_before_the_first_can_be_asked_for(
    photos: Path, encoder: PixelEncoder, k: int, offset: int
) -> None:
    with pytest.raises(QueryError, match=f"k = {k} and offset = {offset}: k is at least 1, offset at least 0"):
        indexed(photos, encoder).search("01.jpg", k, offset=offset)


def test_searching_before_indexing_names_the_command(photos: Path, encoder: PixelEncoder) -> None:
    with pytest.raises(CollectionError, match=r"has not been indexed; run `lookalike index .*photos`"):
        collections.open(photos, encoder=encoder).search(picture(1))


def test_another_process_sees_what_was_committed(photos: Path, encoder: PixelEncoder) -> None:
    reader, writer = indexed(photos, encoder), collections.open(photos, encoder=encoder)
    assert len(reader.search("01.jpg", 100)) == 12
    picture(60).save(photos / "more.png")
    writer.index()
    assert len(reader.search("01.jpg", 100)) == 13


# Removing and verifying


def test_removed_images_stay_out_until_they_change(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    assert collection.remove(["01.jpg"]) == 1
    assert "01.jpg" not in [hit.key for hit in collection.search("02.jpg", 100)]
    assert collection.index() == IndexReport(unchanged=11)
    picture(61).save(photos / "01.jpg")
    assert collection.index() == IndexReport(added=1, unchanged=11)


def test_an_image_is_read_once_to_be_removed(
    photos: Path, encoder: PixelEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(indexed(photos, encoder)) as collection:
        statements: list[str] = []
        query = Database.query

        def asking(database: Database, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
            statements.append(sql)
            return query(database, sql, values)

        monkeypatch.setattr(Database, "query", asking)
        assert collection.remove(["01.jpg", "02.jpg", "01.jpg"]) == 2
        assert len([sql for sql in statements if "FROM items WHERE" in sql]) == 2
        monkeypatch.undo()
        assert len(collection) == 10
        assert collection.index().to_json() == IndexReport(unchanged=10).to_json()


def test_what_is_made_of_a_collection_is_made_through_the_files_that_it_has_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    make(tmp_path / "c", clustered(300)).close()
    stores: list[str] = []
    open_ = Store._open

    def opening(store: Store) -> None:
        stores.append(store.path.name)
        open_(store)

    monkeypatch.setattr(Store, "_open", opening)
    with Collection(tmp_path / "c") as collection:
        collection.remove(["0/000000.jpg"])
        collection.optimize("IVF4,Flat")
        assert stores == ["c"]
        collection.compact()
        assert stores == ["c", "c.compact"]
        assert len(collection) == 299
        collection.whiten(dim=8)
        assert stores == ["c", "c.compact", "c", "c.whitened"]
        assert collection.store.header.dim == 8
        assert collection.keys()[0] == "1/000001.jpg"


def test_a_removed_image_that_was_overwritten_with_as_many_bytes_comes_back(
    photos: Path, encoder: PixelEncoder
) -> None:
    picture(20).save(photos / "same size.bmp")
    collection = indexed(photos, encoder)
    collection.remove(["same size.bmp"])
    assert collection.index() == IndexReport(unchanged=12)
    picture(21).save(photos / "same size.bmp")
    os.utime(photos / "same size.bmp", ns=(7, 7))
    assert collection.index() == IndexReport(added=1, unchanged=12)


def test_an_unknown_key_removes_nothing(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    with pytest.raises(QueryError, match=r"nowhere.jpg: no such key in .*; nothing was removed"):
        collection.remove(["01.jpg", "nowhere.jpg"])
    assert len(collection) == 12


def test_repair_loses_only_the_damaged_rows_and_indexing_brings_them_back(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    before = state(collection)
    vectors = photos / ".lookalike" / "vectors.f32"
    data = bytearray(vectors.read_bytes())
    data[5 * 4 * 192 + 100] ^= 1
    vectors.write_bytes(data)
    key = collection.key(5)
    assert collection.verify(repair=True).rows == ((5, key),)
    assert not collection.verify()
    assert len(collection) == 11
    assert collection.index() == IndexReport(added=1, unchanged=11)
    assert state(collection) == before


def test_a_cut_vector_file_is_repaired(photos: Path, encoder: PixelEncoder) -> None:
    collection = indexed(photos, encoder)
    before = state(collection)
    collection.close()
    with (photos / ".lookalike" / "vectors.f32").open("r+b") as file:
        file.truncate(9 * 4 * 192 + 10)
    assert [row for row, _ in collection.verify(repair=True).rows] == [9, 10, 11]
    assert collection.index() == IndexReport(added=3, unchanged=9)
    assert state(collection) == before
