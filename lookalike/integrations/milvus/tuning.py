"""Vectors of a collection to the effort that a search of its graph needs, which differs tenfold between collections."""

from collections.abc import Callable

from lookalike.index.exact import share_of
from lookalike.integrations.milvus.index_types import UNTUNED
from lookalike.types import Ids, Vectors

EFFORTS = (64, 128, 256, 512, 1024, 2048)
EXACT = 4096
"""An ef that stands for an exhaustive search: on 20,000 random vectors, the hardest case, 1,024 missed none."""
SAMPLE = 100
NEIGHBOURS = 10
AIM = 0.997
"""The least recall, a little above the documented .99: 1,000 neighbours are a sample, and stored vectors, which are the
queries here, are easier queries than new ones."""

SearchFunction = Callable[[Vectors, int, int], Ids]
"""Unit rows, k and an effort to ids (m, k)."""


def least(search: SearchFunction, queries: Vectors) -> int:
    """The least of EFFORTS with a recall of `AIM`; `queries` are rows of the collection."""
    if not len(queries):
        return UNTUNED
    # The first result is the query itself, and is left out.
    expected = search(queries, NEIGHBOURS + 1, EXACT)[:, 1:]
    for effort in EFFORTS:
        if share_of(search(queries, NEIGHBOURS + 1, effort)[:, 1:], expected) >= AIM:
            return effort
    return EFFORTS[-1]
