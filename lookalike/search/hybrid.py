"""A query of pictures and text to a ranking: each part is searched in its own vectors, and the rankings are fused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lookalike.index.exact import refuse_other_length
from lookalike.search.fusion import CalibratedScores, Calibration, ReciprocalRank
from lookalike.search.options import SearchOptions
from lookalike.search.query import Query, Resolved, resolve
from lookalike.search.rank import own_first, rank
from lookalike.search.regions import BestPart
from lookalike.search.rerank.candidates import cosines, ranked
from lookalike.search.searched import SearchedGallery
from lookalike.types import Encoder, Probe, Ranking, Scores

DEPTH = 1000
"""The length of each ranking where two are fused."""
SAMPLED = 2000
"""Random items whose cosines calibrate the scores of a query."""


@dataclass(frozen=True)
class Space:
    """The vectors of an encoder for a search: the rows that may be found, and the encoder of the query."""

    gallery: SearchedGallery
    encoder: Callable[[], Encoder]


@dataclass(frozen=True)
class Subquery:
    """The part of a query for a space; a `weight` below 0 moves down what it ranks high."""

    space: Space
    query: Query
    weight: float = 1.0


@dataclass(frozen=True)
class Answer:
    """A ranking in the rows of `space`.

    `probe` is the query's part of that space, and `own_rows` are the query itself, first in the ranking. `resolved` is
    the query where it is a single picture or vector without any further part, and `candidates` are the first rows
    before the query's own were moved or left out.
    """

    ranking: Ranking
    space: Space
    probe: Probe
    own_rows: tuple[int, ...] = ()
    resolved: Resolved | None = None
    candidates: Ranking | None = None

    @cached_property
    def parts(self) -> dict[int, BestPart]:
        """The parts that the images of the ranking count with."""
        return self.space.gallery.best_parts(self.probe.vectors, self.ranking.ids)


def answer(query: Query, options: SearchOptions, pictures: Space, words: Callable[[], Space]) -> Answer:
    """The best `k` images after `offset`, as rows of the space of the first positive part.

    `words()` gives the vectors that text is searched in. Each score is the cosine to the part of that space.
    """
    subqueries = split(query, pictures, words)
    space = subqueries[0].space
    resolved = [_searched(resolve(part.query, part.space.encoder, part.space.gallery), part) for part in subqueries]
    fused = _fused(subqueries, resolved, options) if len(subqueries) > 1 else _single(space, resolved[0], options)
    ranking = own_first(fused, resolved[0], options)
    kept = ranking.after(options.offset)
    own = () if resolved[0].is_region else resolved[0].own_rows
    answer = Answer(kept, space, resolved[0].probe, own)
    return replace(answer, resolved=resolved[0], candidates=fused) if query.is_one_picture else answer


def split(query: Query, pictures: Space, words: Callable[[], Space]) -> list[Subquery]:
    """A part for pictures and a part for text, positive parts first; `words` is called where there is text."""
    subqueries = []
    if part := query.image_part:
        subqueries.append(Subquery(pictures, part, 1.0 if query.examples else -1.0))
    if part := query.text_part:
        subqueries.append(Subquery(words(), part, 1.0 if query.text else -1.0))
    return sorted(subqueries, key=lambda part: -part.weight)


def _single(space: Space, resolved: Resolved, options: SearchOptions) -> Ranking:
    return _candidates(space, resolved, options.depth + len(resolved.own_rows), options)


def _fused(subqueries: Sequence[Subquery], resolved: Sequence[Resolved], options: SearchOptions) -> Ranking:
    """The best of several parts together.

    `rank` adds reciprocal ranks, and `scores` adds cosines after each was calibrated for its own encoder; see
    `fusion`. Negative parts are always fused by scores.
    """
    first, most = subqueries[0].space, options.depth + len(resolved[0].own_rows)
    depth = max(DEPTH, 2 * options.depth)
    pairs = list(zip(subqueries, resolved, strict=True))
    rankings = [_moved(_candidates(part.space, probe, depth, options), part.space, first) for part, probe in pairs]
    weights = tuple(part.weight for part in subqueries)
    # A low rank for a negative part would count as a merit; scores show near from far.
    by_rank = options.fuse == "rank" and min(weights) > 0
    method = ReciprocalRank(weights=weights) if by_rank else CalibratedScores(_calibrations(pairs), weights)
    fused = method(rankings)
    # Rows that are only in the ranking of a negative part are no results.
    positives = [ranking.ids for ranking, weight in zip(rankings, weights, strict=True) if weight > 0]
    ids = fused.ids[np.isin(fused.ids, np.concatenate(positives))][:most]
    return ranked(ids, rankings[0], resolved[0].probe, first.gallery)


def _candidates(space: Space, resolved: Resolved, k: int, options: SearchOptions) -> Ranking:
    """The best `k` of a space, re-ranked; raises QueryError where the vectors are of another length."""
    refuse_other_length(resolved.probe.vectors, space.gallery.dim)
    return rank(resolved.probe, space.gallery, k, options.rerankers)


def _searched(resolved: Resolved, part: Subquery) -> Resolved:
    """The same without own rows that a filter leaves out."""
    return replace(resolved, own_rows=tuple(filter(part.space.gallery.holds, resolved.own_rows)))


def _moved(ranking: Ranking, space: Space, to: Space) -> Ranking:
    """A ranking in the rows of another space, by keys; items that it does not have are left out."""
    if space is to:
        return ranking
    rows = [to.gallery.row(space.gallery.item(row).key) for row in ranking.ids.tolist()]
    kept = np.array([row is not None for row in rows], np.bool_)
    return Ranking(np.array([row for row in rows if row is not None], np.int64), ranking.scores[kept])


def _calibrations(pairs: Sequence[tuple[Subquery, Resolved]]) -> tuple[Calibration, ...]:
    return tuple(Calibration.fit(_usual(part.space.gallery, resolved.probe)) for part, resolved in pairs)


def _usual(gallery: SearchedGallery, probe: Probe) -> Scores:
    """Cosines of a query to random items, for calibration."""
    return cosines(probe, gallery.vectors(gallery.sample(SAMPLED)))
