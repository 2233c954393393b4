"""Images are looked up, encoded and written by blocks; a block of any size leaves the same collection."""

import io
import sqlite3
import tarfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.collection import sync
from lookalike.collection.collection import Collection
from lookalike.collection.sync import IndexReport
from lookalike.encoders.thumb import Thumbnail
from lookalike.storage import sqlite
from lookalike.types import Vectors
from tests.support.pictures import PixelEncoder, picture

SIZES = (1, 3, 8, 64)


class Sized(PixelEncoder):
    """Encodes so many pictures at once."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch_size = batch


class Counted(Thumbnail):
    """Notes the size of each batch."""

    sizes: list[int] = []  # noqa: RUF012 - a frozen dataclass has no other place for it

    def encode_batch(self, prepared: Sequence[NDArray[Any]]) -> Vectors:
        self.sizes.append(len(prepared))
        return super().encode_batch(prepared)


def kept(path: Path) -> dict[str, list[Any]]:
    """Every row of every table, and the vectors."""
    tables = ("items", "skipped", "meta", "dismissed", "columns")
    with closing(sqlite3.connect(path / "catalog.sqlite")) as catalog:
        rows = {name: catalog.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in tables}
    return rows | {"vectors": [(path / "vectors.f32").read_bytes()]}


def paint(folder: Path, **seeds: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds.items():
        picture(seed).save(folder / f"{name}.jpg")


def test_statements_and_batches_grow_with_the_blocks_and_not_with_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(tmp_path / "photos", **{f"{number:03}": number for number in range(512)})
    statements: list[str] = []
    connect = sqlite.connect

    def traced(path: Path, uri: str = "") -> sqlite3.Connection:
        connection = connect(path, uri)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite, "connect", traced)
    monkeypatch.setattr(Counted, "sizes", [])
    with Collection(tmp_path / "c", Counted()) as collection:
        assert collection.index([tmp_path / "photos"]) == IndexReport(added=512)
    assert Counted.sizes == [64] * 8
    # A row is one statement inside `executemany`, of which there is one a batch.
    rows = [statement for statement in statements if statement.startswith("INSERT INTO items")]
    facts = [statement for statement in statements if statement.startswith("INSERT OR REPLACE INTO facts")]
    assert (len(rows), len(facts)) == (512, 512)
    # A block of 16 asks which contents are known; eight batches of 64 take a handful each; the run itself some thirty.
    assert len(statements) - len(rows) - len(facts) < 512 / 16 + 8 * 6 + 36
    statements.clear()
    with Collection(tmp_path / "c", Counted()) as collection:
        assert collection.index() == IndexReport(unchanged=512)
    assert len(statements) < 40


REPORTS = (
    IndexReport(added=11, skipped=1),
    # Changed: a, b, c. Renamed: d to aa, and e. Added: d again, e again, zebra, zebra2, broken, and new, whose content
    # c no longer has. Removed: f, which breaks, and g. Unchanged: h, twin, twin2.
    IndexReport(added=6, changed=3, renamed=2, removed=2, unchanged=3, skipped=1),
    IndexReport(unchanged=14, skipped=1),
)


def history(folder: Path, collections: Sequence[Collection]) -> list[list[IndexReport]]:
    """Everything that can happen to images between two runs, all of it in one block; the reports of each collection."""

    def index() -> list[IndexReport]:
        return [collection.index([folder]) for collection in collections]

    paint(folder, a=1, b=2, c=3, d=4, e=5, f=6, g=7, h=8, i=9, twin=1, twin2=1)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    table = folder.parent / "years.csv"
    table.write_text("key,year\na.jpg,2001\nb.jpg,2002\nc.jpg,2003\n")
    reports = [index()]
    for collection in collections:
        collection.attach(table)
        collection.remove(["i.jpg"])
    # a and b exchange names; c changes, and its old content comes back as new; d moves to a name before it, e into a
    # folder, and both are copied there; f breaks; g goes; h is touched; the broken one is mended.
    for old, new in (("a", "x"), ("b", "a"), ("x", "b"), ("c", "new"), ("d", "aa"), ("g", "gone")):
        (folder / f"{old}.jpg").rename(folder / f"{new}.jpg")
    (folder / "gone.jpg").unlink()
    paint(folder, c=30, zebra=31, zebra2=31)
    (folder / "inner").mkdir()
    (folder / "e.jpg").rename(folder / "inner" / "e.jpg")
    (folder / "inner" / "e again.jpg").write_bytes((folder / "inner" / "e.jpg").read_bytes())
    (folder / "d again.jpg").write_bytes((folder / "aa.jpg").read_bytes())
    (folder / "f.jpg").write_bytes(b"\xff\xd8\xff cut")
    (folder / "h.jpg").touch()
    picture(40).save(folder / "broken.jpg")
    return [*reports, index(), index()]


def test_a_block_of_any_size_leaves_the_same_rows_vectors_and_reports(tmp_path: Path) -> None:
    collections = [Collection(tmp_path / f"{size}", Sized(size)) for size in SIZES]
    for reports, by_hand in zip(history(tmp_path / "photos", collections), REPORTS, strict=True):
        assert reports == [by_hand] * len(SIZES)
    first = kept(tmp_path / "1")
    assert len(first["meta"]) > 3, "columns went to the rows that took the place of others"
    for size, collection in zip(SIZES, collections, strict=True):
        assert kept(tmp_path / f"{size}") == first
        assert not collection.verify()
        collection.close()


def test_equal_files_of_one_block_have_the_vector_of_the_first(tmp_path: Path) -> None:
    paint(tmp_path / "photos", a=1, b=1, c=2, d=1)
    for dtype in ("float32", "float16", "int8"):
        with Collection(tmp_path / dtype, Sized(64)) as collection:
            assert collection.index([tmp_path / "photos"], dtype=dtype) == IndexReport(added=4)
            rows = collection.gallery.vectors(np.arange(4))
            assert (rows[[1, 3]] == rows[0]).all()
            assert (rows[2] != rows[0]).any()
            assert not collection.verify()


@pytest.mark.parametrize("size", SIZES)
def test_of_two_members_of_one_name_the_later_counts(tmp_path: Path, size: int) -> None:
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        for name, seed in (("a.jpg", 1), ("b.jpg", 2), ("a.jpg", 3), ("c.jpg", 1)):
            data = io.BytesIO()
            picture(seed).save(data, "PNG")
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data.getvalue()), seed
            archive.addfile(member, io.BytesIO(data.getvalue()))
    with Collection(tmp_path / "c", Sized(size)) as collection:
        assert collection.index([tmp_path / "photos.tar"]) == IndexReport(added=3, changed=1)
        assert collection.keys() == ["b.jpg", "a.jpg", "c.jpg"]
        assert not collection.verify()


@pytest.mark.parametrize("looked_up", [1, 256])
def test_a_line_that_stands_twice_in_a_list_is_one_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked_up: int
) -> None:
    monkeypatch.setattr(sync, "LOOKED_UP", looked_up)
    paint(tmp_path, a=1, b=2)
    (tmp_path / "list.txt").write_text("a.jpg\nb.jpg\na.jpg\n")
    with Collection(tmp_path / "c", Sized(64)) as collection:
        assert collection.index([tmp_path / "list.txt"]) == IndexReport(added=2, unchanged=1)
        assert collection.keys() == ["a.jpg", "b.jpg"]
