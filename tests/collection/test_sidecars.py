"""What lies beside photos, from `index` to filters, `info` and `export`; it changes without their bytes."""

import csv
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike.collection.collection import Collection
from lookalike.storage import sidecars
from lookalike.storage.maintenance.merge import merge
from lookalike.storage.maintenance.verify import verify
from lookalike.storage.store import Store
from lookalike.utils import parquet
from tests.support.pictures import PixelEncoder, picture
from tests.support.xmp import packet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photos: a has keywords in its file, b and c beside it, d both, e an empty sidecar, f nothing."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    picture(1).save(folder / "a.jpg", xmp=packet(2, "Green", ["Beach", "sea"]))
    picture(2).save(folder / "b.jpg")
    (folder / "b.jpg.xmp").write_bytes(packet(5, "Red", ["mountain"]))
    picture(3).save(folder / "trip" / "c.jpg")
    (folder / "trip" / "c.xmp").write_bytes(packet(-1, None, ["beach at night", "Berge"]))
    picture(4).save(folder / "d.jpg", xmp=packet(1, "Blue", ["sea"]))
    (folder / "d.xmp").write_bytes(packet(3))
    picture(5).save(folder / "e.jpg")
    (folder / "e.xmp").write_text("no XML")
    picture(6).save(folder / "f.jpg")
    return folder


@pytest.fixture
def photos(tmp_path: Path, folder: Path) -> Iterator[Collection]:
    with Collection(tmp_path / "collection", PixelEncoder(), [folder]) as collection:
        assert collection.index().added == 6
        yield collection


def found(collection: Collection, where: str) -> str:
    hits = collection.search(next(iter(collection.keys())), k=20, where=where)
    return "".join(sorted(Path(hit.key).stem for hit in hits))


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ("rating >= 3", "bd"), ("rating = 2", "a"), ("rating < 0", "c"), ("not rating >= 3", "acef"),
        ("rating in (2, 5)", "ab"), ("label = red", "b"), ('label = "b*"', "d"), ("label != red", "ad"),
        ("label in (Red, green)", "ab"), ('keywords = "beach"', "a"), ('keywords = "BEACH*"', "ac"),
        ("keywords = berge", "c"), ("keywords in (sea, mountain)", "abd"), ("keywords != sea", "bc"),
        ("not keywords = sea", "bcef"), ("keywords:be*", "ac"), ("keywords:[ms]*", "abd"), ("keywords > m", "abd"),
        ("keywords = sea and rating >= 3", "d"), ("keywords = nothing", ""), ('folder = "trip" and rating < 5', "c"),
    ],
)  # fmt: skip
def test_filters_know_what_was_said_in_the_file_and_beside_it(photos: Collection, where: str, keys: str) -> None:
    assert found(photos, where) == keys


def test_what_lies_beside_a_photo_counts_more_than_what_is_in_it(photos: Collection) -> None:
    said = photos.facts("d.jpg")
    assert (said["rating"], said["label"], said["keywords"]) == (3, "Blue", ["sea"])
    assert "rating" not in photos.facts("e.jpg")


def test_a_sidecar_that_changes_is_noticed_and_the_photo_is_not_read_again(photos: Collection, folder: Path) -> None:
    encoder = photos.encoder
    assert isinstance(encoder, PixelEncoder)
    before = encoder.encoded
    (folder / "b.jpg.xmp").write_bytes(packet(1, None, ["Lake", "mountain"]))
    (folder / "f.xmp").write_bytes(packet(4))
    (folder / "trip" / "c.xmp").unlink()
    assert found(photos, "rating = 5") == "b"
    report = photos.index()
    assert (report.unchanged, report.changed) == (6, 0)
    assert encoder.encoded == before
    assert found(photos, "rating = 5") == ""
    assert (found(photos, "keywords = lake"), found(photos, "rating = 4"), found(photos, "rating < 0")) == (
        "b",
        "f",
        "",
    )
    assert "label" not in photos.facts("b.jpg")


def test_the_more_particular_name_counts_and_the_other_one_when_it_is_gone(photos: Collection, folder: Path) -> None:
    (folder / "b.xmp").write_bytes(packet(2, "Purple"))
    photos.index()
    assert photos.facts("b.jpg")["label"] == "Red"
    (folder / "b.jpg.xmp").unlink()
    photos.index()
    assert photos.facts("b.jpg")["label"] == "Purple"


def test_an_unchanged_one_is_not_read(photos: Collection, folder: Path) -> None:
    file = folder / "b.jpg.xmp"
    status = file.stat()
    file.write_bytes(packet(4, "Red", ["mountain"]))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_size == status.st_size
    photos.index()
    assert photos.facts("b.jpg")["rating"] == 5


def test_facts_without_an_image_follow_them_too(photos: Collection, folder: Path) -> None:
    assert photos.read_facts().sidecars == 0
    (folder / "b.jpg.xmp").unlink()
    (folder / "e.xmp").write_bytes(packet(1))
    report = photos.read_facts()
    assert (report.read, report.sidecars) == (0, 2)
    assert (found(photos, "rating = 5"), found(photos, "rating = 1")) == ("", "e")


def test_what_a_watcher_reports_is_followed(photos: Collection, folder: Path) -> None:
    (folder / "trip" / "c.xmp").write_bytes(packet(4, keywords=["new"]))
    photos.refresh([folder / "trip" / "c.xmp"])
    assert found(photos, "keywords = new") == "c"
    (folder / "trip" / "c.xmp").unlink()
    photos.refresh([folder / "trip" / "c.xmp"])
    assert (found(photos, "keywords = new"), len(photos)) == ("", 6)
    (folder / "f.jpg.xmp").write_bytes(packet(4))
    photos.refresh([folder / "f.jpg"])
    assert found(photos, "rating = 4") == "f"


def test_a_renamed_photo_takes_its_own_with_it(photos: Collection, folder: Path) -> None:
    (folder / "b.jpg").rename(folder / "renamed.jpg")
    (folder / "b.jpg.xmp").rename(folder / "renamed.jpg.xmp")
    assert photos.index().renamed == 1
    assert photos.facts("renamed.jpg")["rating"] == 5


def test_copies_have_each_their_own(photos: Collection, folder: Path) -> None:
    shutil.copy(folder / "b.jpg", folder / "copy.jpg")
    (folder / "copy.xmp").write_bytes(packet(1))
    photos.index()
    assert (photos.facts("b.jpg")["rating"], photos.facts("copy.jpg")["rating"]) == (5, 1)


def test_info_sums_them_up_and_exports_have_them(photos: Collection, tmp_path: Path) -> None:
    summary = photos.info()["facts"]
    assert summary["rating"] == [-1, 5]
    assert summary["label"] == {"Blue": 1, "Green": 1, "Red": 1}
    assert summary["keywords"] == {"sea": 2, "Beach": 1, "Berge": 1, "beach at night": 1, "mountain": 1}
    (file,) = photos.export(tmp_path / "out", "csv")
    with file.open(newline="") as lines:
        rows = {row["key"]: row for row in csv.DictReader(lines)}
    assert (rows["a.jpg"]["keywords"], rows["trip/c.jpg"]["rating"], rows["f.jpg"]["label"]) == ("Beach; sea", "-1", "")
    (table,) = photos.export(tmp_path / "parquet", "parquet")
    read = parquet.parquet().read_table(table).to_pylist()
    assert {row["key"]: row["keywords"] for row in read}["a.jpg"] == ["Beach", "sea"]


def test_they_outlive_compacting_rebuilding_and_merging(photos: Collection, folder: Path, tmp_path: Path) -> None:
    (folder / "b.jpg").unlink()
    photos.index()
    photos.compact()
    names = [name for name, _ in photos.store.catalog.facts_named(sidecars.PREFIX)]
    assert len(names) == 3
    assert found(photos, "rating >= 3") == "d"
    photos.index(rebuild=True)
    assert found(photos, "rating >= 3") == "d"
    assert not verify(photos.path, repair=False)
    other = tmp_path / "other"
    other.mkdir()
    picture(9).save(other / "g.jpg")
    (other / "g.xmp").write_bytes(packet(5, keywords=["sea"]))
    with Collection(tmp_path / "second", PixelEncoder(), [other]) as second:
        second.index()
    merge([photos.path, tmp_path / "second"], tmp_path / "both")
    with Collection(tmp_path / "both", PixelEncoder()) as both:
        assert found(both, "rating >= 3") == "dg"
        assert found(both, "keywords = sea") == "adg"


def test_a_key_that_is_no_utf8_has_one(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    name = os.fsdecode(b"\xff.jpg")
    try:
        picture(1).save(folder / name)
    except (OSError, UnicodeError):
        pytest.skip("file names are UTF-8 here")
    (folder / os.fsdecode(b"\xff.xmp")).write_bytes(packet(3))
    with Collection(tmp_path / "collection", PixelEncoder(), [folder]) as collection:
        collection.index()
        assert collection.facts(name)["rating"] == 3


def test_a_further_vector_set_knows_them(photos: Collection, folder: Path) -> None:
    photos.add_set("thumbnail")
    (folder / "b.jpg.xmp").write_bytes(packet(4, keywords=["later"]))
    photos.read_facts()
    further = photos.sets["thumbnail"]
    assert found(further, "keywords = later") == found(photos, "keywords = later") == "b"


def test_hostile_ones_are_left_out_and_stop_nothing(photos: Collection, folder: Path) -> None:
    doctype = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    (folder / "b.jpg.xmp").write_bytes(doctype + packet(label="&e;"))
    with (folder / "d.xmp").open("wb") as file:
        file.truncate(1 << 30)
    (folder / "f.xmp").symlink_to("/dev/zero")
    report = photos.index()
    assert (report.unchanged, report.skipped) == (6, 0)
    assert "label" not in photos.facts("b.jpg")
    assert photos.facts("d.jpg")["rating"] == 1


def test_they_are_facts_that_earlier_releases_pass_over(photos: Collection) -> None:
    store: Store = photos.store
    stored = dict(store.catalog.facts_named(sidecars.PREFIX))
    document = json.loads(stored[sidecars.PREFIX + b"b.jpg".hex()])
    assert set(document) == {"file", "size", "mtime", "rating", "label", "keywords"}
    assert store.header.format == 2


def test_a_column_of_ones_own_comes_first(photos: Collection, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("key,rating\nf.jpg,5\n")
    photos.attach(tmp_path / "table.csv")
    assert found(photos, "rating = 5") == "f"
