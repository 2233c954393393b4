"""A question to the collections of several encoders: each is searched by its own, and the rankings are merged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import cast

import numpy as np

from lookalike.errors import QueryError
from lookalike.images import sources
from lookalike.search import hybrid
from lookalike.search.evidence import Assessment, assess
from lookalike.search.fusion import Calibration
from lookalike.search.hits import Ranked
from lookalike.search.hybrid import Answer, Space
from lookalike.search.options import SearchOptions
from lookalike.search.query import Example, Key, Query
from lookalike.search.rerank.candidates import cosines
from lookalike.search.united import UnitedGallery
from lookalike.types import Probe, Ranking


@dataclass(frozen=True)
class Part:
    """The collections of one encoder: where pictures are searched, and, once there are words, where these are."""

    pictures: UnitedGallery
    space: Space
    words: Callable[[], Space]


def rank(query: Query, options: SearchOptions, parts: Sequence[Part]) -> Ranked:
    """The best `k` images after `offset`; raises QueryError."""
    if len(parts) == 1:
        answer = hybrid.answer(query, options, parts[0].space, parts[0].words)
        return Ranked(answer.ranking, answer.space.gallery, assess(answer, options), answer.parts)
    deep = replace(options, k=options.depth, offset=0)
    answers = [hybrid.answer(_for(query, part, parts), deep, part.space, part.words) for part in parts]
    # Those of a part's spaces.
    galleries = [cast("UnitedGallery", answer.space.gallery) for answer in answers]
    united, firsts = UnitedGallery.of(galleries), [0, *accumulate(gallery.rows for gallery in galleries)]
    assessed = [assess(answer, deep) for answer in answers]
    found = zip(answers, firsts, strict=False)
    boxes = {row + first: part for answer, first in found for row, part in answer.parts.items()}
    return Ranked(_merged(answers, firsts, options), united, _together(assessed, firsts), boxes)


def _for(query: Query, part: Part, parts: Sequence[Part]) -> Query:
    """The query as one of these parts understands it: a key of another one is that image's file."""
    return replace(
        query,
        examples=tuple(_known(example, part, parts) for example in query.examples),
        negatives=tuple(_known(example, part, parts) for example in query.negatives),
    )


def _known(example: Example, part: Part, parts: Sequence[Part]) -> Example:
    if isinstance(example, np.ndarray | Probe):
        raise QueryError("a vector is of one encoder, and these collections are of several; name a picture")
    if not isinstance(example, str | Path | Key) or _is_file(example) or part.pictures.row(str(example)) is not None:
        return example
    rows = ((other.pictures, other.pictures.row(str(example))) for other in parts)
    return next((gallery.read(row) for gallery, row in rows if row is not None), example)


def _is_file(example: str | Path | Key) -> bool:
    return not isinstance(example, Key) and (sources.is_url(str(example)) or Path(example).expanduser().exists())


def _merged(answers: Sequence[Answer], firsts: Sequence[int], options: SearchOptions) -> Ranking:
    """All rankings by their standard scores, the query itself first; the scores are the cosines of their encoders."""
    rows = np.concatenate([answer.ranking.ids + first for answer, first in zip(answers, firsts, strict=False)])
    scores = np.concatenate([answer.ranking.scores for answer in answers])
    order = np.lexsort((rows, -np.concatenate([_comparable(answer) for answer in answers])))
    best = order[options.offset : options.depth]
    return Ranking(rows[best], scores[best])


def _comparable(answer: Answer) -> np.ndarray:
    gallery, ranking = answer.space.gallery, answer.ranking
    if not len(ranking.ids):
        return np.empty(0)
    calibration = Calibration.fit(cosines(answer.probe, gallery.vectors(gallery.sample(hybrid.SAMPLED))))
    return np.where(np.isin(ranking.ids, answer.own_rows), np.inf, calibration(ranking.scores))


def _together(assessed: Sequence[Assessment], firsts: Sequence[int]) -> Assessment:
    known = [each.found for each in assessed if each.found is not None]
    by_row = {
        row + first: value
        for each, first in zip(assessed, firsts, strict=False)
        for row, value in each.by_row.items()
    }  # fmt: skip
    return Assessment(any(known) if known else None, by_row)
