"""What images say of themselves, from `index` to filters, `info`, `export` and the order of results."""

import csv
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.errors import QueryError
from lookalike.images.facts import PhotoFacts
from lookalike.integrations.milvus.expressions import translate
from lookalike.integrations.postgres import expressions as postgres
from lookalike.storage import filters, photo_facts
from lookalike.storage.maintenance.merge import merge
from lookalike.storage.maintenance.verify import verify
from lookalike.storage.store import Store
from lookalike.utils import parquet
from tests.support.exif import ASCII, RATIO, SHORT, Block, Entry
from tests.support.pictures import PixelEncoder, picture

NIKON: list[Entry] = [(271, ASCII, "NIKON CORPORATION"), (272, ASCII, "NIKON D90"), (305, ASCII, "Ver.1.00")]
APPLE: list[Entry] = [(271, ASCII, "Apple"), (272, ASCII, "iPhone 12")]


def shot(text: str, iso: int, exposure: tuple[int, int] = (1, 60)) -> list[Entry]:
    return [(36867, ASCII, text), (34855, SHORT, [iso]), (33434, RATIO, [exposure])]


def at(latitude: float, longitude: float) -> list[Entry]:
    return [
        (1, ASCII, "N" if latitude >= 0 else "S"), (2, RATIO, [(round(abs(latitude) * 10**6), 10**6)]),
        (3, ASCII, "E" if longitude >= 0 else "W"), (4, RATIO, [(round(abs(longitude) * 10**6), 10**6)]),
    ]  # fmt: skip


PHOTOS = {
    # The tower, Trocadéro at 650 metres from it, the Sacré-Cœur at 5 kilometres, and Sydney.
    "trips/a.jpg": Block(NIKON, shot("2019:07:14 12:30:05", 200, (1, 250)), at(48.8584, 2.2945)),
    "trips/paris/b.jpg": Block(NIKON, shot("2019:07:31 23:59:59", 400), at(48.8620, 2.2875)),
    "trips/paris/c.jpg": Block(APPLE, shot("2019:08:01 00:00:00", 800), at(48.8867, 2.3431)),
    "home/d.jpg": Block(APPLE, shot("2021:01:02 03:04:05", 1600), at(-33.8568, 151.2153)),
    "e.jpg": Block(),
}
LETTERS = dict(zip(PHOTOS, "abcde", strict=True))


def write(folder: Path) -> Path:
    for number, (key, block) in enumerate(PHOTOS.items()):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / key, exif=b"Exif\0\0" + block.bytes("<"))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Iterator[Collection]:
    folder = write(tmp_path / "photos")
    with Collection(tmp_path / "collection", PixelEncoder(), [folder]) as collection:
        collection.index()
        yield collection


def chosen(collection: Collection, expression: str) -> str:
    """The letters of the images for which it holds."""
    store = collection.store
    rows = np.flatnonzero(filters.select(expression, store.catalog, store.count()))
    return "".join(sorted(LETTERS[collection.key(row)] for row in rows.tolist()))


@pytest.mark.parametrize(
    ("expression", "letters"),
    [
        ("taken >= 2019-07", "abcd"),
        ("taken > 2019-07", "cd"),
        ("taken <= 2019-07", "ab"),
        ("taken < 2019-08", "ab"),
        ("taken = 2019", "abc"),
        ("taken = 2019-07-14", "a"),
        ("taken != 2019", "d"),
        ("taken in (2021, 2019-08)", "cd"),
        ('taken > "2019-07-14T12:30"', "bcd"),
        ('taken >= "2019-07-14 12:30:06"', "bcd"),
        ("taken:2019-0?-*", "abc"),
        ("not taken >= 2019", "e"),
        ('camera = "nikon*"', "ab"),
        ('camera = "NIKON D90"', "ab"),
        ("camera = nikon", ""),
        ('camera != "Nikon D90"', "cd"),
        ('camera in ("*iphone*", x)', "cd"),
        ("camera:*[d9][90]", "ab"),
        ("camera > b", "ab"),
        ("software = ver.?.00", "ab"),
        ("iso >= 400 and iso < 1600", "bc"),
        ("iso in (200, 1600)", "ad"),
        ("exposure <= 1/250", "a"),
        ("exposure = 1/60", "bcd"),
        ("latitude < 0", "d"),
        ("folder = trips", "a"),
        ('folder = "TRIPS/*"', "abc"),
        ('folder = "trips/paris"', "bc"),
        ('folder = ""', "e"),
        ("folder != home", "abce"),
        ('folder != "trips/*"', "de"),
        ("folder > home", "abc"),
        ("width = 64 and height < 100", "abcde"),
        ("bytes < 10", ""),
        ("format = jpeg", "abcde"),
        ("has_alpha = no", "abcde"),
        ("has_alpha = yes", ""),
        ("near(48.8584, 2.2945, 500m)", "a"),
        ("near(48.8584, 2.2945, 700)", "ab"),
        ("near(48.8584, 2.2945, 5km)", "abc"),
        ("near(-33.8568, 151.2153, 1m) or taken = 2019-08", "cd"),
        ("not near(48.8584, 2.2945, 10km)", "de"),
        ('camera = "nikon*" and taken >= 2019-07-20 and folder = "trips/*"', "b"),
    ],
)
def test_what_a_filter_of_facts_holds_for(photos: Collection, expression: str, letters: str) -> None:
    assert chosen(photos, expression) == letters


def test_a_distance_is_that_on_the_earth(photos: Collection) -> None:
    # Along a meridian, a minute of arc is 1,853.25 metres on a sphere of that radius; across the date line too.
    assert chosen(photos, "near(48.841733, 2.2945, 1853m)") == ""
    assert chosen(photos, "near(48.841733, 2.2945, 1854m)") == "a"
    assert chosen(photos, "near(-33.8568, -180, 2649km)") == ""
    assert chosen(photos, "near(-33.8568, -180, 2650km)") == "d"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("taken >= summer", "taken >= summer: a date is wanted, as 2019, 2019-07, 2019-07-14 or"),
        ("taken = 2019-13", "a date is wanted"),
        ("taken = 2019-02-30", "a date is wanted"),
        ("taken in (2019, 7)", "taken in 7: a date is wanted"),
        ("iso > many", "iso > many: a number is wanted, as 400 or 1/250"),
        ("exposure > 1/0", "a number is wanted"),
        ("has_alpha = perhaps", "has_alpha = perhaps: yes or no is wanted"),
        ("near(48, 2)", r"near is of this form: near\(48.8584, 2.2945, 500m\)"),
        ("near(48, 2, far)", "near is of this form"),
        ("near(91, 2, 5m)", "near is of this form"),
        ("near(north, 2, 5m)", "near is of this form"),
        ("near 48", "one of <= >="),
        ("near(48, 2, 5m", r"'\)' is wanted"),
        ("colour = red", "colour: no such column; there are: key; and of every image: taken, camera, lens"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_with_the_way_out(photos: Collection, expression: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        chosen(photos, expression)


def test_a_search_takes_the_same_filters(photos: Collection) -> None:
    hits = photos.search(picture(0), where='camera = "nikon*" and near(48.8584, 2.2945, 1km)')
    assert [hit.key for hit in hits] == ["trips/a.jpg", "trips/paris/b.jpg"]


def test_results_can_be_shown_by_time(photos: Collection) -> None:
    by_score = photos.search(picture(3))
    by_time = photos.search(picture(3), sort="taken")
    assert [LETTERS[hit.key] for hit in by_time] == list("abcde")
    assert sorted(by_time, key=lambda hit: hit.rank) == by_score
    assert [LETTERS[hit.key] for hit in photos.search(picture(3), k=1, sort="taken")] == ["d"]
    with pytest.raises(QueryError, match="sorted by score or taken, not 'name'"):
        photos.search(picture(3), sort="name")  # type: ignore[arg-type]


def test_the_facts_of_an_image(photos: Collection) -> None:
    facts = photos.facts("trips/a.jpg")
    assert facts.pop("bytes") == (photos.gallery.path(0) or Path()).stat().st_size or facts
    assert facts == {
        "taken": "2019-07-14T12:30:05", "camera": "NIKON D90", "iso": 200, "exposure": 0.004, "latitude": 48.8584,
        "longitude": 2.2945, "format": "JPEG", "has_alpha": False, "software": "Ver.1.00", "width": 64, "height": 48,
        "folder": "trips",
    }  # fmt: skip
    with pytest.raises(QueryError, match="no such key"):
        photos.facts("no.jpg")


def test_info_has_ranges_and_counts(photos: Collection) -> None:
    facts = photos.info()["facts"]
    assert facts["images"] == 5
    assert facts["taken"] == ["2019-07-14T12:30:05", "2021-01-02T03:04:05"]
    assert facts["iso"] == [200, 1600]
    assert facts["camera"] == {"Apple iPhone 12": 2, "NIKON D90": 2}
    assert facts["format"] == {"JPEG": 5}


def test_an_export_has_the_facts(photos: Collection, tmp_path: Path) -> None:
    photos.export(tmp_path / "csv", "csv")
    with (tmp_path / "csv" / "vectors.csv").open(newline="") as file:
        lines = {line["key"]: line for line in csv.DictReader(file)}
    assert (lines["e.jpg"]["camera"], lines["e.jpg"]["format"]) == ("", "JPEG")
    assert (lines["home/d.jpg"]["taken"], lines["home/d.jpg"]["latitude"]) == ("2021-01-02T03:04:05", "-33.8568")
    photos.export(tmp_path / "parquet", "parquet")
    columns = {}
    for batch in parquet.parquet_batches(tmp_path / "parquet" / "vectors.parquet"):
        columns = batch.to_pydict()
    assert dict(zip((LETTERS[key] for key in columns["key"]), columns["iso"], strict=True)) == {
        "a": 200, "b": 400, "c": 800, "d": 1600, "e": None,
    }  # fmt: skip
    assert len(columns["vector"][0]) == 192


def test_a_column_of_the_user_comes_first_and_that_is_said(
    photos: Collection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "table.csv").write_text("key,camera,year\ne.jpg,Box,1901\n")
    with caplog.at_level(logging.WARNING):
        photos.attach(tmp_path / "table.csv")
        photos.attach(tmp_path / "table.csv")
    said = [record.getMessage() for record in caplog.records if "camera" in record.getMessage()]
    way = "filters read its column camera from now on, and not what the images say of it"
    assert said == [f"{tmp_path / 'table.csv'}: {way}"]
    assert chosen(photos, "camera = Box") == "e"
    assert chosen(photos, 'camera = "NIKON D90"') == ""
    assert photos.facts("trips/a.jpg")["camera"] == "NIKON D90"


def test_the_server_of_an_engine_is_asked_for_no_less() -> None:
    assert translate("taken >= 2019 and key = a.jpg") == 'key == "a.jpg"'
    assert translate("near(1, 2, 3km)") == ""
    assert translate("not iso = 400") == ""
    assert postgres.translate("taken >= 2019 and key = a.jpg").values == (["a.jpg"],)
    assert postgres.translate("near(1, 2, 3km)") == postgres.Condition()
    assert postgres.translate("not iso = 400") == postgres.Condition()


def test_facts_follow_the_content(photos: Collection, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "trips" / "a.jpg").rename(folder / "moved.jpg")
    (folder / "home" / "d.jpg").write_bytes((folder / "e.jpg").read_bytes())
    photos.index()
    assert photos.facts("moved.jpg")["iso"] == 200
    assert photos.facts("moved.jpg")["folder"] == ""
    assert "iso" not in photos.facts("home/d.jpg")


def forget(collection: Collection) -> None:
    """Make the collection one of an earlier release, which read no facts."""
    with collection.store.writing() as written:
        written.catalog.forget_facts([name for name, _ in written.catalog.facts_named(photo_facts.PREFIX)])
    collection.close()


def test_a_collection_of_an_earlier_release_is_read_without_embedding(photos: Collection, tmp_path: Path) -> None:
    before = photos.info()["facts"]
    forget(photos)
    assert "facts" not in photos.info()
    with pytest.raises(QueryError, match="taken: not read from these images yet; `lookalike facts COLLECTION` reads"):
        chosen(photos, "taken >= 2019")
    with pytest.raises(QueryError, match="near: not read"):
        chosen(photos, "near(1, 2, 3)")
    assert chosen(photos, 'folder = "trips/*" and width = 64') == "abc"
    encoder = photos.encoder
    assert isinstance(encoder, PixelEncoder)
    encoded = encoder.encoded
    (tmp_path / "photos" / "e.jpg").unlink()
    picture(9).save(tmp_path / "photos" / "home" / "d.jpg")
    report = photos.read_facts()
    assert (report.read, report.unreadable) == (3, 2)
    assert encoder.encoded == encoded
    assert photos.info()["facts"]["taken"] == [before["taken"][0], "2019-08-01T00:00:00"]
    assert photos.read_facts() == type(report)(0, 2)
    assert photos.read_facts(again=True) == report


def test_what_was_read_later_is_what_index_reads(photos: Collection) -> None:
    before = [photos.facts(key) for key in PHOTOS]
    forget(photos)
    photos.read_facts()
    assert [photos.facts(key) for key in PHOTOS] == before


def test_a_further_vector_set_has_them_too(photos: Collection) -> None:
    other = PixelEncoder()
    other.name, other.fingerprint = "others", "f" * 64
    photos.add_set(other)
    further = photos.sets["others"]
    assert chosen(further, "iso = 400") == "b"
    forget(further)
    forget(photos)
    photos.read_facts()
    assert chosen(photos.sets["others"], "iso = 400") == "b"


def test_facts_survive_copies_and_those_of_gone_contents_do_not(photos: Collection, tmp_path: Path) -> None:
    (tmp_path / "photos" / "e.jpg").unlink()
    photos.index()
    assert len(list(photos.store.catalog.facts_named(photo_facts.PREFIX))) == 5
    photos.compact()
    assert len(list(photos.store.catalog.facts_named(photo_facts.PREFIX))) == 4
    assert chosen(photos, "iso > 0") == "abcd"
    other = tmp_path / "other"
    other.mkdir()
    picture(30).save(other / "z.jpg", exif=b"Exif\0\0" + Block(NIKON, shot("1999:01:01 00:00:00", 64)).bytes(">"))
    with Collection(tmp_path / "second", PixelEncoder(), [other]) as second:
        second.index()
    merge([photos.path, tmp_path / "second"], tmp_path / "both")
    both = Store(tmp_path / "both")
    assert photo_facts.summary(both.catalog)["iso"] == [64, 1600]
    both.close()
    assert not verify(tmp_path / "both", repair=False)
    photos.index(rebuild=True)
    assert photos.info()["facts"]["images"] == 4


def test_a_damaged_fact_is_found_and_left_out(photos: Collection) -> None:
    with photos.store.writing() as written:
        written.catalog.database.execute("UPDATE facts SET value = '{\"iso\":7}' WHERE name LIKE 'photo:%'")
    photos.close()
    assert "iso" not in photos.facts("trips/a.jpg")
    assert verify(photos.path, repair=True).faults == (
        "catalog.sqlite: 5 entries of facts do not match their checksums",
    )
    assert photos.read_facts().read == 5


def test_facts_come_out_as_they_went_in() -> None:
    facts = PhotoFacts("2019-07-14", "É\"'", None, 35.5, 400, 0.004, -1.5, 2.0, "PNG", 6, True, None)
    assert PhotoFacts.of_json(facts.to_json()) == facts
    assert PhotoFacts.of_json({"iso": "400", "camera": 7, "other": 1, "latitude": 5}) == PhotoFacts(latitude=5)
