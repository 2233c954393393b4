"""Flipped bits and cut files: whatever is hit, `verify` finds it, repair loses the rows hit alone, and nothing lies."""

import os
import random
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.collection.collection import open as lookalike_open
from lookalike.errors import CollectionError, CollectionLocked, EngineError, ImageError, LookalikeError
from lookalike.search.gallery import StoredGallery
from lookalike.search.query import Key
from lookalike.storage import distinct, kept_columns, metadata
from lookalike.storage.filters import select
from lookalike.storage.maintenance import verify as verifying
from lookalike.storage.maintenance.merge import merge
from lookalike.storage.maintenance.verify import verify
from lookalike.storage.store import Store, sole_writer
from lookalike.storage.vectors import RowStore, VectorFile
from tests.support import ROOT
from tests.support.pictures import PixelEncoder, picture
from tests.support.vectors import clustered, cosines, items, make, optimize, whiten

ROWS = 400
FLIPS = int(os.environ.get("LOOKALIKE_TEST_FLIPS", "12"))
"""For each file; 200 takes some minutes."""

KEYS = [f"{row % 7}/{row:05} {'x' * (row % 60)}.jpg" for row in range(ROWS)]
Content = tuple[dict[str, bytes], list[object]]


def content(path: Path) -> Content:
    """All that a collection tells: vectors by key, and what lies beside them."""
    with closing(Store(path)) as store:
        vectors = {item.key: store.vector(item.row).tobytes() for item in store.catalog.live_items()}
        columns = store.catalog.database.query(
            'SELECT row, name, value FROM meta JOIN columns ON id = "column" ORDER BY row, name'
        )
        dismissed = store.catalog.database.query("SELECT key, size, mtime_ns FROM dismissed ORDER BY key")
        return vectors, [store.header, store.catalog.sources(), store.catalog.skipped(), columns, dismissed]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection with one of everything: metadata, removals, something skipped, a whitening, an index."""
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "c"
    with closing(make(path, clustered(ROWS), keys=KEYS)) as store, store.writing():
        for row in range(0, ROWS, 3):
            metadata.put_row(store, row, {"year": 1990 + row % 30, "place": f"place {row}"})
        store.catalog.remove([5, 6])
        store.catalog.dismiss([store.catalog.item(7)])
        store.catalog.add_skipped(1, "bad.jpg", "damaged image")
    whiten(path, 16)
    optimize(path, "IVF4,SQ8")
    assert not verify(path)
    return path


FILES = [
    "collection.json",
    "catalog.sqlite",
    "vectors.f32",
    "whitening.safetensors",
    "index/index.json",
    "index/*.faiss",
]


def hit(whole: Path, folder: Path, name: str) -> tuple[Path, Path]:
    shutil.rmtree(folder / "c", ignore_errors=True)
    shutil.copytree(whole, folder / "c")
    (file,) = (folder / "c").glob(name)
    return folder / "c", file


def same_answers(path: Path, before: Content) -> None:
    """Every result is a key with the cosine of the vector that it always had, or the search says why not."""
    with Collection(path) as collection:
        query = np.frombuffer(before[0]["3/00010 xxxxxxxxxx.jpg"], np.float32)
        for hit in collection.search(query, k=5):
            expected = float(np.frombuffer(before[0][hit.key], np.float32) @ query)
            assert abs(hit.score - expected) < 1e-5


def check(path: Path, before: Content, name: str) -> None:
    try:
        unchanged = content(path) == before
    except LookalikeError:
        unchanged = False
    try:
        same_answers(path, before)
    except LookalikeError as error:
        assert "\n" not in str(error)
    damage = verify(path)
    assert unchanged or damage, f"{name}: something changed and nothing was found"
    if name != "catalog.sqlite":
        assert damage, f"{name} is of use to the last bit"
    if not damage:
        return
    repaired = verify(path, repair=True)
    assert {name for _, name in damage.rows} <= {name for _, name in repaired.rows}
    left = verify(path)
    assert not left.rows
    assert all("of a source that is lost" in fault for fault in left.faults), "what was repaired is whole"
    after = content(path)
    lost = before[0].keys() - after[0].keys()
    assert lost <= {KEYS[row] for row, _ in repaired.rows}
    assert all(after[0][key] == before[0].get(key) for key in after[0]), "no vector changed"
    if name != "catalog.sqlite":
        assert after[1][0] == before[1][0]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_wherever_it_is(whole: Path, tmp_path: Path, name: str) -> None:
    before, rng = content(whole), random.Random(name)
    for _ in range(FLIPS):
        path, file = hit(whole, tmp_path, name)
        data = bytearray(file.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
        check(path, before, name)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_cut_is_found(whole: Path, tmp_path: Path, name: str) -> None:
    before, rng = content(whole), random.Random(name)
    for _ in range(max(2, FLIPS // 4)):
        path, file = hit(whole, tmp_path, name)
        with file.open("r+b") as stream:
            stream.truncate(rng.randrange(file.stat().st_size))
        try:
            check(path, before, name)
        except CollectionError as error:  # neither collection.json nor its copy in the catalog
            assert name == "catalog.sqlite", error


def roots(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path / "catalog.sqlite")) as database:
        return dict(database.execute("SELECT name, rootpage FROM sqlite_master"))


@pytest.mark.parametrize("size", [1, 4096])
@pytest.mark.parametrize("table", ["items", "meta", "items_key", "items_sha256"])
def test_a_page_that_leads_to_others_takes_none_of_them_with_it(
    whole: Path, tmp_path: Path, table: str, size: int
) -> None:
    before = content(whole)
    path, file = hit(whole, tmp_path, "catalog.sqlite")
    at = (roots(path)[table] - 1) * 4096
    data = bytearray(file.read_bytes())
    assert data[at] in {2, 5}, "a page that leads to others"
    data[at : at + size] = bytes(byte ^ 255 for byte in data[at : at + size])
    file.write_bytes(data)
    assert verify(path).faults
    assert not verify(path, repair=True).rows
    assert not verify(path)
    after = content(path)
    assert after[0] == before[0]
    if table != "meta":  # its inner pages hold entries too
        assert after == before


def forget_tables(path: Path) -> None:
    """The first page of a catalog without its list of tables: SQLite opens it and finds nothing."""
    with (path / "catalog.sqlite").open("r+b") as file:
        file.seek(100)
        file.write(bytes(2000))


def test_a_catalog_without_its_list_of_tables_is_repaired_whole(whole: Path, tmp_path: Path) -> None:
    before = content(whole)
    path, _ = hit(whole, tmp_path, "catalog.sqlite")
    forget_tables(path)
    assert verify(path).faults
    assert not verify(path, repair=True).rows
    assert not verify(path)
    assert content(path)[0] == before[0]


def test_a_torn_page_of_the_catalog_loses_the_rows_in_it_by_name(whole: Path, tmp_path: Path) -> None:
    before = content(whole)
    path, file = hit(whole, tmp_path, "catalog.sqlite")
    data = bytearray(file.read_bytes())
    lies = data.index(KEYS[200].encode())
    start = lies - lies % 4096
    named = [key for key in before[0] if data.find(key.encode(), start, start + 4096) >= 0]
    data[start : start + 4096] = bytes(4096)
    file.write_bytes(data)
    lost = [name for _, name in verify(path, repair=True).rows]
    assert KEYS[200] in lost
    assert len(lost) < ROWS // 5
    assert set(named) <= set(lost)
    assert content(path)[0].keys() == before[0].keys() - set(lost)
    assert not verify(path)


def test_a_torn_page_of_the_vectors_loses_its_rows_and_the_next_run_brings_them_back(
    photos: Path, encoder: PixelEncoder
) -> None:
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        collection.index()
        before = collection.keys()
        with (photos / ".lookalike" / "vectors.f32").open("r+b") as file:
            file.seek(3 * 4 * 192 + 100)
            file.write(bytes(4 * 192))  # over the bounds of rows 3 and 4
        damage = collection.verify(repair=True)
        assert [row for row, _ in damage.rows] == [3, 4]
        assert collection.index().added == 2
        assert sorted(collection.keys()) == sorted(before)
        assert not collection.verify()


def test_a_result_whose_vector_is_not_what_was_stored_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One bit of the last number: the score is still right to six digits, and the vector was never embedded."""
    vectors = clustered(20)
    make(tmp_path / "c", vectors).close()
    with (tmp_path / "c" / "vectors.f32").open("r+b") as file:
        file.seek(4 * 4 * 32 - 4)  # the last number of row 3
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    with closing(Store(tmp_path / "c")) as store:
        gallery = StoredGallery(store)
        assert [store.intact_item(row) is not None for row in (2, 3, 4)] == [True, False, True]
        assert gallery.intact_item(2)
        assert gallery.intact_item(3) is None
    with Collection(tmp_path / "c") as opened_to_search:
        assert opened_to_search.search(vectors[2], k=1)[0].key == "2/000002.jpg"
        assert opened_to_search.damaged == []
        kept = [hit.key for hit in opened_to_search.search(vectors[3], k=20)]
        assert (len(kept), "3/000003.jpg" in kept) == (19, False)
        assert opened_to_search.damaged == ["3/000003.jpg"]
        order = np.argsort(-(vectors @ vectors[3]), kind="stable")
        assert kept == [f"{row % 10}/{row:06}.jpg" for row in order if row != 3]
        # Fewer are asked for, and as many come.
        assert [hit.key for hit in opened_to_search.search(vectors[3], k=4)] == kept[:4]
    assert caplog.text.count("row 3 (3/000003.jpg) is damaged and is left out; run `lookalike verify") == 1


def test_rows_that_have_no_score_are_named_in_one_line_by_a_search_that_misses_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = clustered(20)
    make(tmp_path / "c", vectors).close()
    stored = np.memmap(tmp_path / "c" / "vectors.f32", np.float32, "r+", shape=(20, 32))
    stored[[3, 5]] = np.nan
    stored.flush()
    with Collection(tmp_path / "c") as collection:
        assert len(collection.search(vectors[0], k=18)) == 18
        assert (collection.damaged, caplog.text) == ([], "")
        assert len(collection.search(vectors[0], k=20)) == 18
        assert collection.damaged == ["3/000003.jpg", "5/000005.jpg"]
        assert len(collection.search(vectors[0], k=20)) == 18
    assert [record.getMessage() for record in caplog.records] == [
        "row 3 (3/000003.jpg) and 1 more are damaged and are left out; "
        f"run `lookalike verify {tmp_path / 'c'} --repair`"
    ]


def test_a_copy_of_an_image_whose_vector_is_damaged_is_embedded_and_not_given_that_vector(
    photos: Path, encoder: PixelEncoder
) -> None:
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        collection.index()
        row = collection.row("01.jpg")
        assert row is not None
        with (photos / ".lookalike" / "vectors.f32").open("r+b") as file:
            file.seek(row * 4 * 192)
            file.write(bytes(4))
        shutil.copy(photos / "01.jpg", photos / "copy.jpg")
        assert collection.index().added == 1
        assert encoder.encoded == 13
        copied = collection.row("copy.jpg")
        assert copied is not None
        assert np.array_equal(collection.store.vector(copied), encoder.encode([photos / "copy.jpg"])[0])


def spoil(path: Path, statement: str) -> None:
    """Change an entry behind its checksum's back."""
    with closing(sqlite3.connect(path / "catalog.sqlite")) as database, database:
        database.execute(statement)


def test_a_gallery_with_fewer_vectors_than_rows_is_not_searched_at_all(tmp_path: Path) -> None:
    """An engine that lost some would answer without them, and nobody would know."""
    make(tmp_path / "c", clustered(20)).close()
    os.truncate(tmp_path / "c" / "vectors.f32", 19 * 4 * 32 + 100)
    with (
        closing(Store(tmp_path / "c")) as store,
        pytest.raises(CollectionError, match=r"holds 19 of 20 vectors; run `lookalike verify .* --repair`"),
    ):
        StoredGallery(store)


def test_a_result_whose_entry_is_not_what_was_stored_is_left_out(tmp_path: Path) -> None:
    """Another key for the same vector: its picture would be shown for it."""
    vectors = clustered(20)
    make(tmp_path / "c", vectors).close()
    spoil(tmp_path / "c", f"UPDATE items SET key = x'{b'3/000009.jpg'.hex()}' WHERE row = 3")
    with Collection(tmp_path / "c") as collection:
        assert collection.search(vectors[2], k=1)[0].key == "2/000002.jpg"
        assert "3/000009.jpg" not in [hit.key for hit in collection.search(vectors[3], k=20)]
        assert collection.damaged == ["3/000009.jpg"]


def test_a_collection_of_damaged_rows_is_refused_and_not_searched_row_by_row(tmp_path: Path) -> None:
    vectors = clustered(200)
    make(tmp_path / "c", vectors).close()
    (tmp_path / "c" / "vectors.f32").write_bytes(np.roll(vectors, 1, axis=1).tobytes())
    with (
        Collection(tmp_path / "c") as collection,
        pytest.raises(CollectionError, match=r"and 2 more are damaged; run `lookalike verify"),
    ):
        collection.search(vectors[3], k=3)


def test_an_image_whose_vector_is_damaged_is_encoded_when_it_is_the_query(photos: Path, encoder: PixelEncoder) -> None:
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        collection.index()
        expected = [hit.key for hit in collection.search(Key("01.jpg"), k=5)]
        row = collection.row("01.jpg")
        assert row is not None
        with (photos / ".lookalike" / "vectors.f32").open("r+b") as file:
            file.seek(row * 4 * 192)
            file.write(bytes(4 * 192))
    for query in (Key("01.jpg"), photos / "01.jpg"):
        with Collection(photos / ".lookalike", encoder, [photos]) as collection:
            assert [hit.key for hit in collection.search(query, k=4)] == expected[1:]


def test_what_a_damaged_entry_says_of_its_image_is_not_passed_on(photos: Path, encoder: PixelEncoder) -> None:
    """Repair marks the entry as damaged, under a checksum that is right again; its vector was whole all along."""
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        collection.index()
        key = collection.key(3)
    spoil(photos / ".lookalike", "UPDATE items SET width = 999 WHERE row = 3")
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        assert collection.verify(repair=True).rows == ((3, key),)
        assert collection.index().added == 1
        item = collection.store.catalog.live_item(key)
        assert item is not None
        assert (item.width, item.height, encoder.encoded) == (64, 48, 13)


def test_a_server_that_is_away_has_lost_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "c", clustered(20)).close()

    class Away(VectorFile):
        def __len__(self) -> int:
            raise EngineError("the server is away")

    monkeypatch.setattr(verifying, "open_rows", lambda place, _: Away(place.path / "vectors.f32", place.dim))
    for repair in (False, True):
        with pytest.raises(EngineError, match="the server is away"):
            verify(tmp_path / "c", repair)
    monkeypatch.undo()
    assert not verify(tmp_path / "c")
    with closing(Store(tmp_path / "c")) as store:
        assert len(list(store.catalog.live_items())) == 20


def test_a_lost_source_takes_no_result_and_the_next_run_finds_it_again(photos: Path, encoder: PixelEncoder) -> None:
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        collection.index()
        before = [hit.key for hit in collection.search("01.jpg")]
    spoil(photos / ".lookalike", "UPDATE sources SET crc = crc + 1")
    with Collection(photos / ".lookalike", encoder) as collection:
        assert "1 entry of sources does not match" in collection.verify(repair=True).faults[0]
        message = r"12 images, as 01.jpg, are of a source that is lost; index their folder again"
        assert [re.search(message, fault) is not None for fault in collection.verify().faults] == [True]
        assert [(hit.key, hit.path) for hit in collection.search("01.jpg")] == [(key, None) for key in before]
        with pytest.raises(ImageError, match="where it lies is lost; run `lookalike verify`"):
            collection.gallery.image(0)
        with pytest.raises(CollectionError, match=r"01.jpg is of an unknown source; run `lookalike verify`"):
            merge([collection.path], photos.parent / "merged")
        assert collection.index([photos]).unchanged == 12
        assert not collection.verify()
        assert [hit.path for hit in collection.search("01.jpg")] == [photos / key for key in before]


def test_one_of_several_sources_that_is_lost_needs_a_rebuild(tmp_path: Path) -> None:
    with closing(make(tmp_path / "c", clustered(20))) as store, store.writing():
        store.catalog.add_source("/another", "another/")
    spoil(tmp_path / "c", "UPDATE sources SET prefix = x'00' WHERE id = 1")
    verify(tmp_path / "c", repair=True)
    (fault,) = verify(tmp_path / "c").faults
    assert fault.endswith("20 images, as 0/000000.jpg, are of a source that is lost; index again with --rebuild")


def test_a_column_that_is_lost_takes_its_values_with_it(whole: Path, tmp_path: Path) -> None:
    path, _ = hit(whole, tmp_path, "catalog.sqlite")
    spoil(path, "UPDATE columns SET name = 'YEAR' WHERE name = 'year'")
    assert verify(path).faults == ("catalog.sqlite: 1 entry of columns does not match its checksum",)
    assert "134 entries of meta are of a column that is lost" in verify(path, repair=True).faults[1]
    assert not verify(path)
    with closing(Store(path)) as store, store.writing():
        metadata.put_row(store, 1, {"stars": 2000})
        assert np.flatnonzero(select("stars > 0", store.catalog, ROWS)).tolist() == [1]


def test_values_of_a_column_that_an_older_repair_left_are_not_carried_on(whole: Path, tmp_path: Path) -> None:
    path, _ = hit(whole, tmp_path, "catalog.sqlite")
    spoil(path, "DELETE FROM columns WHERE name = 'year'")
    with closing(Store(path)) as old, closing(make(tmp_path / "new", clustered(ROWS), keys=KEYS)) as new:
        with new.writing():
            kept_columns.carry(old, new)
        assert {name for (name,) in new.catalog.database.query("SELECT name FROM columns")} == {"place"}
        # Row 6 is removed in one and live in the other, and has its value again.
        assert new.catalog.database.query("SELECT COUNT(*) FROM meta") == [(134,)]
    assert verify(path).faults


@pytest.mark.parametrize("before", [True, False])
def test_a_commit_in_the_middle_of_it_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    vectors = clustered(106)
    make(tmp_path / "c", vectors[:100]).close()
    real, committed = verifying.stored_rows, iter(range(2))

    def count(rows: RowStore) -> int:
        """How many vectors there are, while another process adds three rows."""
        stored = -1 if before else real(rows)
        with closing(Store(tmp_path / "c")) as store, store.writing():
            number = next(committed)
            store.add_many(items([f"{number}/{at}" for at in range(3)]), vectors[100:103])
        return real(rows) if before else stored

    monkeypatch.setattr(verifying, "stored_rows", count)
    assert not verify(tmp_path / "c")
    with closing(Store(tmp_path / "c")) as store:
        assert store.catalog.count_rows() == 103


LIMITED = """
import resource, signal, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
from lookalike.cli import main
main(sys.argv[3:])
"""


def limited(size: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command in a process whose files cannot grow beyond `size`: what a full disk is like, without being root."""
    command = [sys.executable, "-c", LIMITED, "", str(size), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("size", [1000, 100_000])
def test_a_disk_that_fills_up_ends_each_command_with_one_line_and_loses_nothing(tmp_path: Path, size: int) -> None:
    path = tmp_path / "c"
    make(path, clustered(2000)).close()
    optimize(path, "IVF4,SQ8")
    with closing(Store(path)) as store, store.writing():
        store.catalog.remove(range(10))
    before = content(path)
    for command in (
        ("compact", str(path)),
        ("optimize", str(path), "--index", "Flat"),
        ("export", str(path), str(tmp_path / "x")),
    ):
        run = limited(size, *command)
        assert run.returncode == 1
        assert "Traceback" not in run.stderr
        assert run.stderr.strip().splitlines()[-1].startswith("lookalike: error: ")
        assert content(path) == before
        assert not verify(path)
    assert [item.name for item in tmp_path.iterdir()] == ["c"]


def test_a_write_that_fails_half_way_loses_nothing_that_was_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = clustered(60)
    with closing(make(tmp_path / "c", vectors[:20])) as store:
        for fails_at in range(1, 12):
            calls = 0
            real_fsync = os.fsync

            def failing(descriptor: int, at: int = fails_at, real: Any = real_fsync) -> None:
                nonlocal calls
                calls += 1
                if calls == at:
                    raise OSError(28, "No space left on device")
                real(descriptor)

            monkeypatch.setattr(os, "fsync", failing)
            committed = store.catalog.count_rows()
            try:
                with store.writing():
                    for number in range(5):
                        item = next(iter(store.catalog.live_items()))
                        store.add(type(item)(-1, 1, f"{fails_at}/{number}", 1, 2, f"{number:064x}", 3, 2), vectors[30])
                        store.commit()
                        committed = store.catalog.count_rows()
            except CollectionError as error:
                assert "no space left on device" in str(error)
            monkeypatch.undo()
            assert store.catalog.count_rows() == committed
            assert not verify(tmp_path / "c")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where nobody may")
def test_a_folder_that_cannot_be_written_is_searched_all_the_same(tmp_path: Path) -> None:
    _read_only(tmp_path)


def test_a_disk_that_cannot_be_written_is_searched_all_the_same(tmp_path: Path) -> None:
    """A read-only mount, where this process may make one; the permissions of a folder do not hold root back."""
    vectors = clustered(50)
    make(tmp_path / "c", vectors).close()
    bound = ["mount", "--bind", "-o", "ro", str(tmp_path / "c"), str(tmp_path / "c")]
    if os.geteuid() or subprocess.run(bound, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount")
    try:
        with closing(Store(tmp_path / "c")) as store:
            _, ids = StoredGallery(store).search(vectors[:5], 3)
            assert np.array_equal(ids, cosines(vectors[:5], vectors, 3))
            with pytest.raises(CollectionError, match=r"cannot be written to .read-only file system"), store.writing():
                pass
        assert not verify(tmp_path / "c")
    finally:
        subprocess.run(["umount", str(tmp_path / "c")], check=True)


def _read_only(tmp_path: Path) -> None:
    vectors = clustered(50)
    make(tmp_path / "c", vectors).close()
    (tmp_path / "c").chmod(0o555)
    try:
        with closing(Store(tmp_path / "c")) as store:
            assert StoredGallery(store).search(vectors[:1], 1)[1][0, 0] == 0
    finally:
        (tmp_path / "c").chmod(0o755)


@pytest.mark.parametrize("name", [".lookalike", "elsewhere"])
def test_a_collection_without_its_json_is_refused_by_name_and_never_written_over(
    photos: Path, tmp_path: Path, encoder: PixelEncoder, name: str
) -> None:
    path = photos / ".lookalike" if name == ".lookalike" else tmp_path / name
    with Collection(path, encoder, [photos]) as collection:
        collection.index()
        before = collection.keys()
    (path / "collection.json").unlink()
    named = photos if name == ".lookalike" else path
    kept = (path / "catalog.sqlite").read_bytes()
    with lookalike_open(named, encoder=encoder) as collection:
        for job in (collection.index, collection.keys, lambda: collection.search(photos / "01.jpg")):
            with pytest.raises(CollectionError, match=r"collection.json is missing, but catalog.sqlite and vectors"):
                job()
    assert (path / "catalog.sqlite").read_bytes() == kept
    with lookalike_open(named, encoder=encoder) as collection:
        assert collection.verify().faults
        assert not collection.verify(repair=True).rows
        assert collection.keys() == before
        assert collection.index([photos]).unchanged == 12


def test_what_an_interrupted_first_run_left_is_no_collection_yet(photos: Path, encoder: PixelEncoder) -> None:
    path = photos / ".lookalike"
    make(path, clustered(0, 192)).close()
    (path / "collection.json").unlink()
    with Collection(path, encoder, [photos]) as collection:
        assert collection.index().added == 12


def test_a_rebuild_takes_the_place_of_a_collection_without_its_json(photos: Path, encoder: PixelEncoder) -> None:
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        collection.index()
    (photos / ".lookalike" / "collection.json").unlink()
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        assert collection.index(rebuild=True).added == 12
        assert not collection.verify()


def test_rebuild_is_the_way_out_where_nothing_can_be_read(photos: Path, encoder: PixelEncoder) -> None:
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        collection.index()
    (photos / ".lookalike" / "catalog.sqlite").write_bytes(b"nothing")
    (photos / ".lookalike" / "collection.json").write_text("{}")
    picture(99).save(photos / "another.png")
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        with pytest.raises(CollectionError, match="index again with --rebuild"):
            collection.index()
        assert collection.index(rebuild=True).added == 13
        assert not collection.verify()


def lose_json(path: Path) -> None:
    (path / "collection.json").unlink()


def lose_vectors(path: Path) -> None:
    (path / "vectors.i8").unlink()


@pytest.mark.parametrize("damage", [forget_tables, lose_json, lose_vectors])
@pytest.mark.parametrize("is_named", [True, False])
def test_a_rebuild_of_what_cannot_be_opened_keeps_what_a_user_gave(
    photos: Path, tmp_path: Path, encoder: PixelEncoder, damage: Callable[[Path], None], is_named: bool
) -> None:
    path, table, other = tmp_path / "c", tmp_path / "labels.csv", tmp_path / "other"
    table.write_text("file,label\n02.jpg,beach\n")
    other.mkdir()
    picture(50).save(other / "50.png")
    with Collection(path, encoder, [photos, other]) as collection:
        collection.index(ignore=["trip/"], dtype="int8")
        collection.attach(table)
        collection.remove(["01.jpg"])
        collection.not_duplicates("04.jpg", "05.jpg")
        pairs = distinct.pairs(collection.store)
        collection.mark("07.jpg", "08.jpg", same=True)
        marks = collection.marks()
        collection.add_set("thumbnail")
    damage(path)
    with Collection(path, encoder) as collection:
        collection.index([photos, other] if is_named else [], rebuild=True)
        assert sorted(collection.keys()) == [
            *(f"{number:02}.jpg" for number in (2, 4, 5, 7, 8, 10, 11)),
            "other/50.png",
        ]
        assert [hit.key for hit in collection.search(picture(2), 20, where="label = beach")] == ["02.jpg"]
        assert distinct.pairs(collection.store) == pairs != frozenset()
        assert collection.marks() == marks != []
        assert collection.store.header.dtype == "int8"
        assert sorted(collection.sets["thumbnail"].keys()) == sorted(collection.keys())
        assert [collection.store.catalog.ignored(id_) for id_, _, _ in collection.store.catalog.sources()] == [
            ("trip/",),
            ("trip/",),
        ]
        assert not collection.verify()
        assert not (path / "salvaged").exists()
        assert collection.index(ignore=[]).added == 4
        assert collection.restore(["01.jpg"]) == 1


def test_patterns_that_are_given_replace_those_of_a_damaged_catalog(photos: Path, encoder: PixelEncoder) -> None:
    path = photos / ".lookalike"
    with Collection(path, encoder, [photos]) as collection:
        collection.index(ignore=["trip/"])
    forget_tables(path)
    with Collection(path, encoder, [photos]) as collection:
        assert collection.index([photos], rebuild=True, ignore=[]).added == 12


def test_a_damaged_catalog_is_not_rebuilt_from_a_folder_that_is_empty_now(photos: Path, encoder: PixelEncoder) -> None:
    path = photos.with_name("c")
    with Collection(path, encoder, [photos]) as collection:
        collection.index()
    forget_tables(path)
    photos.rename(photos.with_name("away"))
    photos.mkdir()
    with Collection(path, encoder, [photos]) as collection:
        with pytest.raises(CollectionError, match="12 of 12 images are gone"):
            collection.index(rebuild=True)
        assert collection.index(rebuild=True, allow_removals=True).added == 0


def test_what_cannot_be_read_is_rebuilt_by_one_process_at_a_time(photos: Path, encoder: PixelEncoder) -> None:
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        collection.index()
    (photos / ".lookalike" / "collection.json").unlink()
    with Collection(photos / ".lookalike", encoder, [photos]) as collection:
        with sole_writer(collection.path), pytest.raises(CollectionLocked):
            collection.index(rebuild=True)
        assert collection.index(rebuild=True).added == 12
    assert encoder.encoded == 24


def test_the_limit_on_file_sizes_is_there() -> None:
    assert hasattr(resource, "RLIMIT_FSIZE")
