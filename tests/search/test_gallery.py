"""The views of one committed state: narrowed by filters and aimed at a recall, they share an index and their masks."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.collection.collection import Collection
from lookalike.index import ann as approximate
from lookalike.index.library import library
from lookalike.search import gallery
from lookalike.search import searcher as nearest
from lookalike.search.gallery import KEPT_SELECTIONS, StoredGallery
from lookalike.storage.store import Store
from tests.support.vectors import clustered, cosines, items, make, optimize

faiss = library()

ROWS = 2000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Iterator[None]:
    """An index is used from the first row on; one thread trains it."""
    monkeypatch.setattr(nearest, "FEW", 0)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


@pytest.fixture
def indexed(tmp_path: Path) -> Path:
    """Rows in the folders 0 to 9, row by row, and an index over them that finds nearly all."""
    make(tmp_path, clustered(ROWS)).close()
    optimize(tmp_path, "IVF8,Flat")
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often index.json is read, the catalog compared with it, the index searched and a filter asked."""
    counted: Counter[str] = Counter()

    def count(where: Any, name: str) -> None:
        real = getattr(where, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            counted[name] += 1
            return real(*arguments, **named)

        monkeypatch.setattr(where, name, counting)

    for where, name in (
        *((approximate, "read"), (Store, "digest"), (approximate.Candidates, "find")),
        *((gallery, "select"), (approximate.Candidates, "_in_positions")),
    ):
        count(where, name)
    return counted


def test_the_index_is_opened_once_for_many_filtered_and_aimed_searches(indexed: Path, calls: Counter[str]) -> None:
    queries = clustered(5, seed=1)
    with Collection(indexed) as collection:
        for query in queries:
            collection.search(query)
            collection.search(query, recall=0.9)
            collection.search(query, where="key:1/* or key:2/* or key:3/*")
            collection.search(query, where="key:1/* or key:2/* or key:3/*", recall=0.9)
    assert calls == {"read": 1, "digest": 1, "find": 20, "select": 1, "_in_positions": 1}


def test_what_was_committed_since_is_searched_whatever_is_kept(indexed: Path) -> None:
    vectors, fresh, where = clustered(ROWS), clustered(30, seed=5), "key:1/* or key:2/* or key:new/*"
    with Collection(indexed) as collection:
        collection.search(fresh[0], where=where)
        with closing(Store(indexed)) as other, other.writing():
            other.add_many(items([f"new/{number}.jpg" for number in range(30)]), fresh)
            other.catalog.remove(range(1, ROWS, 20))  # half of folder 1
        live = np.isin(np.arange(ROWS + 30) % 10, (1, 2)) & (np.arange(ROWS + 30) % 20 != 1)
        live[ROWS:] = True
        rows = np.concatenate([vectors, fresh])
        for query in fresh[:5]:
            expected = cosines(query[None], rows, 10, live)[0].tolist()
            assert [collection.row(hit.key) for hit in collection.search(query, where=where, recall=1)] == expected
            # A filter of the rows beyond the index alone, and one that is not kept.
            assert len(collection.search(query, 40, where="key:new/*")) == 30
            hits = collection.search(query, where=where)
            assert hits[0].key.startswith("new/")
            assert all(live[collection.row(hit.key) or 0] for hit in hits)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("few", [0, 4096])  # behind an index: many are converted for each search, few are kept
@pytest.mark.parametrize("behind", [2, 40, 700])
def test_rows_behind_the_index_are_found_as_by_looking_at_all(
    tmp_path: Path, dtype: str, few: int, behind: int, monkeypatch: pytest.MonkeyPatch, calls: Counter[str]
) -> None:
    monkeypatch.setattr(nearest, "FEW_BEHIND", few)
    fresh, queries = clustered(behind, seed=5), clustered(30, seed=6)
    with closing(make(tmp_path, clustered(1000), dtype)) as store:
        optimize(tmp_path, "Flat")
        calls.clear()
        with store.writing():
            store.add_many(items([f"{row % 10}/new{row}.jpg" for row in range(behind)]), fresh)
            store.catalog.remove([*range(0, 1000, 7), *range(1000, 1000 + behind, 3)])
        rows = np.arange(1000 + behind)
        stored = store.vectors.block(0, 1000 + behind)
        live = np.where(rows < 1000, rows % 7 > 0, (rows - 1000) % 3 > 0)
        folders = np.isin(np.where(rows < 1000, rows, rows - 1000) % 10, (1, 2, 3, 4))
        whole = StoredGallery(store)
        for view, mask in (
            *((whole, live), (whole.view("key:1/* or key:2/* or key:3/* or key:4/*"), live & folders)),
            (whole.view(exclude=frozenset({"5/000005.jpg", "2/new2.jpg"})), live & ~np.isin(rows, (5, 1002))),
        ):
            expected = cosines(queries, stored, 10, mask)
            for part in (queries, queries[:3], queries[:1]):
                scores, ids = view.search(part, 10)
                assert np.array_equal(ids, expected[: len(part)])
                assert np.allclose(scores, np.take_along_axis(part @ stored.T, ids, 1), atol=1e-5)
    assert calls["find"] == 9


def test_an_index_that_another_process_made_is_used_by_the_next_search(indexed: Path, calls: Counter[str]) -> None:
    approximate.drop(indexed)
    with Collection(indexed) as collection:
        collection.search(clustered(1)[0])
        assert calls["find"] == 0
        optimize(indexed, "IVF8,Flat")
        calls.clear()
        collection.search(clustered(1)[0])
        collection.search(clustered(1)[0], where="key:1/* or key:2/* or key:3/*")
    assert (calls["find"], calls["digest"]) == (2, 1)


def test_a_view_is_narrowed_by_a_filter_by_keys_and_by_both_whatever_its_recall(indexed: Path) -> None:
    queries, live = clustered(20, seed=1), np.isin(np.arange(ROWS) % 10, (1, 2, 3))
    expected = cosines(queries, clustered(ROWS), 10, live)
    with closing(Store(indexed)) as store:
        whole = StoredGallery(store)
        where = "key:1/* or key:2/* or key:3/*"
        assert np.array_equal(whole.view(where, recall=1).search(queries, 10)[1], expected)
        keys = frozenset(store.catalog.item(row).key for row in (1, 2, 10))
        assert len(whole.view(where, recall=0.5)) == 600
        assert len(whole.view(where, keys)) == 598
        assert len(whole.view(exclude=keys)) == ROWS - 3
        assert len(whole.view(where)) == 600
        assert len(whole.view(where).view("key:1/*")) == 200


def test_more_threads_and_filters_than_are_kept_all_get_their_rows(indexed: Path) -> None:
    wrong: list[object] = []
    with closing(Store(indexed)) as store:
        whole = StoredGallery(store)

        def ask(seed: int) -> None:
            for number in np.random.default_rng(seed).integers(0, 2 * KEPT_SELECTIONS, 60).tolist():
                try:
                    view = whole.view(f"key:*/00{number:02}*")
                    _, ids = view.search(clustered(1, seed=number), 100)
                    rows = sorted(ids[ids >= 0].tolist())
                    if rows != list(range(100 * number, min(ROWS, 100 * number + 100))):
                        wrong.append(number)
                except Exception as error:  # noqa: BLE001 - of a thread of its own
                    wrong.append(error)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
