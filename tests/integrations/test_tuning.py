import numpy as np

from lookalike.integrations.milvus.index_types import EFFORTS, EXACT
from lookalike.integrations.tuning import least
from lookalike.types import Ids, Vectors
from tests.integrations.milvus.milvus_servers import unit_rows

WANTED = np.arange(22).reshape(2, 11)


def finding(enough: int) -> list[int]:
    """The efforts that are tried on a graph that finds everything from `enough` on, and half of it before."""
    tried: list[int] = []

    def search(vectors: Vectors, k: int, effort: int) -> Ids:
        tried.append(effort)
        return WANTED if effort >= enough else np.where(np.arange(11) < 6, WANTED, -1)

    return [least(search, unit_rows(2, 4), EFFORTS, EXACT), *tried]


def test_the_least_effort_that_finds_all_is_taken() -> None:
    assert finding(200) == [256, EXACT, 64, 128, 256]


def test_where_none_suffices_it_is_the_greatest() -> None:
    assert finding(EXACT)[0] == EFFORTS[-1]
