import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import ImageError
from lookalike.search.rerank import cache
from lookalike.search.rerank.cache import FILE, KEPT, FeatureCache, remembered
from tests.search.rerank.rows import Rows, clusters


def stored(folder: Path) -> list[bytes]:
    with closing(sqlite3.connect(folder / FILE)) as file:
        return [key for (key,) in file.execute("SELECT key FROM features ORDER BY key")]


def test_what_was_put_is_got_back(tmp_path: Path) -> None:
    kept = FeatureCache(tmp_path / "new" / "folder")
    kept.put({b"a": b"one", b"b": b""})
    assert kept.get([b"a", b"b", b"c"]) == {b"a": b"one", b"b": b""}
    kept.put({b"a": b"two"})
    assert FeatureCache(kept.folder).get([b"a"]) == {b"a": b"two"}


def test_asking_an_empty_cache_makes_no_file(tmp_path: Path) -> None:
    assert FeatureCache(tmp_path / "folder").get([b"a"]) == {}
    assert not (tmp_path / "folder").exists()


def test_it_stays_within_its_budget_and_the_oldest_go_first(tmp_path: Path) -> None:
    kept = FeatureCache(tmp_path, budget=1000)
    for number in range(10):
        kept.put({b"%d" % number: bytes(100)})
    assert len(stored(tmp_path)) == 10
    kept.put({b"x": bytes(100)})
    assert stored(tmp_path) == [*(b"%d" % number for number in range(2, 10)), b"x"]
    assert 100 * len(stored(tmp_path)) <= KEPT * 1000


def test_what_was_used_last_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, day = FeatureCache(tmp_path, budget=1000), iter(range(1, 100))
    for number in range(10):
        kept.put({b"%d" % number: bytes(100)})
    tomorrow = cache._today() + next(day)
    monkeypatch.setattr(cache, "_today", lambda: tomorrow)
    assert kept.get([b"0"])
    kept.put({b"x": bytes(100)})
    assert b"0" in stored(tmp_path)
    assert b"1" not in stored(tmp_path)


def test_what_is_larger_than_the_budget_is_not_kept(tmp_path: Path) -> None:
    kept = FeatureCache(tmp_path, budget=100)
    kept.put({b"small": bytes(50), b"large": bytes(101)})
    assert stored(tmp_path) == [b"small"]


def test_a_flipped_bit_is_not_returned_and_is_replaced(tmp_path: Path) -> None:
    kept = FeatureCache(tmp_path)
    kept.put({b"a": b"one", b"b": b"two"})
    with closing(sqlite3.connect(tmp_path / FILE)) as file, file:
        file.execute("UPDATE features SET data = ? WHERE key = ?", (b"onf", b"a"))
    assert kept.get([b"a", b"b"]) == {b"b": b"two"}
    kept.put({b"a": b"one"})
    assert kept.get([b"a"]) == {b"a": b"one"}


@pytest.mark.parametrize("content", [b"", b"no database " * 1000])
def test_a_damaged_file_is_begun_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    kept = FeatureCache(tmp_path)
    assert kept.get([b"a"]) == {}
    kept.put({b"a": b"one"})
    assert kept.get([b"a"]) == {b"a": b"one"}


def test_a_place_that_cannot_be_written_to_is_an_empty_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        kept = FeatureCache(folder)
        kept.put({b"a": b"one"})
        assert kept.get([b"a"]) == {}


def test_it_is_read_while_another_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = FeatureCache(tmp_path)
    kept.put({b"a": b"one"})
    tomorrow = cache._today() + 1
    monkeypatch.setattr(cache, "_today", lambda: tomorrow)  # so that reading would also note the day
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM features")
        assert kept.get([b"a"]) == {b"a": b"one"}


def test_many_threads_use_one_cache(tmp_path: Path) -> None:
    def work(number: int) -> bool:
        kept = FeatureCache(tmp_path)
        kept.put({b"%d" % number: bytes([number]) * 100})
        return kept.get([b"%d" % number]) == {b"%d" % number: bytes([number]) * 100}

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))
    assert len(stored(tmp_path)) == 40


class Number:
    """Something that can be kept: one number, in decimal digits."""

    def __init__(self, value: int) -> None:
        self.value = value

    def to_bytes(self) -> bytes:
        return b"%d" % self.value

    @classmethod
    def from_bytes(cls, data: bytes) -> "Number | None":
        return cls(int(data)) if data.isdigit() else None


class Galleries(Rows):
    def __init__(self, folder: Path | None) -> None:
        super().__init__(clusters(5))
        self.cache_dir = folder

    def content(self, row: int) -> str:
        return f"{row % 4:064x}"  # rows 0 and 4 are the same file


def recall(gallery: Rows, made: list[int], settings: str = "|s", rows: tuple[int, ...] = (0, 1, 2)) -> dict[int, int]:
    lock = threading.Lock()

    def make(row: int) -> Number:
        with lock:
            made.append(row)
        if row == 2:
            raise ImageError("no such file")
        return Number(row % 4)

    with ThreadPoolExecutor(2) as pool:
        found = remembered(np.array(rows), gallery, settings, pool, make, Number.from_bytes)
    return {row: one.value for row, one in found.items()}


def test_what_is_there_is_not_made_again_and_unreadable_pictures_are_left_out(tmp_path: Path) -> None:
    gallery, made = Galleries(tmp_path), list[int]()
    assert recall(gallery, made) == {0: 0, 1: 1}
    assert sorted(made) == [0, 1, 2]
    assert recall(gallery, made) == {0: 0, 1: 1}
    assert sorted(made) == [0, 1, 2, 2]


def test_another_name_of_the_same_file_has_it_already(tmp_path: Path) -> None:
    gallery, made = Galleries(tmp_path), list[int]()
    recall(gallery, made, rows=(0,))
    assert recall(gallery, made, rows=(4,)) == {4: 0}
    assert made == [0]


def test_other_settings_are_made_anew(tmp_path: Path) -> None:
    gallery, made = Galleries(tmp_path), list[int]()
    recall(gallery, made, rows=(0,))
    recall(gallery, made, "|other", rows=(0,))
    assert made == [0, 0]


def test_what_cannot_be_read_back_is_made_anew(tmp_path: Path) -> None:
    gallery, made = Galleries(tmp_path), list[int]()
    FeatureCache(tmp_path).put({bytes.fromhex(gallery.content(1)) + b"|s": b"no number"})
    assert recall(gallery, made, rows=(1,)) == {1: 1}
    assert recall(gallery, made, rows=(1,)) == {1: 1}
    assert made == [1]


@pytest.mark.parametrize("gallery", [Galleries(None), Rows(clusters(5))])
def test_a_gallery_without_a_place_has_everything_made(gallery: Rows) -> None:
    made = list[int]()
    assert recall(gallery, made) == recall(gallery, made) == {0: 0, 1: 1}
    assert len(made) == 6
