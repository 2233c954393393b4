"""Patterns of what to pass over, remembered with a collection."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike.collection.collection import Collection
from lookalike.collection.sync import IndexReport
from lookalike.errors import SourceError
from lookalike.images.ignore import FILE
from lookalike.storage.maintenance.merge import merge
from tests.collection.test_sets import ColourEncoder
from tests.support.pictures import PixelEncoder, picture


@pytest.fixture
def collection(photos: Path, encoder: PixelEncoder) -> Iterator[Collection]:
    with Collection(photos / ".lookalike", encoder, [photos]) as new:
        new.index()
        yield new


def names(collection: Collection) -> set[str]:
    return set(collection.keys())


def trip(collection: Collection) -> set[str]:
    return {key for key in names(collection) if key.startswith("trip/")}


def test_what_is_ignored_is_gone_and_comes_back_without_being_embedded(
    collection: Collection, encoder: PixelEncoder
) -> None:
    before, encoded = trip(collection), encoder.encoded
    assert before
    assert collection.index(ignore=["trip/"]) == IndexReport(removed=len(before), unchanged=12 - len(before))
    assert trip(collection) == set()
    assert collection.index() == IndexReport(unchanged=12 - len(before))
    assert collection.index(ignore=[]) == IndexReport(added=len(before), unchanged=12 - len(before))
    assert trip(collection) == before
    assert encoder.encoded == encoded


def test_a_file_of_patterns_does_the_same(collection: Collection, photos: Path, encoder: PixelEncoder) -> None:
    before, encoded = trip(collection), encoder.encoded
    (photos / FILE).write_text("trip/\n")
    assert collection.index().removed == len(before)
    (photos / FILE).unlink()
    assert collection.index().added == len(before)
    assert encoder.encoded == encoded


def test_patterns_outlive_other_objects_refreshes_and_a_rebuild(
    collection: Collection, photos: Path, encoder: PixelEncoder
) -> None:
    collection.index([photos], ignore=["trip/", "*.tmp.png"])
    picture(70).save(photos / "new.tmp.png")
    picture(71).save(photos / "trip" / "new.png")
    picture(72).save(photos / "new.png")
    changed = ["new.tmp.png", "trip/new.png", "trip", "new.png"]
    assert collection.refresh([photos / name for name in changed]) == IndexReport(added=1)
    with Collection(photos / ".lookalike", encoder) as again:
        assert again.index().added == 0
        assert again.index([photos]).added == 0
        assert again.index(rebuild=True).added == len(again)
        assert again.index(rebuild=True, ignore=["trip/"]).added == len(again)
        assert "new.tmp.png" in names(again)
        assert not trip(again)


def test_each_source_has_its_own(photos: Path, tmp_path: Path, encoder: PixelEncoder) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for number in range(3):
        picture(80 + number).save(other / f"{number}.png")
    with Collection(tmp_path / "both", encoder, [photos, other]) as both:
        both.index()
        both.index([other], ignore=["1.png"])
        assert {key for key in names(both) if key.startswith("other/")} == {"other/0.png", "other/2.png"}
        assert trip(both)
        both.index()
        assert "other/1.png" not in names(both)
        assert len(both) == 14


def test_further_vector_sets_pass_over_the_same(collection: Collection, photos: Path) -> None:
    collection.index(ignore=["trip/"])
    collection.add_set(ColourEncoder())
    assert sorted(collection.sets["colours"].keys()) == sorted(collection.keys())
    collection.index(ignore=["01.jpg"])
    assert sorted(collection.sets["colours"].keys()) == sorted(collection.keys())
    assert "01.jpg" not in names(collection)
    assert trip(collection)


def test_compact_whiten_and_merge_keep_them(photos: Path, tmp_path: Path, encoder: PixelEncoder) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for number in range(3):
        picture(80 + number).save(other / f"{number}.png")
    with (
        Collection(tmp_path / "first", encoder, [photos]) as first,
        Collection(tmp_path / "second", encoder, [other]) as second,
    ):
        first.index(ignore=["trip/"])
        second.index(ignore=["1.png"])
        first.compact()
        assert first.index().added == 0
    merge([tmp_path / "first", tmp_path / "second"], tmp_path / "merged")
    with Collection(tmp_path / "merged", encoder) as merged:
        count = len(merged)
        assert merged.index() == IndexReport(unchanged=count)
        assert not any("trip/" in key or key.endswith("/1.png") for key in names(merged))
        merged.whiten(2)
        ignored = [merged.store.catalog.ignored(id_) for id_, _, _ in merged.store.catalog.sources()]
        assert ignored == [("trip/",), ("1.png",)]


def test_a_pattern_that_cannot_be_used_changes_nothing(collection: Collection) -> None:
    with pytest.raises(SourceError, match="--exclude: Invalid"):
        collection.index(ignore=["!"])
    assert collection.index() == IndexReport(unchanged=12)
