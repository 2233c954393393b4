"""Rows that are multiplied as they are stored, against products of what they stand for."""

from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import QueryError
from lookalike.index import exact
from lookalike.index.exact import ExactIndex
from lookalike.index.products import MARGINS, products
from lookalike.storage.vectors import VectorFile, decode, encode
from tests.support.vectors import clustered


@pytest.fixture(autouse=True)
def scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few rows too, in several parts."""
    monkeypatch.setattr(exact, "SCANNED", 100)
    monkeypatch.setattr(exact, "SCANNED_COLD", 100)
    monkeypatch.setattr(exact, "SCAN", 1500)


def stored(path: Path, dtype: str, count: int = 5000, dim: int = 37) -> VectorFile:
    file = VectorFile(path / "vectors", dim, dtype)
    file.path.touch()
    file.append(0, clustered(count, dim))
    file.flush(count)
    file.release()
    return file


@pytest.mark.parametrize("dtype", list(MARGINS))
def test_products_are_within_the_margin_of_the_cosines(dtype: str) -> None:
    rows = encode(clustered(3000, 96), dtype)
    for query in clustered(5, 96, seed=1):
        expected = decode(rows, dtype).astype(np.float64) @ query.astype(np.float64)
        assert np.abs(products(rows, dtype, query) - expected).max() < MARGINS[dtype] / 2


def test_the_largest_numbers_do_not_overflow() -> None:
    """Every product of a byte and a digit as large as it can be: 127 and -127, and a query of equal numbers."""
    signs = np.where(np.random.default_rng(0).random((64, 4096)) < 0.5, -1, 1)
    signs[:2] = [[1], [-1]]
    rows = encode((signs / 64).astype(np.float32), "int8")
    query = np.full(4096, 1 / 64, np.float32)
    assert products(rows, "int8", query)[:2].tolist() == pytest.approx([1, -1], abs=1e-6)
    assert products(rows, "int8", query) == pytest.approx(signs.mean(axis=1), abs=1e-6)
    assert products(rows, "int8", -query) == pytest.approx(-signs.mean(axis=1), abs=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "float16"])
@pytest.mark.parametrize("share", [1.0, 0.9, 0.3, 0.05])
def test_the_answer_is_that_of_all_rows_as_float32(tmp_path: Path, dtype: str, share: float) -> None:
    file = stored(tmp_path, dtype)
    live = np.random.default_rng(1).random(5000) < share if share < 1 else None
    cosines = file.block(0, 5000)
    for query in clustered(4, 37, seed=2):
        expected = cosines @ query
        expected[~live if live is not None else []] = -2
        for k in (1, 10, 700):
            scores, ids = ExactIndex(file, live, 5000).search(query[None], k)
            found = ids[0][ids[0] >= 0]
            assert scores[0, : len(found)] == pytest.approx(-np.sort(-expected)[: len(found)], abs=1e-6)
            assert len(found) == min(k, 5000 if live is None else int(live.sum()))
            assert live is None or live[found].all()


def test_rows_that_are_the_same_come_in_their_order_across_parts(tmp_path: Path) -> None:
    file = VectorFile(tmp_path / "vectors", 37, "int8")
    file.path.touch()
    file.append(0, np.tile(clustered(7, 37), (600, 1)))
    file.flush(4200)
    file.release()
    scores, ids = ExactIndex(file, None, 4200).search(clustered(7, 37)[:1], 300)
    assert ids[0].tolist() == list(range(0, 2100, 7))
    assert len(set(scores[0].tolist())) == 1


def test_flipped_bits_are_never_found_nor_in_the_way(tmp_path: Path) -> None:
    file = stored(tmp_path, "int8")
    data = bytearray(file.path.read_bytes())
    for row, scale in ((3, np.nan), (4, np.inf), (5, -np.inf)):
        data[row * 41 : row * 41 + 4] = np.float32(scale).tobytes()
    file.path.write_bytes(data)
    damaged = VectorFile(file.path, 37, "int8")
    _, ids = ExactIndex(damaged, None, 5000).search(clustered(1, 37, seed=2), 4000)
    assert 3 not in ids[0]
    assert len(set(ids[0].tolist())) == 4000


def test_a_query_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="38 numbers, the collection's have 37"):
        ExactIndex(stored(tmp_path, "int8"), None, 5000).search(clustered(1, 38), 5)
