"""Absence is not deletion: a source that yields nothing, or has lost most of what it had, is perhaps only away."""

import shutil
import tarfile
from pathlib import Path

import pytest

import lookalike.collection.collection as collections
from lookalike.collection.collection import Collection
from lookalike.collection.sync import IndexReport
from lookalike.errors import CollectionError
from tests.support.pictures import PixelEncoder, picture


@pytest.fixture
def usb(tmp_path: Path) -> Path:
    """A folder of twenty pictures, the lower half of them in a folder of their own."""
    folder = tmp_path / "usb"
    (folder / "old").mkdir(parents=True)
    for number in range(20):
        picture(number).save(folder / ("old" if number < 10 else ".") / f"{number:02}.png")
    return folder


@pytest.fixture
def collection(usb: Path, encoder: PixelEncoder) -> Collection:
    """Of the folder, but beside it: what is unplugged takes no collection along."""
    collection = collections.open(usb, encoder=encoder, collection=usb.parent / "collection")
    collection.index()
    return collection


def unplug(folder: Path) -> Path:
    """Move the pictures away, and leave the empty folder where a disk is mounted; where they are now."""
    away = folder.rename(folder.with_name("away"))
    folder.mkdir()
    return away


def plug(away: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    away.rename(folder)


def lose(folder: Path, *numbers: int) -> None:
    for number in numbers:
        (folder / ("old" if number < 10 else ".") / f"{number:02}.png").unlink()


# The rule


def test_an_empty_folder_in_place_of_a_disk_wipes_nothing(usb: Path, collection: Collection) -> None:
    away = unplug(usb)
    report = collection.index()
    assert (report, report.away) == (IndexReport(withheld=20), [str(usb)])
    assert len(collection) == 20
    plug(away, usb)
    assert collection.index() == IndexReport(unchanged=20)


def test_a_small_folder_that_yields_nothing_is_asked_about_too(photos: Path, encoder: PixelEncoder) -> None:
    collection = collections.open(photos, encoder=encoder, collection=photos.parent / "collection")
    collection.index()
    unplug(photos)
    assert collection.index() == IndexReport(withheld=12)
    assert collection.index(allow_removals=True) == IndexReport(removed=12)
    assert collection.index() == IndexReport()


def test_half_of_twenty_may_go_and_one_more_may_not(usb: Path, collection: Collection) -> None:
    lose(usb, *range(10))
    assert collection.index() == IndexReport(removed=10, unchanged=10)


def test_eleven_of_twenty_stay_until_their_removal_is_allowed(usb: Path, collection: Collection) -> None:
    lose(usb, *range(11))
    assert collection.index() == IndexReport(withheld=11, unchanged=9)
    assert collection.index() == IndexReport(withheld=11, unchanged=9)
    assert collection.index(allow_removals=True) == IndexReport(removed=11, unchanged=9)


def test_most_of_nineteen_may_go(usb: Path, collection: Collection) -> None:
    lose(usb, 19)
    collection.index()
    lose(usb, *range(12))
    assert collection.index() == IndexReport(removed=12, unchanged=7)


def test_new_and_changed_images_are_taken_in_all_the_same(usb: Path, collection: Collection) -> None:
    lose(usb, *range(11))
    picture(50).save(usb / "new.png")
    picture(51).save(usb / "12.png")
    assert collection.index() == IndexReport(added=1, changed=1, withheld=11, unchanged=8)
    assert collection.search(picture(50), 1)[0].key == "new.png"


def test_new_images_do_not_hide_that_most_of_the_old_ones_are_gone(usb: Path, collection: Collection) -> None:
    lose(usb, *range(11))
    for number in range(40, 60):
        picture(number).save(usb / f"{number}.png")
    assert collection.index() == IndexReport(added=20, withheld=11, unchanged=9)


def test_renamed_images_are_not_lost(usb: Path, collection: Collection) -> None:
    (usb / "all").mkdir()
    for file in sorted(usb.rglob("*.png")):
        file.rename(usb / "all" / file.name)
    assert collection.index() == IndexReport(renamed=20)


def test_files_that_are_there_but_no_longer_pictures_are_not_lost(usb: Path, collection: Collection) -> None:
    for file in usb.rglob("*.png"):
        file.write_bytes(b"overwritten")
    assert collection.index() == IndexReport(removed=20, skipped=20)


def test_files_that_are_passed_over_on_purpose_are_not_lost(usb: Path, collection: Collection) -> None:
    (usb / ".lookalikeignore").write_text("old/\n1[0-8].png\n")
    assert collection.index() == IndexReport(removed=19, unchanged=1)
    assert collection.index(ignore=["*"]) == IndexReport(removed=1)
    assert collection.index(ignore=[]) == IndexReport(added=1)


# Other sources


def packed(folder: Path, archive: Path, inside: str, numbers: range) -> None:
    with tarfile.open(archive, "w") as tar:
        for number in numbers:
            tar.add(folder / ("old" if number < 10 else ".") / f"{number:02}.png", f"{inside}{number:02}.png")


def test_an_archive_that_lost_most_of_its_members_loses_no_image(usb: Path, encoder: PixelEncoder) -> None:
    archive = usb.parent / "shard.tar"
    packed(usb, archive, "", range(20))
    collection = Collection(usb.parent / "collection", encoder, [archive])
    collection.index()
    packed(usb, archive, "", range(15, 20))
    assert collection.index() == IndexReport(withheld=15, unchanged=5)
    packed(usb, archive, "", range(0))
    assert collection.index() == IndexReport(withheld=20)
    assert collection.index(ignore=["1*.png"]) == IndexReport(removed=10, withheld=10)


def test_an_archive_whose_members_have_other_names_now_lost_nothing(usb: Path, encoder: PixelEncoder) -> None:
    archive = usb.parent / "shard.tar"
    packed(usb, archive, "", range(20))
    collection = Collection(usb.parent / "collection", encoder, [archive])
    collection.index()
    packed(usb, archive, "2019/", range(20))
    assert collection.index() == IndexReport(added=20, removed=20)
    assert encoder.encoded == 20


def test_a_list_that_lost_most_of_its_lines_loses_no_image(usb: Path, encoder: PixelEncoder) -> None:
    listing, lines = usb / "list.txt", [f"{number:02}.png" for number in range(10, 20)]
    listing.write_text("\n".join(lines))
    collection = Collection(usb.parent / "collection", encoder, [listing])
    collection.index()
    listing.write_text("# nothing\n")
    assert collection.index() == IndexReport(withheld=10)
    assert collection.index(allow_removals=True) == IndexReport(removed=10)


def test_one_source_that_is_away_does_not_keep_the_removals_of_another(usb: Path, encoder: PixelEncoder) -> None:
    other = usb.with_name("other")
    other.mkdir()
    for number in (70, 71):
        picture(number).save(other / f"{number}.png")
    collection = Collection(usb.parent / "collection", encoder, [usb, other])
    collection.index()
    unplug(usb)
    (other / "70.png").unlink()
    report = collection.index()
    assert (report, report.away) == (IndexReport(withheld=20, removed=1, unchanged=1), [str(usb)])


# Other ways to index


def test_a_part_that_vanishes_with_its_disk_stays(usb: Path, collection: Collection) -> None:
    """As a watcher sees it: the names of what went, while the folder is empty."""
    away = unplug(usb)
    assert collection.refresh([usb / "12.png"]) == IndexReport(withheld=1)
    assert collection.refresh([usb / "old"]) == IndexReport(withheld=10)
    plug(away, usb)
    (usb / "12.png").unlink()
    assert collection.refresh([usb / "12.png"]) == IndexReport(removed=1)
    assert collection.row("12.png") is None


def test_a_folder_that_is_refreshed_and_empty_is_asked_about(usb: Path, collection: Collection) -> None:
    """A disk may be mounted below the folder that is indexed."""
    unplug(usb / "old")
    assert collection.refresh([usb / "old"]) == IndexReport(withheld=10)
    assert collection.refresh([usb / "old"], allow_removals=True) == IndexReport(removed=10)


def test_most_of_a_folder_that_goes_in_one_burst_stays(usb: Path, collection: Collection) -> None:
    paths = [usb / f"{number}.png" for number in range(10, 20)]
    lose(usb, *range(9, 20))
    assert collection.refresh([*paths, usb / "old" / "09.png"]) == IndexReport(withheld=11)


def test_a_part_is_refreshed_while_another_source_is_unplugged(usb: Path, encoder: PixelEncoder) -> None:
    other = usb.with_name("other")
    other.mkdir()
    picture(70).save(other / "70.png")
    collection = Collection(usb.parent / "collection", encoder, [usb, other])
    collection.index()
    usb.rename(usb.with_name("away"))
    picture(71).save(other / "71.png")
    assert collection.refresh([other / "71.png"]) == IndexReport(added=1)


def test_a_further_vector_set_keeps_what_the_first_keeps(usb: Path, collection: Collection) -> None:
    collection.add_set("thumbnail")
    unplug(usb)
    assert collection.index() == IndexReport(withheld=20)
    assert [len(vectors) for vectors in collection.sets.values()] == [20, 20]
    assert collection.add_set("thumbnail") == IndexReport(withheld=20)
    assert collection.index(allow_removals=True) == IndexReport(removed=20)
    assert [len(vectors) for vectors in collection.sets.values()] == [0, 0]


# Rebuilding


def test_a_rebuild_of_a_source_that_lost_most_is_refused(usb: Path, collection: Collection) -> None:
    lose(usb, *range(11))
    with pytest.raises(CollectionError, match=r"usb: 11 of 20 images are gone, .* stays as it is; .*--allow-removals"):
        collection.index(rebuild=True)
    assert len(collection) == 20
    assert collection.index(rebuild=True, allow_removals=True).unchanged == 9
    assert len(collection) == 9


def test_a_rebuild_of_an_empty_folder_is_refused(usb: Path, collection: Collection) -> None:
    unplug(usb)
    with pytest.raises(CollectionError, match="20 of 20 images are gone"):
        collection.index(rebuild=True)
    assert len(collection) == 20


def test_a_rebuild_knows_images_by_their_content_too(usb: Path, collection: Collection) -> None:
    (usb / "all").mkdir()
    for file in sorted(usb.rglob("*.png")):
        file.rename(usb / "all" / file.name)
    assert collection.index(rebuild=True) == IndexReport(added=20)


def test_a_rebuild_from_other_folders_needs_none_of_the_old_ones(usb: Path, collection: Collection) -> None:
    other = usb.with_name("other")
    other.mkdir()
    picture(70).save(other / "70.png")
    usb.rename(usb.with_name("away"))
    assert collection.index([other], rebuild=True) == IndexReport(added=1)
    assert collection.keys() == ["70.png"]
