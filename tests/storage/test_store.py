import multiprocessing
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.errors import CollectionError, CollectionLocked
from lookalike.storage.maintenance.verify import verify
from lookalike.storage.sqlite import Database
from lookalike.storage.store import Header, Item, Store, create, sole_writer
from lookalike.storage.vectors import VectorFile

HEADER = Header("pixels", "f" * 64, 4)


def item(key: str, content: int = 0) -> Item:
    return Item(-1, 1, key, 10, 20, f"{content:064x}", 3, 2)


def vector(number: int) -> NDArray[np.float32]:
    return np.asarray(np.eye(4)[number % 4], np.float32)


def filled(path: Path, count: int = 3) -> Store:
    store = create(path, HEADER)
    with store.writing():
        store.catalog.add_source("..", "")
        for number in range(count):
            store.add(item(f"{number}.jpg", number), vector(number))
    return store


def test_rows_and_vectors_come_back_as_they_were_stored(tmp_path: Path) -> None:
    filled(tmp_path).close()
    store = Store(tmp_path)
    assert [(entry.row, entry.key) for entry in store.catalog.live_items()] == [
        (0, "0.jpg"),
        (1, "1.jpg"),
        (2, "2.jpg"),
    ]
    assert np.array_equal(store.vectors.block(0, 3), np.eye(4, dtype=np.float32)[:3])
    assert replace(store.header, id="") == HEADER
    assert len(store.header.id) == 32


def test_a_key_that_is_not_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    name = b"caf\xe9\n.jpg".decode("utf-8", "surrogateescape")
    store = create(tmp_path, HEADER)
    with store.writing():
        store.add(item(name), vector(0))
    entry = store.catalog.live_item(name)
    assert entry is not None
    assert entry.key == name


def test_an_exception_rolls_back_to_the_last_commit(tmp_path: Path) -> None:
    store = filled(tmp_path, 2)

    def fail_after_a_commit() -> None:
        with store.writing():
            store.add(item("kept.jpg"), vector(2))
            store.commit()
            store.add(item("lost.jpg"), vector(3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_a_commit()
    assert [entry.key for entry in store.catalog.live_items()] == ["0.jpg", "1.jpg", "kept.jpg"]


def test_surplus_vectors_of_a_crashed_run_are_overwritten(tmp_path: Path) -> None:
    store = filled(tmp_path, 1)
    with (tmp_path / "vectors.f32").open("ab") as file:
        file.write(b"\xff" * 23)
    with store.writing():
        store.add(item("next.jpg"), vector(1))
    assert (tmp_path / "vectors.f32").stat().st_size == 2 * 16
    assert np.array_equal(store.vectors.block(0, 2), np.eye(4, dtype=np.float32)[:2])
    assert not verify(tmp_path)


def test_vectors_are_on_the_disk_before_the_rows_that_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut takes what was not synchronised, which no killed process shows."""
    store = filled(tmp_path, 1)
    vectors, order = (tmp_path / "vectors.f32").stat().st_ino, list[str]()
    fsync, execute = os.fsync, Database.execute

    def synchronised(handle: int) -> None:
        fsync(handle)
        if os.fstat(handle).st_ino == vectors:
            order.append("vectors")

    def executed(self: Database, sql: str, values: Sequence[object] = ()) -> int:
        if sql == "COMMIT":
            order.append("rows")
        return execute(self, sql, values)

    monkeypatch.setattr(os, "fsync", synchronised)
    monkeypatch.setattr(Database, "execute", executed)
    with store.writing():
        assert store.catalog.database.query("PRAGMA synchronous") == [(2,)], "SQLite does the same with the rows"
        store.add(item("a.jpg"), vector(1))
        store.commit()
        store.add(item("b.jpg"), vector(2))
    assert order == ["vectors", "rows", "vectors", "rows"]


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="folders are not synchronised there")
def test_a_new_collection_is_on_the_disk_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, named = tmp_path / "c", list[list[str]]()
    fsync = os.fsync

    def synchronised(handle: int) -> None:
        fsync(handle)
        if os.fstat(handle).st_ino == path.stat().st_ino:
            named.append(sorted(file.name for file in path.iterdir() if file.suffix != ".lock"))

    monkeypatch.setattr(os, "fsync", synchronised)
    create(path, HEADER).close()
    assert named == [["catalog.sqlite", "collection.json", "vectors.f32"]]


class Halting:
    """A file that takes 100 bytes at a time, as one on a network may."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: memoryview) -> int:
        return self._file.write(data[:100])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_write_that_stops_short_is_gone_on_with(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    (tmp_path / "vectors.f32").write_bytes(b"")
    with closing(VectorFile(tmp_path / "vectors.f32", 4)) as vectors:
        vectors._writer = cast(IO[bytes], Halting((tmp_path / "vectors.f32").open("r+b", buffering=0)))
        checksums = vectors.append(0, rows)
        assert vectors.checksums(0, 50) == checksums
        assert np.array_equal(vectors.block(0, 50), rows)


def test_images_whose_bytes_were_never_seen_are_no_copies_of_one_another(tmp_path: Path) -> None:
    store = filled(tmp_path, 1)
    with store.writing():
        for key in ("a", "b"):
            store.add(replace(item(key), sha256=""), vector(1))
    assert store.catalog.items_of_content("") == []
    assert [entry.key for entry in store.catalog.items_of_content(f"{0:064x}")] == ["0.jpg"]


def test_a_replaced_key_has_one_live_item(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with store.writing():
        store.add(item("1.jpg", 9), vector(3))
    assert [entry.row for entry in store.catalog.live_items()] == [0, 2, 3]
    assert store.catalog.removed_rows().tolist() == [1]


def hold(path: Path, ready: Event, done: Event) -> None:
    with Store(path).writing():
        ready.set()
        done.wait(30)


def test_a_second_writer_is_told_at_once(tmp_path: Path) -> None:
    store = filled(tmp_path)
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready, done))
    process.start()
    try:
        assert ready.wait(30)
        with pytest.raises(CollectionLocked, match="being written to by another process"), store.writing():
            pass
        assert store.catalog.count_rows() == 3  # a reader is not held up
    finally:
        done.set()
        process.join()


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_flipped_bit_in_a_vector_is_found_in_its_row(tmp_path: Path, row: int) -> None:
    filled(tmp_path)
    data = bytearray((tmp_path / "vectors.f32").read_bytes())
    data[row * 16 + 5] ^= 4
    (tmp_path / "vectors.f32").write_bytes(data)
    assert verify(tmp_path).rows == ((row, f"{row}.jpg"),)


def test_a_wrong_catalog_entry_is_found_in_its_row(tmp_path: Path) -> None:
    filled(tmp_path)
    with sqlite3.connect(tmp_path / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE items SET width = 4 WHERE row = 1")
    assert verify(tmp_path).rows == ((1, "1.jpg"),)


def test_a_vector_file_that_is_too_short_is_refused_and_named(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with (tmp_path / "vectors.f32").open("r+b") as file:
        file.truncate(20)
    assert verify(tmp_path).faults == ("the vectors hold 1 of 3 rows",)
    assert [row for row, _ in verify(tmp_path).rows] == [1, 2]
    with pytest.raises(CollectionError, match=r"holds 1 of 3 vectors; run `lookalike verify .* --repair`"):
        store.vectors.block(0, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read; run `lookalike verify .* --repair`, or index again with --rebuild"),
        ("[1]", "cannot be read"),
        (
            '{"encoder": "x", "fingerprint": "y", "dim": 4, "dtype": "float32", "format": 99}',
            r"made by a newer release \(format 99\); update lookalike",
        ),
        (
            '{"encoder": "x", "fingerprint": "y", "dim": 4, "dtype": "float32", "format": 1}',
            r"made by an older release \(format 1\); make it anew: `lookalike index",
        ),
        (replace(HEADER, dim=-4).to_text(), r"damaged \(dim -4"),
        (HEADER.to_text().replace("pixels", "pixelt"), "damaged .its checksum does not match"),
    ],
)
def test_a_damaged_header_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    filled(tmp_path).close()
    (tmp_path / "collection.json").write_text(text)
    with pytest.raises(CollectionError, match=message):
        Store(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to be read as one" * 30])
def test_a_damaged_catalog_is_one_line(tmp_path: Path, content: bytes) -> None:
    filled(tmp_path).close()
    (tmp_path / "catalog.sqlite").write_bytes(content)
    with pytest.raises(
        CollectionError, match=r"catalog.sqlite is damaged \(.*\); run .* or index again with --rebuild"
    ):
        Store(tmp_path)


def test_a_folder_that_cannot_be_written_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CollectionError, match="use --collection DIR"):
        create(tmp_path / "file" / "collection", HEADER)


def test_the_second_of_two_who_make_one_at_once_leaves_the_first_ones_rows_alone(tmp_path: Path) -> None:
    store = filled(tmp_path, 2)
    with store.writing():
        store.add(item("2.jpg", 2), vector(2))
        store.commit()
        with pytest.raises(CollectionLocked, match="was made by another process in the meantime; run the same command"):
            create(tmp_path, HEADER)
    assert Store(tmp_path).catalog.count_rows() == 3
    assert not verify(tmp_path)


def test_while_one_is_being_made_no_other_is_made_in_its_place(tmp_path: Path) -> None:
    with sole_writer(tmp_path), pytest.raises(CollectionLocked, match="being written to by another process"):
        create(tmp_path, HEADER)
    assert create(tmp_path, HEADER).catalog.count_rows() == 0
