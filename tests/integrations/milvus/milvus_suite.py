"""Checks of any Milvus: Milvus Lite, a server of the tests' own, or the server that MILVUS_URI names."""

import uuid

import numpy as np
import pytest

from lookalike.errors import EngineError
from lookalike.integrations.milvus.client import ServerRow, Signature, connect
from lookalike.types import Vectors
from tests.integrations.milvus.milvus_servers import unit_rows

DIM = 32
MADE = Signature("me", "thumbnail", "f" * 64, DIM)


def fresh(base: str) -> str:
    return f"{base}/t{uuid.uuid4().hex}"


def rows(start: int, stop: int) -> list[ServerRow]:
    return [ServerRow(row, f"{row % 3}/{row}.jpg", "a" * 64, {"year": 2000 + row % 5}) for row in range(start, stop)]


def filled(base: str, vectors: Vectors) -> str:
    uri = fresh(base)
    engine = connect(uri)
    engine.create(MADE)
    engine.upsert(rows(0, len(vectors)), vectors)
    # The count waits until rows are visible; a flush would take a server five seconds.
    assert engine.count() == len(vectors)
    engine.close()
    return uri


def check_rows_are_written_once_and_found_exactly(base: str) -> None:
    vectors = unit_rows(700, DIM)
    uri = filled(base, vectors)
    engine = connect(uri)
    engine.open(MADE)
    engine.upsert(rows(100, 300), vectors[100:300])
    engine.flush()
    assert engine.count() == 700
    scores, ids = engine.search(vectors[:20], 10)
    cosines = vectors[:20] @ vectors.T
    assert ids.tolist() == np.argsort(-cosines, axis=1)[:, :10].tolist()
    np.testing.assert_allclose(scores, -np.sort(-cosines, axis=1)[:, :10], atol=1e-5)
    np.testing.assert_array_equal(engine.vectors(np.array([5, 3, 5])), vectors[[5, 3, 5]])
    engine.drop()


def check_a_search_for_more_results_than_rows_is_padded(base: str) -> None:
    vectors = unit_rows(5, DIM)
    engine = connect(filled(base, vectors))
    engine.open(MADE)
    _, ids = engine.search(vectors[:1], 8)
    assert sorted(ids[0, :5].tolist()) == [0, 1, 2, 3, 4]
    assert ids[0, 5:].tolist() == [-1, -1, -1]
    engine.delete_from(3)
    assert engine.count() == 3
    with pytest.raises(EngineError, match=r"1 vectors are missing \(row 4\).*verify --repair"):
        engine.vectors(np.array([0, 4]))
    engine.drop()


def check_expressions_narrow_the_search(base: str) -> None:
    vectors = unit_rows(60, DIM)
    engine = connect(filled(base, vectors))
    engine.open(MADE)
    assert engine.matching('key like "1/%"').tolist() == list(range(1, 60, 3))
    assert engine.matching('$meta["year"] >= 2004').tolist() == list(range(4, 60, 5))
    assert engine.matching('key in ["0/0.jpg", "no\\"such"]').tolist() == [0]
    assert engine.matching('not (key == "0/0.jpg") and id < 3').tolist() == [1, 2]
    _, ids = engine.search(vectors[:1], 10, '$meta["year"] == 2003 or $meta["year"] == 2004')
    assert {int(row) % 5 for row in ids[0]} == {3, 4}
    engine.drop()


def check_another_collection_is_refused(base: str) -> None:
    uri = filled(base, unit_rows(5, DIM))
    refused = [
        (Signature("me", "rootsift", "e" * 64, DIM), r"made with thumbnail \(ffffffffffff\), not rootsift"),
        (Signature("me", "thumbnail", "f" * 64, DIM + 1), f"holds vectors of {DIM} numbers, not {DIM + 1}"),
        (Signature("you", "thumbnail", "f" * 64, DIM), "belongs to another collection"),
    ]
    for other, words in refused:
        engine = connect(uri)
        with pytest.raises(EngineError, match=words):
            engine.create(other)
        with pytest.raises(EngineError, match=words):
            engine.open(other)
        engine.close()
    engine = connect(uri)
    engine.open(MADE)
    assert engine.count() == 5
    engine.drop()
    with pytest.raises(EngineError, match="no such collection"):
        connect(uri).open(MADE)


def check_vectors_of_another_length_are_refused(base: str) -> None:
    engine = connect(filled(base, unit_rows(5, DIM)))
    engine.open(MADE)
    with pytest.raises(EngineError, match=f"{DIM + 1} numbers a vector, its collection has {DIM}"):
        engine.upsert(rows(5, 6), unit_rows(1, DIM + 1))
    assert engine.count() == 5
    engine.drop()


def check_all(base: str) -> None:
    for check in CHECKS:
        check(base)


CHECKS = [
    check_rows_are_written_once_and_found_exactly,
    check_a_search_for_more_results_than_rows_is_padded,
    check_expressions_narrow_the_search,
    check_another_collection_is_refused,
    check_vectors_of_another_length_are_refused,
]
