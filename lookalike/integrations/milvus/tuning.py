"""A collection's own vectors to how far a search of its graph must look: what suffices differs tenfold between sets."""

from collections.abc import Callable

from lookalike.index.exact import share_of
from lookalike.integrations.milvus.index_types import UNTUNED
from lookalike.types import Ids, Vectors

EFFORTS = (64, 128, 256, 512, 1024, 2048)
EXACT = 4096
"""An ef that stands for looking at everything: of 20,000 random vectors, the hardest, 1,024 missed none (measured)."""
SAMPLE = 100
NEIGHBOURS = 10
AIM = 0.997
"""The share of the neighbours that must be found, a little above the .99 that is promised: 1,000 neighbours are a
sample, and stored vectors, which are the queries here, are somewhat easier to ask for than new ones."""

SearchFunction = Callable[[Vectors, int, int], Ids]
"""Unit rows, k and an effort to ids (m, k)."""


def least(search: SearchFunction, queries: Vectors) -> int:
    """The least of EFFORTS that finds what an exhaustive search finds; `queries` are rows of the collection."""
    if not len(queries):
        return UNTUNED
    # Each query is in the collection and comes first, which says nothing.
    wanted = search(queries, NEIGHBOURS + 1, EXACT)[:, 1:]
    for effort in EFFORTS:
        if share_of(search(queries, NEIGHBOURS + 1, effort)[:, 1:], wanted) >= AIM:
            return effort
    return EFFORTS[-1]
