import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.collection.collection import Collection
from lookalike.errors import QueryError, SourceError
from lookalike.search.gallery import StoredGallery
from lookalike.storage import filters, metadata
from lookalike.storage.catalog import Catalog
from lookalike.storage.maintenance.verify import verify
from lookalike.storage.names import Names
from lookalike.storage.sqlite import Database
from lookalike.storage.store import Store
from tests.support.pictures import PixelEncoder
from tests.support.vectors import clustered, make, put_values

KEYS = ["beach/a.jpg", "beach/b.jpg", "beach2/c.jpg", "city/d [1].jpg", "e.jpg", "caf\udce9/f.jpg"]
TABLE = """file,year,camera,stars
beach/a.jpg,2018,X100,4.5
beach/b.jpg,2020,X100,
beach2/c.jpg,2021,"D 750",3
e.jpg,2019,o'Neil,5
no/such.jpg,1,x,1
"""


@pytest.fixture
def collection(tmp_path: Path) -> Store:
    store = make(tmp_path / "c", clustered(len(KEYS), 8), keys=KEYS)
    (tmp_path / "table.csv").write_text(TABLE)
    with store.writing():
        assert metadata.attach(store, tmp_path / "table.csv") == (5, 4)
    return store


def chosen(store: Store, expression: str) -> str:
    """The letters of the images for which it holds."""
    rows = np.flatnonzero(filters.select(expression, store.catalog, len(KEYS)))
    return "".join("abcdef"[row] for row in rows)


@pytest.mark.parametrize(
    ("expression", "letters"),
    [
        ("key:beach/*", "ab"),
        ("key:beach*", "abc"),
        ("key:*/?.jpg", "abcf"),
        ("key:e.jpg", "e"),
        ('key:"city/d [[]1].jpg"', "d"),
        ("key:caf\udce9/*", "f"),
        ("key:*", "abcdef"),
        ("year >= 2019", "bce"),
        ('year>=2019 and camera="X100"', "b"),
        ("year < 2019 or stars = 5", "ae"),
        ("not year >= 2019", "adf"),
        ("not (year >= 2019 or key:beach/*)", "df"),
        ("camera:*0*", "abc"),
        ("camera = 'o\\'Neil'", "e"),
        ('camera in (X100, "D 750")', "abc"),
        ("stars != 5", "ac"),
        ("stars > 3 and stars <= 4.5", "a"),
        ("camera > 3", ""),  # text is not compared with numbers
        ("year=2018 OR year=2019 AND stars=5", "ae"),  # and binds closer
        ("key >= beach2 and key < city", "cf"),
        ("key in (e.jpg, nothing)", "e"),
    ],
)
def test_what_a_filter_holds_for(collection: Store, expression: str, letters: str) -> None:
    with closing(collection):
        assert chosen(collection, expression) == letters


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("hight > 3", "hight: no such column; there are: key, camera, stars, year"),
        ("", "a column is wanted at its end"),
        ("year", "one of .* is wanted at its end"),
        ("year > ", "a value is wanted at its end"),
        ("(year > 3", r"'\)' is wanted at its end"),
        ("year > 3 year > 4", "the end is wanted at 'year > 4'"),
        ("and", "a column is wanted"),
        ('camera = "X', "wanted at"),
        ("year in 3", r"'\(' is wanted at '3'"),
        ("not " * 60 + "year=1", "more than 50 brackets"),
        ("x" * 5000, "5,000 letters"),
    ],
)
def test_what_is_no_filter_is_one_line(collection: Store, expression: str, message: str) -> None:
    with closing(collection), pytest.raises(QueryError, match=message):
        chosen(collection, expression)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_filter_or_a_query_error(text: str) -> None:
    class Statements(Database):
        def __init__(self) -> None:
            """Without a file."""

        def query(self, sql: str, values: object = ()) -> list[tuple[object, ...]]:
            return [(1, "a")]

        def numbers(self, sql: str, values: object = ()) -> np.ndarray:
            assert not text.strip() or "'" not in sql.replace("('integer', 'real')", "").replace("('text')", "")
            return np.array([0], np.int64)

    class Nothing(Catalog):
        def __init__(self) -> None:
            self.database = Statements()

    try:
        assert filters.select(text, Nothing(), 3).shape == (3,)
    except QueryError as error:
        assert "\n" not in str(error) or "\n" in text


def test_an_injection_is_a_value(collection: Store) -> None:
    with closing(collection):
        assert chosen(collection, 'camera = "x\'; DROP TABLE items; --"') == ""
        assert collection.catalog.count_rows() == len(KEYS)


def test_metadata_follows_a_changed_image_and_can_be_taken_away(collection: Store, tmp_path: Path) -> None:
    with closing(collection):
        item = collection.catalog.live_item("e.jpg")
        assert item
        with collection.writing():
            collection.add(item, clustered(1, 8)[0])
        assert np.flatnonzero(filters.select("year = 2019", collection.catalog, 7)).tolist() == [4, 6]
        (tmp_path / "more.csv").write_text("key,stars\nbeach/a.jpg,\n")
        with collection.writing():
            metadata.attach(collection, tmp_path / "more.csv")
        assert chosen(collection, "stars > 0") == "ce"
        gallery = StoredGallery(collection).view("year = 2019")
        assert len(gallery) == 1
        assert len(gallery.view("year = 2018")) == 1  # of all, not of what the other view holds
        assert gallery.holds(6)
        assert not gallery.holds(4)


@pytest.mark.parametrize(
    ("text", "message"), [("a,b\n1,2\n", "no column names the images; one of key, path"), (None, "no such file")]
)
def test_a_table_that_cannot_be_used_is_one_line(
    collection: Store, tmp_path: Path, text: str | None, message: str
) -> None:
    if text:
        (tmp_path / "bad.csv").write_text(text)
    with closing(collection), collection.writing(), pytest.raises(SourceError, match=message):
        metadata.attach(collection, tmp_path / "bad.csv")


def test_a_parquet_keeps_its_types(collection: Store, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {"key": ["e.jpg", "beach/a.jpg"], "indoor": [True, False], "size": [1.5, None], "v": [[1.0], [2.0]]}
    pq.write_table(pa.table(table), tmp_path / "table.parquet")
    with closing(collection), collection.writing():
        assert metadata.attach(collection, tmp_path / "table.parquet") == (2, 2)
        assert chosen(collection, "indoor = 1") == "e"
        assert chosen(collection, "size > 1") == "e"
        with pytest.raises(QueryError, match="no such column; there are: key, camera, indoor, size, stars, year"):
            chosen(collection, "v = 1")


def test_a_folder_ends_where_the_next_name_begins(tmp_path: Path) -> None:
    """A nought comes behind a slash, and nothing behind a byte of 255."""
    keys = ["beach/a", "beach/\udcff", "beach/\udcff\udcff", "beach0", "beach00", "beacg", "\udcff", "\udcff/a"]
    with closing(make(tmp_path / "c", clustered(len(keys), 8), keys=keys)) as store:

        def rows(expression: str) -> list[int]:
            return np.flatnonzero(filters.select(expression, store.catalog, len(keys))).tolist()

        assert rows("key:beach/*") == [0, 1, 2]
        assert rows("key:beach*") == [0, 1, 2, 3, 4]
        assert rows("key:beach/\udcff*") == [1, 2]
        assert rows("key:\udcff*") == [6, 7]
    assert [filters.after(prefix) for prefix in (b"a", b"a\xff", b"\xff\xff", b"")] == [b"b", b"b", b"", b""]


def test_removed_images_meet_no_filter_of_keys(collection: Store) -> None:
    with closing(collection):
        with collection.writing():
            collection.catalog.remove([0, 4])
        assert chosen(collection, "key:*") == "bcdf"
        assert chosen(collection, "key:beach/*") == "b"
        assert chosen(collection, "key = e.jpg or key in (beach/a.jpg) or key:e.jpg") == ""


def test_a_query_that_the_filter_leaves_out_is_no_result(photos: Path, encoder: PixelEncoder) -> None:
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        collection.index()
        hits = collection.search("01.jpg", 12, where="key:trip/*")
        assert sorted(hit.key for hit in hits) == [f"trip/{number:02}.png" for number in (0, 3, 6, 9)]
        assert collection.search("trip/03.png", 1, where="key:trip/*")[0].key == "trip/03.png"


def test_a_key_of_digits_is_no_number(tmp_path: Path) -> None:
    keys = ["000000012", "12", "1e3", "1000"]
    with closing(make(tmp_path / "c", clustered(4, 8), keys=keys)) as store:
        for row, key in enumerate(keys):
            for expression in (f"key = {key}", f"key in ({key}, no)", f"key = '{key}'"):
                assert np.flatnonzero(filters.select(expression, store.catalog, 4)).tolist() == [row]


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 1234567890123456789, 2**63, 10**20])
def test_long_numbers_are_as_exact_as_they_are_kept(collection: Store, number: int) -> None:
    with closing(collection), collection.writing():
        put_values(collection, "e.jpg", {"id": number})
        assert chosen(collection, f"id = {number}") == "e"
        assert chosen(collection, f"id in ({number - 10**5}, {number + 10**5})") == ""


def test_a_filter_of_many_values_takes_a_few_bytes_a_row(collection: Store) -> None:
    rows = 2_000_000
    with closing(collection):
        for expression, expected in (
            (f"key in ({', '.join(map(str, range(800)))}, e.jpg)", [4]),
            (f"year in ({', '.join(map(str, range(1900, 2550)))})", [0, 1, 2, 4]),
        ):
            tracemalloc.start()
            mask = filters.select(expression, collection.catalog, rows)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert np.flatnonzero(mask).tolist() == expected
            assert peak < 4 * rows


def stored(store: Store) -> dict[str, object]:
    """Column names to the value of the image `e.jpg`."""
    return dict(
        store.catalog.database.query('SELECT name, value FROM meta JOIN columns ON id = "column" WHERE row = 4')
    )


def test_a_parquet_with_numbers_that_sqlite_has_not_loses_these_alone(collection: Store, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {
        "key": ["e.jpg", "beach/a.jpg"],
        "hash": pa.array([2**64 - 1, 3], pa.uint64()),
        "least": pa.array([-(2**63), 3], pa.int64()),
        "similarity": [float("nan"), 0.5],
        "zero": [-0.0, 1],
        "endless": [float("inf"), 1],
    }
    pq.write_table(pa.table(table), tmp_path / "table.parquet")
    with closing(collection):
        with collection.writing():
            assert metadata.attach(collection, tmp_path / "table.parquet") == (2, 2)
        assert chosen(collection, "similarity >= 0") == "a"
        assert chosen(collection, f"hash = {2**64 - 1} and least = {-(2**63)} and endless > 1e300") == "e"
        assert "similarity" not in stored(collection)
        assert not verify(collection.path)


def test_a_table_that_is_not_utf8_keeps_the_rest(collection: Store, tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("key,Straße,stars\ne.jpg,Köln,3\n".encode("latin-1"))
    with closing(collection):
        with collection.writing():
            assert metadata.attach(collection, tmp_path / "latin.csv") == (1, 1)
            put_values(collection, "e.jpg", {"half \ud800": "\ud800!", "sure": True})
        assert chosen(collection, "stars = 3 and 'Stra\ufffde':K?ln") == "e"
        assert stored(collection) | {"Stra\ufffde": "K\ufffdln", "half \ufffd": "\ufffd!", "sure": 1} == stored(
            collection
        )
        assert not verify(collection.path)


def test_a_long_table_is_committed_now_and_then(
    collection: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "BLOCK", 2)
    monkeypatch.setattr(metadata, "COMMIT_EVERY", 1)
    (tmp_path / "long.csv").write_text("key,stars\n" + "".join(f"{key},9\n" for key in KEYS[:5]))

    class Killed(BaseException):
        pass

    real, calls = metadata.put_row, 0

    def put(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Killed
        real(*arguments)

    with closing(collection):
        monkeypatch.setattr(metadata, "put_row", put)
        with pytest.raises(Killed), collection.writing():
            metadata.attach(collection, tmp_path / "long.csv")
        assert chosen(collection, "stars = 9") == "ab"  # the block that was whole
        with collection.writing():
            assert metadata.attach(collection, tmp_path / "long.csv") == (5, 5)
        assert chosen(collection, "stars = 9") == "abcde"
        assert not verify(collection.path)


def test_bytes_that_are_no_text_match_themselves_alone(tmp_path: Path) -> None:
    keys = ["\udcffx.jpg", "\udcfe\udcff.jpg", "\udcff\udcff.jpg", "ÿ.jpg", "a\udcffb.jpg", "a\udcfeb.jpg", "z.jpg"]
    patterns = {
        "\udcff*": [0, 2],
        "\udcff\udcff*": [2],
        "ÿ*": [3],
        "*\udcff*": [0, 1, 2, 4],
        "a\udcff*.jpg": [4],
        "a[\udcfe]b*": [5],
        "a[^\udcfe]b*": [4],
        "?\udcffb.jpg": [4],
    }
    with closing(make(tmp_path / "c", clustered(len(keys), 8), keys=keys)) as store:
        for pattern, rows in patterns.items():
            mask = filters.select(f"key:{pattern}", store.catalog, len(keys))
            assert np.flatnonzero(mask).tolist() == rows, ascii(pattern)


def test_a_measurement_that_is_missing_leaves_a_column_of_numbers(collection: Store, tmp_path: Path) -> None:
    table = "key,sharpness\nbeach/a.jpg,nan\nbeach/b.jpg,-Inf\nbeach2/c.jpg,infinity\ne.jpg,0.5\n"
    (tmp_path / "table.csv").write_text(table)
    with closing(collection), collection.writing():
        assert metadata.attach(collection, tmp_path / "table.csv") == (4, 4)
        assert chosen(collection, "sharpness > 0") == "ce"
        assert chosen(collection, "sharpness < 0") == "b"
        assert chosen(collection, "sharpness:*") == "bce"


def test_an_image_is_recognised_however_a_table_spells_its_name(tmp_path: Path) -> None:
    keys = ["beach/a.jpg", "Caf\u00e9/B.JPG", "x/same.jpg", "x/SAME.jpg"]
    names = {
        "beach/a.jpg": 0,
        "./beach/a.jpg": 0,
        "beach//../beach/a.jpg": 0,
        "beach\\a.jpg": 0,
        str(tmp_path / "beach" / "a.jpg"): 0,
        "BEACH/A.jpg": 0,
        "cafe\u0301/b.jpg": 1,
        str(tmp_path / "cafe\u0301" / "b.jpg"): 1,
        "x/same.jpg": 2,
        "x/SAME.jpg": 3,
        # Which of the two?
        "x/Same.jpg": None,
        "/elsewhere/beach/a.jpg": None,
        "a.jpg": None,
        "": None,
    }
    with closing(make(tmp_path / "c", clustered(len(keys), 8), keys=keys)) as store, closing(Names(store)) as rows:
        assert {name: rows.row(name) for name in names} == names


def test_a_table_that_names_few_of_the_images_is_told(
    collection: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "table.csv").write_text("key,a\n1.jpg,1\ne.jpg,1\n3.jpg,1\n")
    with closing(collection), collection.writing():
        assert metadata.attach(collection, tmp_path / "table.csv") == (3, 1)
    assert "table.csv: only 1 of 3 lines name an image here; there is no '1.jpg'" in caplog.text
