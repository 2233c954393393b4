"""What a user gave to images outlives their rows: columns, and that they were taken out by hand."""

import os
import shutil
import tarfile
from pathlib import Path

import pytest

import lookalike.collection.collection as collections
from lookalike.collection.collection import Collection
from lookalike.collection.sync import IndexReport
from lookalike.errors import QueryError
from lookalike.images.sources import Folder
from lookalike.storage import metadata
from lookalike.storage.maintenance.merge import merge
from tests.support.pictures import PixelEncoder, picture


@pytest.fixture
def collection(photos: Path, encoder: PixelEncoder) -> Collection:
    """Twelve pictures; two have a label, and one was taken out by hand."""
    table = photos.parent / "labels.csv"
    table.write_text("key,label,stars\ntrip/03.png,beach,4\n01.jpg,door,2\n")
    collection = collections.open(photos, encoder=encoder, collection=photos.parent / "collection")
    collection.index(meta=[table])
    collection.remove(["trip/06.png"])
    return collection


def labelled(collection: Collection, label: str) -> list[str]:
    """Keys of the images with a label; none where there is no such column any more."""
    if "label" not in [name for _, name in collection.store.catalog.columns()]:
        return []
    return [hit.key for hit in collection.search(picture(0), 20, where=f"label = {label}")]


def touch(folder: Path) -> None:
    """Give all files another time, as a copy without times has."""
    for file in folder.rglob("*.*"):
        os.utime(file, ns=(7, 7))


# Columns


def test_columns_come_back_with_a_folder_that_was_away(photos: Path, collection: Collection) -> None:
    (photos / "trip").rename(photos.parent / "trip")
    collection.index()
    assert labelled(collection, "beach") == []
    (photos.parent / "trip").rename(photos / "trip")
    collection.index()
    assert labelled(collection, "beach") == ["trip/03.png"]


def test_columns_come_back_with_the_same_content_under_another_name(photos: Path, collection: Collection) -> None:
    (photos / "trip").rename(photos.parent / "trip")
    collection.index()
    (photos.parent / "trip").rename(photos / "journey")
    collection.index()
    assert labelled(collection, "beach") == ["journey/03.png"]


def test_columns_come_back_with_the_same_key_and_another_content(photos: Path, collection: Collection) -> None:
    (photos / "01.jpg").unlink()
    collection.index()
    picture(90).save(photos / "01.jpg")
    assert collection.index() == IndexReport(added=1, unchanged=10)
    assert labelled(collection, "door") == ["01.jpg"]


def test_columns_outlive_a_compaction(photos: Path, collection: Collection) -> None:
    trip = (photos / "trip").rename(photos.parent / "trip")
    door = (photos / "01.jpg").rename(photos.parent / "01.jpg")
    collection.index()
    collection.compact()
    assert collection.info()["removed"] == 0
    trip.rename(photos / "Trip")
    picture(90).save(door)
    door.rename(photos / "01.jpg")
    collection.index()
    assert labelled(collection, "beach") == ["Trip/03.png"]
    assert labelled(collection, "door") == ["01.jpg"]
    assert not collection.verify()


def test_a_compaction_after_the_return_of_an_image_knows_its_newest_columns(
    photos: Path, collection: Collection
) -> None:
    table = photos.parent / "labels.csv"
    for label in ("pier", "coast"):
        away = (photos / "01.jpg").rename(photos.parent / "01.jpg")
        collection.index()
        collection.compact()
        away.rename(photos / "01.jpg")
        table.write_text(f"key,label\n01.jpg,{label}\n")
        collection.index(meta=[table])
    (photos / "01.jpg").rename(photos.parent / "01.jpg")
    collection.index()
    collection.compact()
    (photos.parent / "01.jpg").rename(photos / "01.jpg")
    collection.index()
    assert labelled(collection, "coast") == ["01.jpg"]


def test_values_of_every_kind_come_back_as_they_were(photos: Path, encoder: PixelEncoder) -> None:
    values = {"whole": 2**62, "real": 0.1, "endless": float("inf"), "text": 'ä "b"', "bytes": b"\xff\x00"}
    with collections.open(photos, encoder=encoder) as collection:
        collection.index()
        with collection.store.writing() as store:
            metadata.put_row(store, 0, values)
        key = collection.key(0)
        away = (photos / key).rename(photos.parent / "away")
        collection.index()
        collection.compact()
        away.rename(photos / key)
        collection.index()
        assert collection.store.catalog.described([collection.row(key) or 0])[0][2] == values


def test_a_copy_has_no_columns_of_the_first(photos: Path, collection: Collection) -> None:
    shutil.copy(photos / "01.jpg", photos / "copy.jpg")
    collection.index()
    assert labelled(collection, "door") == ["01.jpg"]


def test_columns_stay_where_names_change_in_case_alone(
    photos: Path, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk of Windows or macOS, which says that the old name is still there."""
    (photos / "trip").rename(photos / "Trip")
    monkeypatch.setattr(Folder, "contains", lambda _, key: (photos / key.replace("trip", "Trip")).is_file())
    assert collection.index() == IndexReport(added=3, removed=3, unchanged=8)
    assert labelled(collection, "beach") == ["Trip/03.png"]
    assert collection.row("Trip/06.png") is None


def test_columns_stay_where_members_of_an_archive_have_other_names(photos: Path, encoder: PixelEncoder) -> None:
    archive, table = photos.parent / "shard.tar", photos.parent / "labels.csv"
    table.write_text("key,label\n01.jpg,door\n")
    with tarfile.open(archive, "w") as tar:
        tar.add(photos / "01.jpg", "01.jpg")
    with Collection(photos.parent / "collection", encoder, [archive]) as collection:
        collection.index(meta=[table])
        with tarfile.open(archive, "w") as tar:
            tar.add(photos / "01.jpg", "2019/01.jpg")
        assert collection.index() == IndexReport(added=1, removed=1)
        assert labelled(collection, "door") == ["2019/01.jpg"]


def test_an_image_that_was_damaged_and_embedded_again_has_its_columns(photos: Path, collection: Collection) -> None:
    collection.close()
    vectors = collection.path / "vectors.f32"
    vectors.write_bytes(bytes(vectors.stat().st_size))
    assert len(collection.verify(repair=True).rows) == 12
    touch(photos)
    collection.index()
    assert labelled(collection, "beach") == ["trip/03.png"]


def test_a_rebuild_keeps_the_columns_of_moved_images_and_of_those_that_are_away(
    photos: Path, collection: Collection
) -> None:
    (photos / "trip").rename(photos / "Journey")
    away = (photos / "01.jpg").rename(photos.parent / "01.jpg")
    assert collection.index(rebuild=True) == IndexReport(added=11)
    assert labelled(collection, "beach") == ["Journey/03.png"]
    away.rename(photos / "back.jpg")
    collection.index()
    assert labelled(collection, "door") == ["back.jpg"]


def test_a_merge_keeps_the_columns_of_images_that_are_away(
    photos: Path, collection: Collection, encoder: PixelEncoder
) -> None:
    other = photos.with_name("other")
    other.mkdir()
    picture(70).save(other / "70.png")
    with collections.open(other, encoder=encoder) as second:
        second.index()
    trip = (photos / "trip").rename(photos.parent / "trip")
    collection.index()
    collection.close()
    merge([other / ".lookalike", collection.path], photos.parent / "all")
    trip.rename(photos / "trip")
    with Collection(photos.parent / "all", encoder) as merged:
        merged.index()
        assert labelled(merged, "beach") == ["photos/trip/03.png"]
        assert merged.row("photos/trip/06.png") is None


# Taken out by hand


def test_an_image_that_was_taken_out_stays_out_whatever_its_time(photos: Path, collection: Collection) -> None:
    touch(photos)
    assert collection.index() == IndexReport(unchanged=11)
    assert collection.index() == IndexReport(unchanged=11)


def test_it_stays_out_with_its_folder_renamed(photos: Path, collection: Collection) -> None:
    (photos / "trip").rename(photos / "journey")
    assert collection.index() == IndexReport(renamed=3, unchanged=8)
    assert collection.row("journey/06.png") is None
    (photos / "journey").rename(photos / "trip")
    assert collection.index() == IndexReport(renamed=3, unchanged=8)


def test_it_stays_out_when_its_folder_was_away_and_the_collection_compacted(
    photos: Path, collection: Collection
) -> None:
    trip = (photos / "trip").rename(photos.parent / "trip")
    collection.index()
    collection.compact()
    trip.rename(photos / "journey")
    assert collection.index() == IndexReport(added=3, unchanged=8)
    assert collection.row("journey/06.png") is None


def test_it_comes_back_when_its_content_changes(photos: Path, collection: Collection) -> None:
    picture(90).save(photos / "trip" / "06.png")
    assert collection.index() == IndexReport(added=1, unchanged=11)
    picture(6).save(photos / "trip" / "06.png")
    assert collection.index() == IndexReport(removed=1, unchanged=11)


def test_a_copy_of_it_that_was_there_stays(photos: Path, collection: Collection) -> None:
    """One of two copies was taken out: which one it is, its key says."""
    shutil.copy(photos / "01.jpg", photos / "copy.jpg")
    collection.index()
    collection.remove(["01.jpg"])
    touch(photos)
    assert collection.index() == IndexReport(unchanged=11)
    assert collection.row("copy.jpg") is not None
    assert collection.index(rebuild=True) == IndexReport(added=13)
    assert len(collection) == 11
    assert collection.row("copy.jpg") is not None
    (photos / "copy.jpg").rename(photos / "moved.jpg")
    assert collection.index() == IndexReport(renamed=1, unchanged=10)


def test_it_stays_out_of_a_rebuild(photos: Path, collection: Collection) -> None:
    collection.index(rebuild=True)
    assert collection.row("trip/06.png") is None
    (photos / "trip").rename(photos / "Trip")
    collection.index(rebuild=True)
    assert len(collection) == 11
    assert collection.row("Trip/06.png") is None
    assert collection.index() == IndexReport(unchanged=11)


def test_it_stays_out_of_a_rebuild_in_which_its_folder_has_another_prefix(photos: Path, collection: Collection) -> None:
    other = photos.with_name("other")
    other.mkdir()
    picture(70).save(other / "70.png")
    collection.index([other, photos], rebuild=True)
    assert sorted(collection.keys())[:2] == ["70.png", "photos/01.jpg"]
    assert collection.row("photos/trip/06.png") is None
    assert labelled(collection, "beach") == ["photos/trip/03.png"]


def test_it_stays_out_of_a_further_vector_set(collection: Collection) -> None:
    collection.add_set("thumbnail")
    assert [len(vectors) for vectors in collection.sets.values()] == [11, 11]
    assert labelled(collection.sets["thumbnail"], "beach") == ["trip/03.png"]
    assert collection.sets["thumbnail"].store.catalog.count_values() == 4


def test_it_comes_back_when_that_is_undone(photos: Path, collection: Collection) -> None:
    with pytest.raises(QueryError, match=r"01.jpg: was not taken out of .* by hand; nothing was changed"):
        collection.restore(["trip/06.png", "01.jpg"])
    assert collection.index() == IndexReport(unchanged=11)
    assert collection.restore(["trip/06.png"]) == 1
    assert collection.index() == IndexReport(added=1, unchanged=11)
    collection.index(rebuild=True)
    assert len(collection) == 12
