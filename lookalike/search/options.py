"""How to search, whatever is asked: one object, made at the door and handed down unchanged."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from lookalike.errors import QueryError
from lookalike.search.rerank import parse
from lookalike.types import Reranker

Fuse = Literal["rank", "scores"]


@dataclass(frozen=True)
class SearchOptions:
    """The options of one search, the same in Python, on the command line and over HTTP.

    Parameters
    ----------
    k, offset
        How many results are wanted (at least 1), and how many of the best are passed over.
    min_score
        Results below this cosine are left out.
    exclude_self
        Leave out the query itself, which else comes first with score 1 where the collection has it.
    where
        Only images for which this filter holds, such as ``"key:beach/* and year >= 2019"``; see `storage.filters`.
    exclude
        Keys that are searched as if they were not there.
    rerank
        Methods that reorder the first list, in their order: names with parameters such as ``"alpha-qe,k=10"``, or
        re-rankers; see `search.rerank`.
    recall
        The share of the true nearest that an index must find; 1 is exact, None is what `optimize` aimed at.
    fuse
        How pictures and words become one ranking: by ``rank`` or by calibrated ``scores``; see `search.fusion`.

    Raises
    ------
    QueryError
        Where a value cannot be.

    Examples
    --------
    >>> SearchOptions(k=5, offset=10).depth
    15
    """

    k: int = 10
    offset: int = 0
    min_score: float | None = None
    exclude_self: bool = False
    where: str | None = None
    exclude: frozenset[str] = frozenset()
    rerank: tuple[Reranker | str, ...] = ()
    recall: float | None = None
    fuse: Fuse = "rank"

    def __post_init__(self) -> None:
        """Validated here, once."""
        if self.k < 1 or self.offset < 0:
            raise QueryError(f"k = {self.k} and offset = {self.offset}: k is at least 1, offset at least 0")
        if self.recall is not None and not 0 < self.recall <= 1:
            raise QueryError(f"recall {self.recall:g} must be above 0 and at most 1")
        if self.fuse not in get_args(Fuse):
            raise QueryError(f"rankings are fused by {' or '.join(get_args(Fuse))}, not {self.fuse!r}")
        self.rerankers  # noqa: B018 - a misspelt method is told before anything is loaded

    @property
    def depth(self) -> int:
        """How many results have to be found, those that are passed over among them."""
        return self.k + self.offset

    @cached_property
    def rerankers(self) -> tuple[Reranker, ...]:
        """The methods that `rerank` names."""
        return tuple(parse(method) if isinstance(method, str) else method for method in self.rerank)
