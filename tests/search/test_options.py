"""How to search: one object with its own defaults, which refuses what cannot be."""

from typing import Any

import pytest

from lookalike.errors import QueryError
from lookalike.search.options import SearchOptions
from lookalike.search.rerank.expansion import AlphaQE


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"k": 0}, "k is at least 1"),
        ({"offset": -1}, "offset at least 0"),
        ({"recall": 1.5}, "recall 1.5 must be above 0"),
        ({"recall": 0.0}, "recall 0 must be above 0"),
        ({"recall": -0.1}, "recall -0.1 must be above 0"),
        ({"fuse": "sum"}, "fused by rank or scores, not 'sum'"),
        ({"rerank": ("polish",)}, "'polish' is no re-ranking method"),
    ],
)
def test_what_cannot_be_is_refused_where_the_options_are_made(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(QueryError, match=said):
        SearchOptions(**wrong)


def test_methods_are_named_or_given_and_keep_their_order() -> None:
    mine = AlphaQE(k=3)
    methods = SearchOptions(rerank=("alpha-qe,k=2", mine)).rerankers
    assert methods == (AlphaQE(k=2), mine)


def test_what_is_passed_over_has_to_be_found_too() -> None:
    assert SearchOptions(k=5, offset=10).depth == 15
