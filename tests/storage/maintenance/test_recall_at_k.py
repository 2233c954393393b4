"""The recall that was asked for is kept for one result, for ten, for a hundred, and for what a re-ranker looks at."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from made_vectors import Made

from lookalike.index import ann
from lookalike.index.exact import share_of
from lookalike.search import searcher
from lookalike.search.gallery import StoredGallery
from lookalike.storage.store import Store
from tests.support.vectors import make, optimize

ROWS = 9_000
SLACK = 0.02
"""200 queries of the test differ from the 200 that the curve was measured with."""


@pytest.fixture(scope="module", params=["HNSW16,SQ8", "IVF128,SQ8", "OPQ16_64,IVF64,PQ16x4fsr"])
def indexed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of clustered vectors with an index of one kind."""
    path: Path = tmp_path_factory.mktemp("indexed")
    make(path, Made(ROWS, 64).rows(ROWS, 0)).close()
    optimize(path, request.param)
    return path


@pytest.mark.parametrize("k", [1, 3, 10, 30, 100, 700])
def test_recall_holds_at_every_number_of_results(indexed: Path, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher, "FEW", 0)
    queries = Made(ROWS, 64).queries(200)
    with closing(Store(indexed)) as store:
        gallery = StoredGallery(store)
        record = ann.read(indexed)
        assert record is not None
        promised = record.setting(None, k)
        assert promised is not None
        _, truth = gallery.view(recall=1).search(queries, k)
        _, ids = gallery.search(queries, k)
        reached = share_of(ids, truth)
    assert reached >= min(promised.recall, ann.DEFAULT_RECALL) - SLACK
    assert reached > 0.96


def test_info_says_what_is_promised_at_each_depth(indexed: Path) -> None:
    with closing(Store(indexed)) as store:
        facts = ann.facts(indexed, store.header.id, ROWS)
    assert [name for name in facts if name.startswith("recall@")] == ["recall@10", "recall@100", "recall@1000"]


def test_fewer_results_than_were_measured_are_chosen_from_as_many_candidates() -> None:
    curve = (
        ann.SearchSetting(8, 2, 0.99, 0.001, 10),
        ann.SearchSetting(64, 1, 0.98, 0.002, 100),
        ann.SearchSetting(128, 2, 0.995, 0.004, 100),
    )
    record = ann.IndexRecord("", "", 0, 0, (), "", "", 0, 0.0, curve)
    assert record.setting(None, 1) == record.setting(None, 10) == curve[0]
    assert record.setting(None, 11) == record.setting(None, 100) == record.setting(None, 500) == curve[2]
    assert record.setting(0.98, 11) == curve[1]
    assert record.setting(0.999, 11) is None  # exact


def test_more_results_than_were_measured_take_more_effort(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with an index of an older release, whose curve is of ten results alone."""
    record = ann.read(indexed)
    assert record is not None
    old = replace(record, curve=tuple(point for point in record.curve if point.depth == 10))
    opened = ann.open_candidates(indexed, record.collection, ROWS, lambda _: record.vectors_crc)
    assert opened is not None
    efforts: list[int] = []

    def noted(effort: int) -> object:
        efforts.append(effort)
        return ann.parameters(opened.index, effort)

    monkeypatch.setattr(opened, "_of_effort", noted)
    point = old.points(100)[0]
    for k in (10, 100):
        opened.find(Made(ROWS, 64).queries(2), k, point)
    assert efforts[1] == min(10 * efforts[0], opened._most)
