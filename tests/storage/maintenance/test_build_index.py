import json
import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.errors import IndexSpecError
from lookalike.index import ann as approximate
from lookalike.index.library import library
from lookalike.search import searcher as nearest
from lookalike.search.gallery import StoredGallery
from lookalike.storage.maintenance import build_index as optimizing
from lookalike.storage.store import Store
from lookalike.types import Ids
from lookalike.utils import files
from tests.support.vectors import clustered, cosines, items, make, optimize

faiss = library()

SPECS = ["HNSW16,SQ8", "IVF16,SQ8", "IVF16,PQ8x4fsr", "PCA16,Flat", "IVF16,PQ8x4fs,Refine(SQ8)"]
ROWS = 3000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Iterator[None]:
    """An index is used from the first row on, and trained by one thread: on a busy machine several wait for another."""
    monkeypatch.setattr(nearest, "FEW", 0)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


def recall(ids: Ids, truth: Ids) -> float:
    return sum(len(np.intersect1d(a, b)) for a, b in zip(ids, truth, strict=True)) / truth.size


@pytest.mark.parametrize(
    ("spec", "dtype"), [*((spec, "float32") for spec in SPECS), ("HNSW16,SQ8", "int8"), ("IVF16,SQ8", "float16")]
)
def test_any_index_finds_nearly_all_and_every_score_is_the_cosine(tmp_path: Path, spec: str, dtype: str) -> None:
    vectors, queries = np.split(clustered(ROWS + 40), [ROWS])
    with closing(make(tmp_path, vectors, dtype)) as store:
        report = optimize(tmp_path, spec)
        quickest_first = sorted(report.curve, key=lambda setting: (setting.depth, setting.seconds))
        assert list(report.curve) == quickest_first
        gallery = StoredGallery(store)
        stored = store.vectors.block(0, ROWS)
        assert approximate.facts(tmp_path, store.header.id, ROWS)["rows"] == ROWS
        scores, ids = gallery.search(queries, 10)
        assert recall(ids, cosines(queries, stored, 10)) > 0.93
        assert np.allclose(scores, np.take_along_axis(queries @ stored.T, ids, 1), atol=1e-5)
        exact = gallery.view(recall=1).search(queries, 10)[1]
        assert recall(exact, cosines(queries, stored, 10)) == 1


@pytest.mark.parametrize("spec", ["HNSW16,SQ8", "IVF16,PQ8x4fsr"])
def test_new_rows_are_found_at_once_and_removed_ones_never(tmp_path: Path, spec: str) -> None:
    vectors = clustered(ROWS)
    with closing(make(tmp_path, vectors)) as store:
        optimize(tmp_path, spec)
        fresh = clustered(5, seed=9)
        gone = np.arange(0, ROWS, 3)
        with store.writing():
            store.add_many(items([f"new/{number}" for number in range(5)]), fresh)
            store.catalog.remove(gone.tolist())
        gallery = StoredGallery(store)
        _, ids = gallery.search(fresh, 1)
        assert ids[:, 0].tolist() == [ROWS, ROWS + 1, ROWS + 2, ROWS + 3, ROWS + 4]
        _, ids = gallery.search(vectors[:300], 10)
        assert not np.isin(ids, gone).any()
        live = np.ones(ROWS, np.bool_)
        live[gone] = False
        assert (
            recall(ids, cosines(vectors[:300], np.concatenate([vectors, fresh]), 10, np.append(live, [True] * 5))) > 0.9
        )


@pytest.mark.parametrize("selects", [True, False])
def test_no_more_lists_are_looked_into_than_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, selects: bool
) -> None:
    """FAISS 1.15.1 answers that with nonsense where codes are scanned fast."""
    vectors = clustered(ROWS)
    monkeypatch.setattr(optimizing, "_efforts", lambda *_: (16,))
    monkeypatch.setattr(optimizing, "_selects", lambda *_: selects)
    with closing(make(tmp_path, vectors)) as store:
        optimize(tmp_path, "IVF16,PQ8x4fsr")
        with store.writing():
            store.catalog.remove(range(0, ROWS, 3))
        live = np.arange(ROWS) % 3 > 0
        _, ids = StoredGallery(store).search(vectors[:100], 10)
        assert recall(ids, cosines(vectors[:100], vectors, 10, live)) > 0.95


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5])
def test_a_filter_holds_at_any_share(tmp_path: Path, share: float) -> None:
    vectors, count = clustered(ROWS), int(ROWS * share)
    keys = [("in/" if number < count else "out/") + f"{number:05}" for number in range(ROWS)]
    with closing(make(tmp_path, vectors, keys=keys)) as store:
        optimize(tmp_path, "HNSW16,SQ8")
        gallery = StoredGallery(store).view("key:in/*")
        assert len(gallery) == count
        _, ids = gallery.search(vectors[-50:], 10)
        assert (ids < count).all()
        assert ((ids >= 0).sum(axis=1) == min(10, count)).all()
        truth = cosines(vectors[-50:], vectors, 10, np.arange(ROWS) < count)[:, : min(10, count)]
        assert recall(ids[:, : truth.shape[1]], truth) > 0.9


def test_positions_are_row_numbers_less_the_rows_held_back() -> None:
    built = approximate.IndexRecord("Flat", "", 10, 0, (0, 3, 4, 9), "", "", 0, 0.0)
    candidates = approximate.Candidates(built, faiss.IndexFlatIP(4), None)
    assert candidates.rows(np.array([0, 1, 2, 3, 4, 5, -1])).tolist() == [1, 2, 5, 6, 7, 8, -1]


def test_faiss_shifts_ids_when_rows_leave_an_id_map_over_an_inverted_file() -> None:
    """Why rows are positions here, and why removed ones are passed over by a selector: FAISS itself gets this wrong."""
    vectors, ids = clustered(400), np.arange(400) + 1000
    inner: Any = faiss.index_factory(32, "IVF4,Flat", faiss.METRIC_INNER_PRODUCT)
    inner.train(vectors)
    inner.nprobe = 4
    mapped: Any = faiss.IndexIDMap2(inner)
    mapped.add_with_ids(vectors, ids)
    mapped.remove_ids(np.arange(1000, 1100))
    _, positions = mapped.search(vectors[100:], 1)
    assert (positions[:, 0] != ids[100:]).any(), "FAISS is mended: an IDMap can be allowed"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("Nonsense12", "no FAISS index of 32 numbers"),
        ("IDMap2,IVF4,Flat", "leave the IDMap out"),
        (
            "IVF9999,Flat",
            r"cannot be trained on \d+ rows \(Number of training points \(\d+\) should be at least as large",
        ),
    ],
)
def test_a_spec_that_cannot_be_is_one_line_and_leaves_the_old_index(tmp_path: Path, spec: str, message: str) -> None:
    make(tmp_path, clustered(600)).close()
    optimize(tmp_path, "IVF4,SQ8")
    before = (tmp_path / "index" / "index.json").read_bytes()
    with pytest.raises(IndexSpecError, match=message):
        optimize(tmp_path, spec)
    assert (tmp_path / "index" / "index.json").read_bytes() == before
    assert len(list((tmp_path / "index").iterdir())) == 2


def test_an_interrupted_build_leaves_the_old_index_and_nothing_else(tmp_path: Path) -> None:
    make(tmp_path, clustered(600)).close()
    optimize(tmp_path, "IVF4,SQ8")
    before = {path.name for path in (tmp_path / "index").iterdir()}

    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimize(tmp_path, "IVF8,SQ8", interrupt)
    assert {path.name for path in (tmp_path / "index").iterdir()} == before


def test_exact_throws_the_index_away(tmp_path: Path) -> None:
    make(tmp_path, clustered(600)).close()
    optimize(tmp_path, "IVF4,SQ8")
    assert optimize(tmp_path).spec == "exact"
    assert list((tmp_path / "index").iterdir()) == []


@pytest.mark.parametrize("name", ["index.json", "*.faiss"])
@pytest.mark.parametrize("how", ["flip", "cut", "empty", "gone"])
def test_a_damaged_index_is_ignored_told_and_found_by_verify(
    tmp_path: Path, name: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = clustered(600)
    with closing(make(tmp_path, vectors)) as store:
        optimize(tmp_path, "IVF4,SQ8")
        (file,) = (tmp_path / "index").glob(name)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        changed = {"flip": bytes(data), "cut": bytes(data[:-7]), "empty": b""}
        file.unlink() if how == "gone" else file.write_bytes(changed[how])
        with caplog.at_level(logging.WARNING):
            _, ids = StoredGallery(store).search(vectors[:20], 10)
        assert np.array_equal(ids, cosines(vectors[:20], vectors, 10))
        if (name, how) != ("index.json", "gone"):
            assert "lookalike optimize" in caplog.text
            assert approximate.damage(tmp_path)
            assert approximate.damage(tmp_path, repair=True)
        assert not approximate.damage(tmp_path)


def rewrite(path: Path, **changed: Any) -> None:
    """index.json with other values, and a checksum that is right."""
    built = approximate.read(path)
    assert built is not None
    (path / "index" / "index.json").write_text(replace(built, **changed).to_text())


def test_an_index_of_another_number_of_rows_is_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    vectors = clustered(600)
    with closing(make(tmp_path, vectors)) as store:
        optimize(tmp_path, "IVF4,SQ8")
        rewrite(tmp_path, rows=590, vectors_crc=store.digest(590), held=())
        with caplog.at_level(logging.WARNING):
            _, ids = StoredGallery(store).search(vectors[:20], 10)
        assert np.array_equal(ids, cosines(vectors[:20], vectors, 10))
        assert "is an older version's; searching exactly until `lookalike optimize`" in caplog.text


def test_what_index_json_says_is_held_against_its_checksum(tmp_path: Path) -> None:
    vectors = clustered(600)
    with closing(make(tmp_path, vectors)) as store:
        optimize(tmp_path, "IVF4,SQ8")
        file = tmp_path / "index" / "index.json"
        values = json.loads(file.read_text())
        values["held"] = [row + 1 if row + 1 not in values["held"] else row for row in values["held"]]
        file.write_text(json.dumps(values))
        assert approximate.read(tmp_path) is None
        assert approximate.damage(tmp_path) == ["index/index.json is damaged"]
        _, ids = StoredGallery(store).search(vectors[:20], 10)
        assert np.array_equal(ids, cosines(vectors[:20], vectors, 10))


@pytest.mark.parametrize("mapped", [True, False])
def test_what_is_no_candidate_scores_least_and_nothing_more_than_one(mapped: bool) -> None:
    rows = np.array([[1.001, 0], [0, 1], [-1.001, 0]], np.float32)
    queries, ids = np.array([[1, 0], [0, 1]], np.float32), np.array([[0, 1, -1], [-1, 2, 1]])
    scores = approximate.rescore(queries, ids, lambda ids: rows[ids], rows if mapped else None)
    assert scores.tolist() == [[1, 0, -1], [-1, 0, 1]]
    assert approximate.rescore(queries[:1], np.array([[2]]), lambda ids: rows[ids], None).tolist() == [[-1]]


def test_where_an_index_knows_too_few_rows_that_count_all_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One list of 64, and of its some 47 rows three in ten count: 14 a list, and four lists, where 100 are wanted."""
    vectors = clustered(ROWS)
    monkeypatch.setattr(optimizing, "_efforts", lambda *_: (1,))
    with closing(make(tmp_path, vectors)) as store:
        optimize(tmp_path, "IVF64,SQ8")
        live = np.arange(ROWS) % 10 < 3
        with store.writing():
            store.catalog.remove(np.flatnonzero(~live).tolist())
        for queries in (vectors[:1], vectors[:20]):
            _, ids = StoredGallery(store).search(queries, 100)
            assert np.array_equal(np.sort(ids), np.sort(cosines(queries, vectors, 100, live)))


def test_the_index_of_another_collection_is_not_taken(tmp_path: Path) -> None:
    make(tmp_path / "a", clustered(600)).close()
    make(tmp_path / "b", clustered(600, seed=5)).close()
    optimize(tmp_path / "a", "IVF4,SQ8")
    (tmp_path / "a" / "index").rename(tmp_path / "b" / "index")
    with closing(Store(tmp_path / "b")) as store:
        vectors = clustered(600, seed=5)
        _, ids = StoredGallery(store).search(vectors[:20], 10)
        assert np.array_equal(ids, cosines(vectors[:20], vectors, 10))
        assert approximate.facts(tmp_path / "b", store.header.id, 600) == {}


def test_the_index_of_another_collection_of_nearly_the_same_vectors_is_not_taken(tmp_path: Path) -> None:
    """Of the five that differ `Store.digest` sees none; the collections have ids of their own."""
    vectors, others = clustered(600), clustered(600)
    others[1:6] = clustered(5, seed=5)
    make(tmp_path / "a", vectors).close()
    with closing(make(tmp_path / "b", others)) as store:
        optimize(tmp_path / "a", "IVF4,SQ8")
        built = approximate.read(tmp_path / "a")
        assert built is not None
        assert built.vectors_crc == store.digest(600), "nothing else tells them apart"
        (tmp_path / "a" / "index").rename(tmp_path / "b" / "index")
        _, ids = StoredGallery(store).search(others[1:6], 10)
        assert np.array_equal(ids, cosines(others[1:6], others, 10))


def test_the_index_of_a_copy_that_went_another_way_is_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same collection by its id and as many rows, but the last hundred are of other images."""
    mine, theirs = clustered(100, seed=5), clustered(100, seed=6)
    make(tmp_path / "a", clustered(500)).close()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for name, fresh in (("a", theirs), ("b", mine)):
        with closing(Store(tmp_path / name)) as store, store.writing():
            store.add_many(items([f"{name}/{number}" for number in range(100)]), fresh)
    optimize(tmp_path / "a", "IVF4,SQ8")
    (tmp_path / "a" / "index").rename(tmp_path / "b" / "index")
    with closing(Store(tmp_path / "b")) as store, caplog.at_level(logging.WARNING):
        assert approximate.facts(tmp_path / "b", store.header.id, 600)["rows"] == 600, "nothing else tells them apart"
        assert not approximate.damage(tmp_path / "b")
        scores, ids = StoredGallery(store).search(mine, 1)
        assert ids[:, 0].tolist() == list(range(500, 600))
        assert np.allclose(scores, 1, atol=1e-5)
    assert f"the index in {tmp_path / 'b' / 'index'} is of other vectors; searching exactly" in caplog.text


def test_an_index_file_is_read_through_once_and_then_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"something")
    sha256 = files.sha256_of(file)
    assert approximate.is_trusted(file, sha256)
    monkeypatch.setattr(files, "sha256_of", lambda _: pytest.fail("it was read again"))
    assert approximate.is_trusted(file, sha256)
    monkeypatch.undo()
    file.write_bytes(b"somethinh")
    assert not approximate.is_trusted(file, sha256)


def test_recall_picks_the_quickest_setting_that_reaches_it() -> None:
    curve = tuple(
        approximate.SearchSetting(effort, 1, recall, effort / 1000)
        for effort, recall in ((8, 0.8), (16, 0.95), (32, 0.97))
    )
    built = approximate.IndexRecord("", "", 0, 0, (), "", "", 0, 0.0, curve)
    assert built.setting(0.9) == curve[1]
    assert built.setting(0.99) is None  # exact
    assert built.setting(None) == curve[2]  # the best there is


def test_it_is_searched_and_added_to_while_it_is_optimised(tmp_path: Path) -> None:
    vectors = clustered(2000)
    make(tmp_path, vectors).close()
    added: list[int] = []

    def add(done: int, total: int | None) -> None:
        with closing(Store(tmp_path)) as other, other.writing():
            added.append(other.add(items([f"during/{len(added)}"])[0], vectors[0]))

    optimize(tmp_path, "IVF8,SQ8", add)
    with closing(Store(tmp_path)) as store:
        built = approximate.read(tmp_path)
        assert built is not None
        assert (built.rows, added) == (2000, [2000])
        _, ids = StoredGallery(store).search(vectors[:1], 2)
        assert sorted(ids[0].tolist()) == [0, 2000]


def test_threads_share_one_gallery(tmp_path: Path) -> None:
    vectors = clustered(ROWS)
    with closing(make(tmp_path, vectors)) as store:
        optimize(tmp_path, "IVF16,SQ8")
        gallery, wrong = StoredGallery(store), []

        def ask(seed: int) -> None:
            for row in np.random.default_rng(seed).integers(0, ROWS, 50).tolist():
                if gallery.search(vectors[row : row + 1], 1)[1][0, 0] != row:
                    wrong.append(row)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_index_json_says_what_was_built(tmp_path: Path) -> None:
    make(tmp_path, clustered(600)).close()
    optimize(tmp_path, "IVF4,SQ8")
    values = json.loads((tmp_path / "index" / "index.json").read_text())
    assert values["spec"] == "IVF4,SQ8"
    assert len(values["held"]) == 150
    assert {"depth", "effort", "factor", "recall", "seconds"} == set(values["curve"][0])
