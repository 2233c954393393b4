"""An answer to the confidence of its hits: the collection's own cosines for this query and, in doubt, the pixels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL.Image import Image

from lookalike.errors import ImageError, QueryError
from lookalike.images import decode as images
from lookalike.search.confidence import (
    Evidence,
    Model,
    Numbers,
    Tail,
    is_in_doubt,
    is_same,
    model_for,
    read_model,
)
from lookalike.search.hybrid import Answer
from lookalike.search.options import SearchOptions
from lookalike.search.query import Resolved
from lookalike.search.rank import rank
from lookalike.search.rerank.keypoints import detect
from lookalike.search.rerank.spatial import Spatial
from lookalike.search.searched import SearchedGallery
from lookalike.storage import refitted
from lookalike.storage.store import Store
from lookalike.types import Box, Ids, Probe, Ranking, Scores, Vectors

BEST = 10
"""How many of the nearest are verified."""
SIDE, FEATURES = 400, 300
"""Pictures are verified at this longest side in pixels, by so many keypoints."""
AROUND = 0.25
"""How much more than the part is compared, of its sides: windows cut things."""


@dataclass(frozen=True)
class Assessment:
    """`found` of an answer, and the confidence of each row; both are None where the encoder was not measured."""

    found: bool | None = None
    by_row: Mapping[int, float] = field(default_factory=dict)

    def confidence(self, row: int) -> float | None:
        """The probability that a row shows the same thing as the query."""
        return self.by_row.get(row)


def assess(answer: Answer, options: SearchOptions, model: Model | None = None) -> Assessment:
    """The confidence of the rows in an answer, by a model of the vectors; None: the one of `model_of`.

    A confidence depends on the query, the images that are searched and `options.verify`, but not on how many results
    were requested. Raises QueryError where `options.found` needs a confidence that the answer cannot have.
    """
    reference = answer.space.gallery.stores[0]
    model = model or model_of(reference)
    if model is None or answer.candidates is None or answer.resolved is None or len(answer.resolved.probe.vectors) > 1:
        if options.found:
            raise QueryError(_unknown(reference.header.encoder, model))
        return Assessment()
    return _assessed(answer, answer.resolved, answer.candidates, options, model)


def model_of(store: Store) -> Model | None:
    """The model that was fitted to labels of this collection, else the one that was measured for its encoder."""
    own = refitted.read(store, store.header.fingerprint)
    return (read_model(own.get("model")) if own else None) or model_for(store.header.fingerprint)


def _unknown(encoder: str, model: Model | None) -> str:
    if model is None:
        return f"found: no confidence was measured for {encoder}; cut results off by their score instead"
    return "found: confidence was measured for queries of a single picture; cut results off by their score instead"


def _assessed(
    answer: Answer, resolved: Resolved, candidates: Ranking, options: SearchOptions, model: Model
) -> Assessment:
    gallery, own = answer.space.gallery, np.array(resolved.own_rows, np.int64)
    nearest = _nearest(resolved, candidates, gallery, options)
    is_itself = bool(len(own)) and not options.exclude_self
    if not len(nearest.ids):
        return Assessment(is_itself, dict.fromkeys(own.tolist(), 1.0))
    tail = usual_tail(resolved.probe, gallery, own, model)
    lead = float(nearest.scores[0])
    # The nearest first, and then whatever was requested.
    best, *others = model.predict(Evidence(np.append(lead, answer.ranking.scores), lead, tail)).tolist()
    parts = _parts(answer, nearest)
    # The score of a part says what is alike, and was not measured for whether it is the same: pixels have to say it.
    by_row = {row: value for row, value in zip(answer.ranking.ids.tolist(), others, strict=True) if row not in parts}
    found = None if int(nearest.ids[0]) in parts else is_same(best)
    if model.sees_pixels and ((options.verify and is_in_doubt(best)) or (parts and (options.verify or options.found))):
        seen = inliers(resolved.probe, nearest.ids, gallery, parts)
        verified = model.predict(Evidence(nearest.scores, lead, tail, seen)).tolist()
        found = is_same(max(verified))
        by_row |= zip(nearest.ids.tolist(), verified, strict=True)
    return Assessment(is_itself or found, by_row | dict.fromkeys(own.tolist(), 1.0))


def _parts(answer: Answer, nearest: Ranking) -> dict[int, Box]:
    """The boxes of the images that count with a part, as hits have them."""
    others = np.setdiff1d(nearest.ids, answer.ranking.ids)
    best = answer.parts | (answer.space.gallery.best_parts(answer.probe.vectors, others) if len(others) else {})
    return {row: answer.ranking.boxes.get(row, part.box) for row, part in best.items()}


def _nearest(resolved: Resolved, candidates: Ranking, gallery: SearchedGallery, options: SearchOptions) -> Ranking:
    """The nearest rows that are not the query itself, by cosine: one, or `BEST` to be verified."""
    own = np.array(resolved.own_rows, np.int64)
    count = len(own) + (BEST if options.verify or options.found else 1)
    if options.rerankers or len(candidates.ids) < min(count, len(gallery)):
        candidates = rank(resolved.probe, gallery, count)
    others = ~np.isin(candidates.ids, own)
    return Ranking(candidates.ids[others], candidates.scores[others]).head(BEST)


def usual_tail(probe: Probe, gallery: SearchedGallery, own: Ids, model: Model | None = None) -> Tail:
    """The tail of the cosines of a query to the images that are searched, by a sample of these."""
    cosines = gallery.usual(probe.vectors[0], own)
    return Tail.of(cosines, len(gallery) - len(own), model.typical if model else None)


def inliers(
    probe: Probe, ids: Ids, gallery: SearchedGallery, parts: Mapping[int, Box] = MappingProxyType({})
) -> Numbers | None:
    """The inliers of candidates (n,), NaN where a picture cannot be read; None where the query's cannot.

    Of images that count with a part, only that part and what is around it is compared.
    """
    if probe.image is None:
        return None
    try:
        picture = probe.reduced(SIDE // images.REDUCING_GAP) if probe.reduced else probe.image()
    except ImageError:
        return None
    query = detect(images.thumbnail(picture, SIDE), FEATURES)
    counts = Spatial(top=BEST, features=FEATURES).counted(query, ids, ReducedPictures(gallery, parts))
    return np.array([counts.get(row, np.nan) for row in ids.tolist()], np.float64)


@dataclass(frozen=True)
class ReducedPictures:
    """A gallery whose pictures, or parts of them, have a longest side of `SIDE`; meets `types.Gallery`."""

    gallery: SearchedGallery
    parts: Mapping[int, Box] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.gallery)

    def vectors(self, ids: Ids) -> Vectors:
        """As in the gallery."""
        return self.gallery.vectors(ids)

    def search(self, vectors: Vectors, k: int) -> tuple[Scores, Ids]:
        """As in the gallery."""
        return self.gallery.search(vectors, k)

    def image(self, row: int) -> Image:
        """The upright picture of a row, or its part with a margin, reduced."""
        if (part := self.parts.get(row)) is None:
            return self.gallery.reduced(row, SIDE)
        picture = self.gallery.image(row)
        return images.thumbnail(picture.crop(around(part, picture.size)), SIDE)

    def content(self, row: int) -> str:
        """The digest of the file, the side and the part: the cache keeps features of reduced pictures apart."""
        part = self.parts.get(row)
        sides = b"" if part is None else np.array(part.corners(), "<f4").tobytes()
        return self.gallery.content(row) + (SIDE.to_bytes(2) + sides).hex()

    @property
    def cache_dir(self) -> Path:
        """As in the gallery."""
        return self.gallery.cache_dir


def around(part: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The corners of a part with `AROUND` of its sides on each side of it, within a picture (width, height)."""
    left, top, right, bottom = part.corners()
    wide, high = AROUND * (right - left), AROUND * (bottom - top)
    return (
        *(max(0, int(left - wide)), max(0, int(top - high))),
        *(min(size[0], math.ceil(right + wide)), min(size[1], math.ceil(bottom + high))),
    )
