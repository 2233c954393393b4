"""The options of a search as an object that is validated once and passed down unchanged."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import PurePath
from typing import Any, Literal, get_args

from lookalike.errors import QueryError
from lookalike.search.rerank import parse
from lookalike.types import Reranker
from lookalike.utils.arguments import number, one_of, optional, several, shown, text, whole, yes_or_no

Fuse = Literal["rank", "scores"]
Sort = Literal["score", "taken"]


@dataclass(frozen=True)
class SearchOptions:
    """The options of a search, the same in Python, on the command line and over HTTP.

    Parameters
    ----------
    k, offset
        The number of results (at least 1), and how many of the best are skipped before them.
    min_score
        Results with a lower cosine (-1 to 1) are left out.
    exclude_self
        Leave out the query itself, which otherwise comes first with score 1 where the collection has it.
    where
        Only images for which this filter holds, such as ``"key:beach/* and year >= 2019"``; see `storage.filters`.
    exclude
        Keys of images that are not searched.
    rerank
        Methods that reorder the first ranking, applied in this order: names with parameters such as
        ``"alpha-qe,k=10"``, or re-rankers; see `search.rerank`.
    recall
        The share of the true nearest that an index must find; 1 is exact, None is what `optimize` aimed at.
    fuse
        How the rankings of pictures and text are fused: by ``rank`` or by calibrated ``scores``; see `search.fusion`.
    found
        Only hits that show the same thing as the query rather than not (`Hit.confidence` above 0.5).
    verify
        Where the scores leave doubt, compare the pixels of the nearest 10 with the query's, for their confidence.
    sort
        The order of the results: by ``score``, the best first, or by when they were ``taken``, the oldest first and
        those of no known time last. Which ones they are, and their ranks, do not change.
    regions
        Whether an image counts with its best part too, where that is nearer to the query than the whole image; None:
        where the collection has regions.

    Raises
    ------
    QueryError
        Where a value is out of range, or a method is unknown.

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
    found: bool = False
    verify: bool = False
    sort: Sort = "score"
    regions: bool | None = None

    def __post_init__(self) -> None:
        """Validated here, once; a text is taken for a list of one."""
        settle = partial(object.__setattr__, self)
        for name in ("k", "offset"):
            settle(name, whole(name, getattr(self, name)))
        for name in ("min_score", "recall"):
            settle(name, optional(number, name, getattr(self, name)))
        for name in ("exclude_self", "found", "verify"):
            settle(name, yes_or_no(name, getattr(self, name)))
        settle("where", optional(text, "where", self.where))
        settle("exclude", frozenset(several("exclude", self.exclude, key_of)))
        settle("rerank", several("rerank", self.rerank))
        if self.k < 1 or self.offset < 0:
            raise QueryError(f"k = {self.k} and offset = {self.offset}: k is at least 1, offset at least 0")
        if self.recall is not None and not 0 < self.recall <= 1:
            raise QueryError(f"recall {self.recall:g} must be above 0 and at most 1")
        one_of("rankings are fused by", self.fuse, get_args(Fuse))
        one_of("results are sorted by", self.sort, get_args(Sort))
        self.rerankers  # noqa: B018 - a misspelt method is an error before anything is loaded

    @property
    def depth(self) -> int:
        """How many results are needed before the first `offset` are dropped."""
        return self.k + self.offset

    @cached_property
    def rerankers(self) -> tuple[Reranker, ...]:
        """The methods that `rerank` names."""
        return tuple(parse(method) if isinstance(method, str) else _method(method) for method in self.rerank)


def key_of(name: str, key: Any) -> str:
    """A key, also as a relative `Path`; raises QueryError."""
    return key.as_posix() if isinstance(key, PurePath) else text(name, key)


def _method(method: Any) -> Reranker:
    if not callable(method):
        raise QueryError(f"rerank is {shown(method)}: give names such as 'spatial', or functions")
    return method  # type: ignore[no-any-return]
