"""Pictures and words to one ranking: each part is answered by the vectors that understand it, and the answers fused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import numpy as np

from lookalike.errors import QueryError
from lookalike.search.fusion import CalibratedScores, Calibration, ReciprocalRank
from lookalike.search.query import Asked, Resolved
from lookalike.search.rerank.candidates import cosines, ranked
from lookalike.types import Gallery, Ids, Probe, Ranking, Scores

Fuse = Literal["rank", "scores"]
DEPTH = 1000
"""How far down each ranking is read where two are fused."""
SAMPLED = 2000
"""Random items whose cosines say what is usual for a query."""


class Searched(Gallery, Protocol):
    """A gallery that says which rows it searches, and gives some random ones of them."""

    def holds(self, row: int) -> bool:
        """Whether a row is among those that are searched."""
        ...

    def sample(self, count: int) -> Ids:
        """At most `count` rows, the same ones every time."""
        ...


class Space(Protocol):
    """A collection as far as it answers for one encoder's vectors."""

    def resolve(self, asked: Asked) -> Resolved:
        """What is asked as its vectors."""
        ...

    def candidates(self, resolved: Resolved, k: int) -> Ranking:
        """Its best `k`, re-ranked."""
        ...

    @property
    def gallery(self) -> Searched:
        """What is searched."""
        ...

    def key(self, row: int) -> str:
        """The key of a row."""
        ...

    def row(self, key: str) -> int | None:
        """The row of a key."""
        ...


@dataclass(frozen=True)
class Part:
    """What one space is asked; with a `weight` below 0, what it finds is pushed down."""

    space: Space
    asked: Asked
    weight: float = 1.0


@dataclass(frozen=True)
class Answer:
    """A ranking in the rows of the first part's space, and what resolved there, with the own rows that are searched."""

    ranking: Ranking
    resolved: Resolved


def parts(asked: Asked, pictures: Space, words: Callable[[], Space]) -> list[Part]:
    """One part for each kind of query, the wanted ones first; `words` is called where there is text."""
    found = []
    if about := asked.about_images:
        found.append(Part(pictures, about, 1.0 if asked.images else -1.0))
    if about := asked.about_text:
        found.append(Part(words(), about, 1.0 if asked.text else -1.0))
    return sorted(found, key=lambda part: -part.weight)


def answer(asked: Sequence[Part], k: int, fuse: Fuse = "rank") -> Answer:
    """The best `k` for all parts together.

    Each score is the cosine to the first part's query. With several parts, `rank` adds reciprocal ranks and `scores`
    adds cosines after each was put on the scale of its own encoder; see `fusion`. A part that is not wanted is always
    taken away by scores.
    """
    if fuse not in get_args(Fuse):
        raise QueryError(f"rankings are fused by {' or '.join(get_args(Fuse))}, not {fuse!r}")
    first = asked[0]
    resolved = [_searched(part.space.resolve(part.asked), part.space) for part in asked]
    if len(asked) == 1:
        return Answer(first.space.candidates(resolved[0], k + len(resolved[0].own_rows)), resolved[0])
    depth = max(DEPTH, 2 * k)
    pairs = list(zip(asked, resolved, strict=True))
    rankings = [_moved(part.space.candidates(one, depth), part.space, first.space) for part, one in pairs]
    weights = tuple(part.weight for part in asked)
    # To be low among unwanted things is no merit, which ranks would make it; scores tell near from far.
    by_rank = fuse == "rank" and min(weights) > 0
    method = ReciprocalRank(weights=weights) if by_rank else CalibratedScores(_calibrations(pairs), weights)
    fused = method(rankings)
    wanted = [ranking.ids for ranking, part in zip(rankings, asked, strict=True) if part.weight > 0]
    # What only a ranking of unwanted things holds is no result.
    ids = fused.ids[np.isin(fused.ids, np.concatenate(wanted))][: k + len(resolved[0].own_rows)]
    return Answer(ranked(ids, rankings[0], resolved[0].probe, first.space.gallery), resolved[0])


def _searched(resolved: Resolved, space: Space) -> Resolved:
    """Without the query itself where a filter leaves it out."""
    return replace(resolved, own_rows=tuple(filter(space.gallery.holds, resolved.own_rows)))


def _moved(ranking: Ranking, space: Space, to: Space) -> Ranking:
    """A ranking in the rows of another space, by keys; what that one does not hold is left out."""
    if space is to:
        return ranking
    rows = [to.row(space.key(row)) for row in ranking.ids.tolist()]
    kept = np.array([row is not None for row in rows], np.bool_)
    return Ranking(np.array([row for row in rows if row is not None], np.int64), ranking.scores[kept])


def _calibrations(pairs: Sequence[tuple[Part, Resolved]]) -> tuple[Calibration, ...]:
    return tuple(Calibration.fit(_usual(part.space.gallery, one.probe)) for part, one in pairs)


def _usual(gallery: Searched, probe: Probe) -> Scores:
    """Cosines of a query to random items."""
    return cosines(probe, gallery.vectors(gallery.sample(SAMPLED)))
