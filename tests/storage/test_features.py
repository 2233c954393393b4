import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from lookalike.storage import features as cache
from lookalike.storage.features import FILE, KEPT, FeatureCache


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


def test_where_nothing_is_kept_it_is_read_all_the_same(tmp_path: Path) -> None:
    FeatureCache(tmp_path / "cache").put({b"a": b"1"})
    file = tmp_path / "cache" / FILE
    before = file.read_bytes()
    token = cache.KEEPS.set(False)
    try:
        assert FeatureCache(tmp_path / "cache").get([b"a", b"b"]) == {b"a": b"1"}
        FeatureCache(tmp_path / "cache").put({b"b": b"2"})
        FeatureCache(tmp_path / "none").put({b"b": b"2"})
        assert file.read_bytes() == before
        file.write_bytes(b"damaged" * 1000)
        assert FeatureCache(tmp_path / "cache").get([b"a"]) == {}
    finally:
        cache.KEEPS.reset(token)
    assert file.read_bytes() == b"damaged" * 1000
    assert not (tmp_path / "none").exists()
