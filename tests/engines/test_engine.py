"""What `integrations.engine.Engine` promises, of every engine: rows in, rows out, the nearest, and who may write."""

from collections.abc import Callable

import numpy as np
import pytest

from lookalike.errors import EngineError
from lookalike.integrations.engine import WHOLE, Engine, Selection, ServerRow, Signature
from lookalike.types import Vectors
from tests.engines.conftest import connect, every_engine, exists
from tests.integrations.milvus.milvus_servers import unit_rows

pytestmark = every_engine

DIM = 24
MADE = Signature("me", "thumbnail", "f" * 64, DIM)


def rows(start: int, stop: int) -> list[ServerRow]:
    return [ServerRow(row, f"{row % 3}/{row}.jpg", "a" * 64, {"year": 2000 + row % 5}) for row in range(start, stop)]


def filled(uri: str, vectors: Vectors) -> Engine:
    engine = connect(uri)
    engine.create(MADE)
    engine.upsert(rows(0, len(vectors)), vectors)
    return engine


def second(uri: str) -> Engine:
    """Another client of the same collection."""
    engine = connect(uri)
    engine.open(MADE)
    return engine


def test_rows_are_written_once_and_found_exactly(uri: str) -> None:
    vectors = unit_rows(700, DIM)
    engine = filled(uri, vectors)
    engine.upsert(rows(100, 300), vectors[100:300])
    assert (engine.count(), engine.stop()) == (700, 700)
    scores, ids = engine.nearest(vectors[:20], 10, WHOLE, "usual")
    cosines = vectors[:20] @ vectors.T
    assert ids.tolist() == np.argsort(-cosines, axis=1)[:, :10].tolist()
    np.testing.assert_allclose(scores, -np.sort(-cosines, axis=1)[:, :10], atol=1e-5)
    np.testing.assert_array_equal(engine.vectors(np.array([5, 3, 5])), vectors[[5, 3, 5]])
    assert engine.ids(600, 800).tolist() == list(range(600, 700))
    engine.close()


def test_fewer_rows_than_results_are_padded_and_missing_ones_are_named(uri: str) -> None:
    vectors = unit_rows(5, DIM)
    engine = filled(uri, vectors)
    _, ids = engine.nearest(vectors[:1], 8, WHOLE, "usual")
    assert sorted(ids[0, :5].tolist()) == [0, 1, 2, 3, 4]
    assert ids[0, 5:].tolist() == [-1, -1, -1]
    engine.delete_from(3)
    assert (engine.count(), engine.stop()) == (3, 3)
    with pytest.raises(EngineError, match=r"1 vector is missing \(row 4\).*verify --repair"):
        engine.vectors(np.array([0, 4]))
    engine.close()


def test_a_selection_is_each_of_its_parts(uri: str) -> None:
    vectors = unit_rows(60, DIM)
    engine = filled(uri, vectors)
    assert engine.count() == 60
    selections = {
        "ids": (Selection(ids=np.array([3, 50, 7])), {3, 7, 50}),
        "stop": (Selection(stop=4), {0, 1, 2, 3}),
        "excluded": (Selection(stop=5, excluded=np.array([0, 2])), {1, 3, 4}),
        "where": (Selection(where="year = 2003", stop=20), {3, 8, 13, 18}),
        "or": (Selection(where="year = 2003 or year = 2004", stop=10), {3, 4, 8, 9}),
        "key": (Selection(where="key = 2/5.jpg"), {5}),
        "pattern": (Selection(where="key:1/*", stop=8), {1, 4, 7}),
        "in": (Selection(where="""key in (0/0.jpg, 'no"such')"""), {0}),
        "not": (Selection(where="not key = 0/0.jpg", stop=3), {1, 2}),
    }
    for name, (among, expected) in selections.items():
        _, ids = engine.nearest(vectors[:2], 10, among, "usual")
        for ranking in ids.tolist():
            assert {row for row in ranking if row >= 0} == expected, name
    engine.close()


def test_what_is_known_of_a_row_is_written_anew_without_its_vector(uri: str) -> None:
    vectors = unit_rows(6, DIM)
    engine = filled(uri, vectors)
    engine.describe([ServerRow(2, "moved.jpg", "b" * 64, {"year": 1999})])
    assert engine.count() == 6
    for where in ("key = moved.jpg", "year = 1999"):
        _, ids = engine.nearest(vectors[:1], 6, Selection(where=where), "usual")
        assert [row for row in ids[0].tolist() if row >= 0] == [2]
    np.testing.assert_array_equal(engine.vectors(np.array([2])), vectors[2:3])
    engine.close()


def test_another_collection_is_refused_and_stays(uri: str) -> None:
    filled(uri, unit_rows(5, DIM)).close()
    refused = [
        (Signature("me", "rootsift", "e" * 64, DIM), r"made with thumbnail \(ffffffffffff\), not rootsift"),
        (Signature("me", "thumbnail", "f" * 64, DIM + 1), f"holds vectors of {DIM} numbers, not {DIM + 1}"),
        (Signature("you", "thumbnail", "f" * 64, DIM), "belongs to another collection"),
    ]
    for other, words in refused:
        engine = connect(uri)
        for method in (engine.create, engine.open):
            with pytest.raises(EngineError, match=words):
                method(other)
        engine.close()
    engine = second(uri)
    assert engine.count() == 5
    with pytest.raises(EngineError, match=f"{DIM + 1} numbers a vector, its collection has {DIM}"):
        engine.upsert(rows(5, 6), unit_rows(1, DIM + 1))
    engine.close()


def test_an_overtaken_writer_writes_nothing_more(uri: str) -> None:
    engine, other = filled(uri, unit_rows(5, DIM)), second(uri)
    assert engine.generation() == ""
    engine.begin("first", "")
    other.begin("second", "first")
    writes: list[Callable[[], None]] = [
        lambda: engine.upsert(rows(5, 6), unit_rows(1, DIM)),
        lambda: engine.describe(rows(1, 2)),
        lambda: engine.delete_from(0),
        engine.check_generation,
        lambda: engine.begin("third", "first"),
    ]
    for write in writes:
        with pytest.raises(EngineError, match="another folder has begun to write this collection"):
            write()
    other.check_generation()
    # The answer was lost, and the same writer says it again.
    other.begin("second", "first")
    assert (other.generation(), other.count()) == ("second", 5)
    engine.close()
    other.close()


def test_rows_are_discarded_by_their_own_folder_alone(uri: str) -> None:
    engine = filled(uri, unit_rows(5, DIM))
    engine.begin("mine", "")
    engine.discard("you", ["", "mine"])
    engine.discard("me", ["", "older"])
    assert exists(uri)
    engine.discard("me", ["", "mine"])
    engine.close()
    assert not exists(uri)
    again = connect(uri)
    again.discard("me", ["mine"])
    again.close()


def test_a_server_that_answers_is_well_and_tells_what_it_has(uri: str) -> None:
    engine = filled(uri, unit_rows(5, DIM))
    engine.health()
    facts = engine.facts()
    assert (facts["engine"], facts["engine_rows"], facts["load_state"]) == (uri, 5, "ready")
    assert {"server", "index"} <= facts.keys()
    # Of a graph alone, and there is none yet.
    assert "effort" not in facts
    engine.close()
