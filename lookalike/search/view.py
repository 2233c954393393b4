"""A collection as one search sees it: its rows or a part of them, and the methods that re-rank what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from lookalike.index.exact import refuse_other_length
from lookalike.search import rank as search
from lookalike.search.gallery import StoredGallery
from lookalike.search.query import Asked, Resolved
from lookalike.search.rerank import parse
from lookalike.types import Ranking, Reranker


class Searched(Protocol):
    """What is asked of a collection."""

    @property
    def gallery(self) -> StoredGallery:
        """The rows that were committed last."""
        ...

    def resolve(self, asked: Asked) -> Resolved:
        """What is asked as vectors."""
        ...

    def key(self, row: int) -> str:
        """The key of a row."""
        ...

    def row(self, key: str) -> int | None:
        """The row of a key."""
        ...


@dataclass(frozen=True)
class View:
    """Meets `spaces.Space`. `where` narrows the search to the images that it says, `recall` says how hard to look."""

    collection: Searched
    rerankers: Sequence[Reranker] = ()
    where: str | None = None
    recall: float | None = None

    @cached_property
    def gallery(self) -> StoredGallery:
        """What is searched."""
        whole = self.collection.gallery.aiming(self.recall)
        return whole if self.where is None else whole.where(self.where)

    def resolve(self, asked: Asked) -> Resolved:
        """What is asked as vectors."""
        return self.collection.resolve(asked)

    def candidates(self, resolved: Resolved, k: int) -> Ranking:
        """The best `k`, re-ranked; raises QueryError where the vectors are of another size."""
        refuse_other_length(resolved.probe.vectors, self.gallery.dim)
        return search.rank(resolved.probe, self.gallery, k, self.rerankers)

    def key(self, row: int) -> str:
        """The key of a row."""
        return self.collection.key(row)

    def row(self, key: str) -> int | None:
        """The row of a key."""
        return self.collection.row(key)


def rerankers(named: Sequence[str | Reranker]) -> list[Reranker]:
    """Names with parameters, such as "alpha-qe,k=10", and methods as they are, in their order; raises QueryError."""
    return [parse(one) if isinstance(one, str) else one for one in named]
