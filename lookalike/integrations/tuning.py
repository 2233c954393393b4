"""Vectors of a collection to the effort that a search of its graph needs, which differs tenfold between collections."""

from collections.abc import Callable, Sequence

from lookalike.index.exact import share_of
from lookalike.types import Ids, Vectors

SAMPLE = 100
NEIGHBOURS = 10
MEASURED = NEIGHBOURS + 1
"""Results of a search that is measured: the query itself is one of them."""
AIM = 0.997
"""The least recall, a little above the documented .99: 1,000 neighbours are a sample, and stored vectors, which are the
queries here, are easier queries than new ones."""

SearchFunction = Callable[[Vectors, int, int], Ids]
"""Unit rows, k and an effort to ids (m, k)."""


def least(search: SearchFunction, queries: Vectors, efforts: Sequence[int], exact: int) -> int:
    """The least of `efforts` with a recall of `AIM`, else the greatest; `exact` is the effort that misses nothing.

    `queries` are rows of the collection.
    """
    # The first result is the query itself, and is left out.
    expected = search(queries, MEASURED, exact)[:, 1:]
    for effort in efforts:
        if share_of(search(queries, MEASURED, effort)[:, 1:], expected) >= AIM:
            return effort
    return efforts[-1]
