"""Where the images of a collection come from: sources that moved, that are away, and that are forgotten."""

import os
import shutil
import tarfile
from pathlib import Path

import pytest

import lookalike.collection.collection as collections
from lookalike.collection.collection import Collection
from lookalike.collection.parents import Parent, parent_of
from lookalike.collection.sync import IndexReport
from lookalike.errors import CollectionError, SourceError
from tests.support.pictures import PixelEncoder, picture


@pytest.fixture
def collection(photos: Path, encoder: PixelEncoder) -> Collection:
    """Of twelve pictures in one folder and one in another, beside both."""
    other = photos.with_name("other")
    other.mkdir()
    picture(70).save(other / "70.png")
    collection = Collection(photos.parent / "collection", encoder, [photos, other])
    collection.index()
    return collection


def states(collection: Collection) -> list[tuple[str, str, int]]:
    return [(Path(place.location).name, place.state, place.images) for place in collection.sources()]


def test_sources_are_listed_with_what_they_hold(photos: Path, collection: Collection) -> None:
    assert states(collection) == [("photos", "reachable", 12), ("other", "reachable", 1)]
    away = photos.rename(photos.with_name("away"))
    assert states(collection) == [("photos", "unreachable", 12), ("other", "reachable", 1)]
    photos.mkdir()
    assert states(collection)[0] == ("photos", "empty", 12)
    assert collection.sources()[0].to_json() == {
        "location": str(photos),
        "state": "empty",
        "images": 12,
        "prefix": "",
        "reachable": False,
    }
    assert away.is_dir()


# Moved


def test_a_source_moves_and_nothing_is_embedded(photos: Path, collection: Collection, encoder: PixelEncoder) -> None:
    collection.add_set("thumbnail")
    before = list(collection.store.catalog.rows_of_source(1))
    moved = photos.rename(photos.with_name("moved"))
    for file in moved.rglob("*.*"):
        os.utime(file, ns=(7, 7))  # a copy has other times
    collection.move_source(photos, moved)
    assert states(collection)[0] == ("moved", "reachable", 12)
    assert collection.index() == IndexReport(unchanged=13)
    assert encoder.encoded == 13
    assert list(collection.store.catalog.rows_of_source(1)) == before
    assert collection.search(picture(1), 1)[0].path == moved / "01.jpg"
    assert states(collection.sets["thumbnail"])[0] == ("moved", "reachable", 12)
    assert not collection.verify()


def test_a_place_with_other_images_is_refused_unless_forced(photos: Path, collection: Collection) -> None:
    moved = Path(shutil.copytree(photos, photos.with_name("moved")))
    for number in (1, 2):
        picture(number + 200).save(moved / f"{number:02}.jpg")
    with pytest.raises(CollectionError, match=r"moved: 10 of 12 images that were compared are those of .*--force"):
        collection.move_source(photos, moved)
    assert states(collection)[0] == ("photos", "reachable", 12)
    collection.move_source(photos, moved, force=True)
    assert collection.index() == IndexReport(changed=2, unchanged=11)


def test_a_place_that_is_not_there_or_no_source_is_refused(photos: Path, collection: Collection) -> None:
    with pytest.raises(SourceError, match="no such folder, archive or list"):
        collection.move_source(photos, photos.with_name("nowhere"))
    with pytest.raises(CollectionError, match=rf"elsewhere: no source of .*; there are: {photos}, .*other"):
        collection.move_source("/elsewhere", photos)
    with pytest.raises(CollectionError, match=r"is a source of .* already; forget it before"):
        collection.move_source(photos, photos.with_name("other"), force=True)


def test_an_archive_moves(photos: Path, encoder: PixelEncoder) -> None:
    archive = photos.parent / "shard.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(photos, "")
    collection = Collection(photos.parent / "collection", encoder, [archive])
    collection.index()
    moved = archive.rename(photos.parent / "moved.tar")
    collection.move_source(archive, moved)
    assert collection.index() == IndexReport(unchanged=12)


def test_a_collection_inside_the_new_place_goes_with_it(photos: Path, encoder: PixelEncoder) -> None:
    collection = collections.open(photos, encoder=encoder)
    collection.index()
    copy = Path(shutil.copytree(photos, photos.with_name("copy")))
    collection.move_source(photos, copy)
    collection.move_source(copy, photos)
    collection.close()
    moved = photos.rename(photos.with_name("moved"))
    with collections.open(moved, encoder=encoder) as again:
        assert states(again) == [("moved", "reachable", 12)]


def test_a_moved_folder_that_is_indexed_is_recognised(photos: Path, collection: Collection) -> None:
    """Beside the command, the error names where from and where to; every image would be there twice."""
    moved = photos.rename(photos.with_name("moved to"))
    picture(90).save(moved / "new.png")
    command = f"lookalike sources {collection.path} --move {photos} '{moved}'"
    with pytest.raises(CollectionError, match=command):
        collection.index([moved])
    assert len(collection) == 13
    collection.move_source(photos, moved)
    assert collection.index([moved]) == IndexReport(added=1, unchanged=12)


def test_a_copy_of_a_folder_that_is_there_is_a_source_of_its_own(photos: Path, collection: Collection) -> None:
    copy = shutil.copytree(photos, photos.with_name("copy"))
    assert collection.index([copy]) == IndexReport(added=12)


def test_a_new_folder_is_indexed_while_another_is_away(photos: Path, collection: Collection) -> None:
    photos.rename(photos.with_name("away"))
    new = photos.with_name("new")
    new.mkdir()
    for number in (91, 92, 93):
        picture(number).save(new / f"{number}.png")
    shutil.copy(photos.with_name("away") / "01.jpg", new / "01.jpg")
    assert collection.index([new]) == IndexReport(added=4)


def opened_with(photos: Path, collection: Collection, encoder: PixelEncoder, with_sources: bool) -> Collection:
    """The same collection, by its own sources or by those that it is opened with."""
    return Collection(collection.path, encoder, [photos, photos.with_name("other")] if with_sources else [])


@pytest.mark.parametrize("with_sources", [False, True])
def test_sources_that_are_all_away_are_named_with_the_command_that_lists_them(
    photos: Path, collection: Collection, encoder: PixelEncoder, with_sources: bool
) -> None:
    for name in ("photos", "other"):
        photos.with_name(name).rename(photos.with_name(f"{name} away"))
    with pytest.raises(SourceError, match=f"lookalike sources {collection.path}` lists the sources, and moves them"):
        opened_with(photos, collection, encoder, with_sources).index()
    assert len(collection) == 13


@pytest.mark.parametrize("with_sources", [False, True])
def test_where_one_source_is_away_the_others_are_brought_into_step(
    photos: Path, collection: Collection, encoder: PixelEncoder, with_sources: bool
) -> None:
    away = photos.rename(photos.with_name("away"))
    picture(71).save(photos.with_name("other") / "71.png")
    again = opened_with(photos, collection, encoder, with_sources)
    report = again.index()
    assert report == IndexReport(added=1, unchanged=1)
    assert report.unreachable == {str(photos): f"{photos}: no such folder, archive or list"}
    assert len(again) == 14
    away.rename(photos)
    report = again.index()
    assert (report, report.unreachable) == (IndexReport(unchanged=14), {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_away(photos: Path, collection: Collection, encoder: PixelEncoder) -> None:
    photos.chmod(0)
    try:
        report = Collection(collection.path, encoder).index()
    finally:
        photos.chmod(0o755)
    assert (report, list(report.unreachable)) == (IndexReport(unchanged=1), [str(photos)])


def test_an_archive_that_is_away_keeps_its_images(photos: Path, encoder: PixelEncoder) -> None:
    archive = photos.parent / "shard.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(photos / "trip", "")
    collection = Collection(photos.parent / "collection", encoder, [archive, photos])
    collection.index()
    archive.unlink()
    report = collection.index()
    assert (report, list(report.unreachable)) == (IndexReport(unchanged=12), [str(archive)])
    assert len(collection) == 16


def test_a_source_that_is_named_and_away_is_an_error(photos: Path, collection: Collection) -> None:
    photos.rename(photos.with_name("away"))
    with pytest.raises(SourceError, match="photos: no such folder"):
        collection.index([photos, photos.with_name("other")])


def test_patterns_are_remembered_for_a_source_that_is_away(
    photos: Path, collection: Collection, encoder: PixelEncoder
) -> None:
    away = photos.rename(photos.with_name("away"))
    again = Collection(collection.path, encoder)
    assert again.index(ignore=["01.jpg", "70.png"]) == IndexReport(removed=1)
    away.rename(photos)
    assert again.index() == IndexReport(removed=1, unchanged=11)
    assert again.row("01.jpg") is None


def test_a_rebuild_needs_all_sources(photos: Path, collection: Collection, encoder: PixelEncoder) -> None:
    photos.rename(photos.with_name("away"))
    with pytest.raises(SourceError, match="lists the sources, and moves them"):
        Collection(collection.path, encoder).index(rebuild=True)
    assert len(collection) == 13


def test_a_further_vector_set_has_the_same_keys_whichever_source_was_away_when_it_was_made(
    photos: Path, collection: Collection, encoder: PixelEncoder
) -> None:
    away = photos.rename(photos.with_name("away"))
    again = Collection(collection.path, encoder)
    report = again.add_set("thumbnail")
    assert (report, list(report.unreachable)) == (IndexReport(added=1), [str(photos)])
    assert again.sets["thumbnail"].keys() == ["other/70.png"]
    away.rename(photos)
    assert again.index() == IndexReport(unchanged=13)
    assert sorted(again.sets["thumbnail"].keys()) == sorted(again.keys())
    away = photos.rename(away)
    assert again.index() == IndexReport(unchanged=1)
    assert [len(vectors) for vectors in again.sets.values()] == [13, 13]


def test_a_part_of_a_source_that_is_away_is_no_error_where_another_is_here(
    photos: Path, collection: Collection, encoder: PixelEncoder
) -> None:
    """As a watcher of both sees it when one is unplugged."""
    photos.rename(photos.with_name("away"))
    again = Collection(collection.path, encoder)
    report = again.refresh([photos / "01.jpg"])
    assert (report, list(report.unreachable)) == (IndexReport(), [str(photos)])
    photos.with_name("other").rename(photos.with_name("other away"))
    with pytest.raises(SourceError, match="lists the sources, and moves them"):
        again.refresh([photos / "01.jpg"])
    assert len(again) == 13


def test_a_further_vector_set_does_not_need_a_source_that_was_not_named(photos: Path, collection: Collection) -> None:
    collection.add_set("thumbnail")
    photos.rename(photos.with_name("away"))
    other = photos.with_name("other")
    picture(71).save(other / "71.png")
    assert collection.index([other]) == IndexReport(added=1, unchanged=1)
    assert [len(vectors) for vectors in collection.sets.values()] == [14, 14]


# Forgotten


def test_a_source_is_forgotten_with_its_images(photos: Path, collection: Collection, encoder: PixelEncoder) -> None:
    collection.add_set("thumbnail")
    photos.rename(photos.with_name("away"))
    assert collection.forget_source(photos) == 12
    assert collection.keys() == ["other/70.png"]
    assert states(collection) == [("other", "reachable", 1)]
    assert states(collection.sets["thumbnail"]) == [("other", "reachable", 1)]
    assert collection.index() == IndexReport(unchanged=1)
    assert not collection.verify()
    assert collection.index([photos.with_name("away")]) == IndexReport(added=12)
    assert encoder.encoded == 13


def test_what_was_skipped_of_a_forgotten_source_is_forgotten(photos: Path, collection: Collection) -> None:
    (photos / "broken.jpg").write_bytes(b"no picture")
    collection.index()
    collection.forget_source(photos)
    assert collection.skipped() == []


# A collection is no source


def test_a_collection_that_is_named_as_a_source_stands_for_its_own(photos: Path, collection: Collection) -> None:
    picture(90).save(photos / "new.png")
    assert collection.index([collection.path]) == IndexReport(added=1, unchanged=13)
    assert [name for name, _, _ in states(collection)] == ["photos", "other"]


def test_another_collection_is_no_source(photos: Path, collection: Collection, encoder: PixelEncoder) -> None:
    with collections.open(photos, encoder=encoder) as second:
        second.index()
    with pytest.raises(SourceError, match="is a collection, not a folder of photos"):
        collection.index([photos / ".lookalike"])


# A folder inside an indexed one


def test_a_folder_inside_an_indexed_one_is_recognised(photos: Path, encoder: PixelEncoder) -> None:
    with collections.open(photos, encoder=encoder) as outer:
        outer.index()
        outer.index(ignore=["drafts/"])
    for name in ("trip/a [b]*", ".hidden", "@eaDir/x", "drafts/2019"):
        (photos / name).mkdir(parents=True)
    assert parent_of(photos / "trip") == Parent(photos, "trip/")
    assert parent_of(photos / "trip" / "a [b]*") == Parent(photos, "trip/a [b]*/")
    assert [parent_of(photos / name) for name in (".", ".hidden", "@eaDir/x", "01.jpg", "..", ".lookalike")] == [
        None
    ] * 6
    with collections.open(photos / "trip", encoder=encoder) as inner:
        with pytest.raises(CollectionError, match=f"trip lies in {photos}, which is indexed; name that folder"):
            inner.keys()
        inner.index()
    assert parent_of(photos / "trip") is None


@pytest.mark.parametrize(
    "name", ["plain", "[a]", "a*b?", 'say "x"', "back\\slash", "ä ö", "and (or)", "\udcff\udc80[x]"]
)
def test_a_filter_for_a_folder_takes_its_name_as_it_is(name: str, photos: Path, encoder: PixelEncoder) -> None:
    for folder in (name, "a", "aXbY", "plain2", "x"):
        (photos / folder).mkdir()
        picture(90).save(photos / folder / "x.png")
    with collections.open(photos, encoder=encoder) as collection:
        collection.index()
        parent = parent_of(photos / name)
        assert parent
        assert [hit.key for hit in collection.search(picture(90), 20, where=parent.where)] == [f"{name}/x.png"]
