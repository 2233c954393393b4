"""Rows that are about to be read are asked for at once, where that may save a wait for each of them."""

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from lookalike.search import searcher
from lookalike.search.gallery import StoredGallery
from lookalike.storage import prefetch
from lookalike.storage.prefetch import Prefetch
from lookalike.storage.store import Store
from tests.support.vectors import clustered, make, optimize

Ranges = list[tuple[int, int]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Ranges:
    """The ranges of bytes that the system was asked for."""
    ranges: Ranges = []

    def advise(handle: int, start: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        ranges.append((start, length))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    return ranges


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of 100 rows of 8 bytes."""
    path = tmp_path / "rows"
    path.write_bytes(bytes(800))
    return path


def test_each_row_is_asked_for_and_none_where_there_is_none(file: Path, asked: Ranges) -> None:
    with file.open("rb") as opened:
        Prefetch(8)(opened.fileno(), np.array([3, -1, 99]))
    assert asked == [(24, 8), (792, 8)]


def test_a_single_row_or_a_large_part_of_the_file_is_not_asked_for(file: Path, asked: Ranges) -> None:
    with file.open("rb") as opened:
        Prefetch(8)(opened.fileno(), np.array([3]))
        Prefetch(8)(opened.fileno(), np.zeros(prefetch.MOST + 1, np.int64))
    assert not asked


@pytest.mark.parametrize(("memory", "goes_on"), [(1601, False), (1600, True)])
def test_a_file_that_fits_in_memory_is_taken_to_be_there_after_a_while(
    file: Path, asked: Ranges, memory: int, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "_memory", lambda: memory)
    fetch, rows = Prefetch(8), np.array([1, 2])
    with file.open("rb") as opened:
        for _ in range(prefetch.FIRST):
            fetch(opened.fileno(), rows)
        before = len(asked)
        fetch(opened.fileno(), rows)
    assert before == 2 * prefetch.FIRST
    assert (len(asked) > before) == goes_on


def test_a_file_system_that_does_not_know_of_it_is_read_as_ever(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    with file.open("rb") as opened:
        Prefetch(8)(opened.fileno(), np.array([1, 2]))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_search_asks_for_its_candidates_before_it_reads_them(
    tmp_path: Path, dtype: str, asked: Ranges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searcher, "FEW", 0)
    vectors = clustered(600)
    make(tmp_path, vectors, dtype=dtype).close()
    optimize(tmp_path, "IVF4,SQ8")
    asked.clear()
    with closing(Store(tmp_path)) as store:
        row_bytes = store.vectors.row_bytes  # type: ignore[attr-defined]
        scores, ids = StoredGallery(store).search(vectors[:1], 5)
    assert ids[0, 0] == 0
    assert scores[0, 0] > 0.999
    assert {(row * row_bytes, row_bytes) for row in ids[0].tolist()} <= set(asked)
