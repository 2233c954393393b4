"""A collection and labels to a linear map of its vectors, and the proof of what it gains, or of nothing."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lookalike.analysis.cross_validation import LEVEL, Change, Gain, gain, in_pairs, least_groups
from lookalike.analysis.labels import Labels
from lookalike.analysis.refit import Mapped, Refit, refitted
from lookalike.encoders.adaptation import Method, coordinates, fit
from lookalike.encoders.whitening import Whitening
from lookalike.errors import QueryError
from lookalike.search.confidence import model_for
from lookalike.storage.store import Store
from lookalike.types import Ids, Vectors
from lookalike.utils.text import counted

MEASURED, LEARNED = 600, 20_000
"""Labelled images at most that cross-validation uses, and that the map is learned from in the end."""
DISTRACTORS = 2000
FEW_LABELS = 10
"""Unlabelled images count as wrong results where they outnumber the labelled ones so far; else they may be right."""
SAMPLE = 20_000
"""Rows that the mean of a collection is taken over."""


@dataclass(frozen=True)
class Adaptation:
    """What `adapt` found, and whether it changed the collection; `gain` is None for a map from another collection.

    `confidence` is what labels gave for the vectors as they are after it, and `refitted` whether the collection has it.
    `images` are the labelled ones that were used, `groups` those of two or more, `unusable` those without a finite
    vector.
    """

    applied: bool
    dim: int
    gain: Gain | None = None
    confidence: Refit | None = None
    refitted: bool = False
    images: int = 0
    groups: int = 0
    unknown: int = 0
    contradicting: int = 0
    unusable: int = 0
    distractors: int = 0
    seconds: float = 0.0
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        """One JSON document."""
        labels = {name: getattr(self, name) for name in ("images", "groups", "unknown", "contradicting", "unusable")}
        document: dict[str, Any] = {"applied": self.applied, "dry_run": self.dry_run, "dim": self.dim}
        document |= {"took_ms": round(1000 * self.seconds)}
        document["confidence"] = {"refitted": self.refitted, **(self.confidence.to_json() if self.confidence else {})}
        if self.gain is None:
            return document
        method = self.gain.method
        return document | {
            "proven": self.gain.is_proven,
            "method": method.kind,
            "centre": method.centre,
            "shrinkage": method.shrinkage,
            "labels": labels,
            "queries": self.gain.queries,
            "distractors": self.distractors,
            "map": _change(self.gain.map),
            "precision_at_1": _change(self.gain.first),
        }

    def facts(self) -> dict[str, Any]:
        """What `info` says of it."""
        if self.gain is None:
            return {"method": "taken from another collection", "dim": self.dim}
        figures = {name: round(getattr(self.gain.map, name), 4) for name in ("before", "after", "low", "high")}
        return {"method": str(self.gain.method), "dim": self.dim, "images": self.images, "groups": self.groups} | {
            f"map_{name}": value for name, value in figures.items()
        }


def _change(change: Change) -> dict[str, Any]:
    interval = {"low": change.low, "high": change.high, "level": LEVEL}
    return {"before": change.before, "after": change.after, "difference": change.difference, "interval": interval}


def learn(store: Store, labels: Labels, seed: int = 0) -> tuple[Adaptation, Whitening | None]:
    """The finding, not applied, and the map; None where nothing is gained.

    Raises QueryError for labels of fewer groups of two images than `least_groups`.
    """
    started, random = time.perf_counter(), np.random.default_rng(seed)
    rows, unusable = _finite(store, sampled(labels, LEARNED, random))
    others = distractors(store, labels, random)
    _refuse_few(rows, len(others))
    measured = sampled(rows, MEASURED, random)
    middle = mean(store, random)
    data = coordinates(store.vectors.rows(measured.rows), others, middle)
    # Many small products: threads in each of them would only wait for one another.
    with threadpool_limits(1, "blas"):
        gained = gain(data, measured.groups, seed)
    learned = None
    if gained.is_proven:
        teaching = rows.without(~in_pairs(rows.groups))
        learned = fit(store.vectors.rows(teaching.rows), teaching.groups, gained.method, middle)
    # The encoder's own measurement is of vectors that are not mapped.
    usual = None if learned else model_for(store.header.fingerprint)
    parts = (store.vectors.rows(measured.rows), others)
    share = len(rows.rows) / max(1, len(store.catalog.live_rows()))
    mapped = Mapped(share, *(learned.apply(part) if learned and len(part) else part for part in parts))
    confidence = refitted(data, measured.groups, gained.method if learned else Method(), mapped, usual, seed)
    groups = rows.pairs
    finding = Adaptation(
        applied=False,
        dim=learned.dim if learned else store.header.dim,
        gain=gained,
        confidence=confidence,
        images=len(rows.rows),
        groups=groups,
        unknown=labels.unknown,
        contradicting=labels.contradicting,
        unusable=unusable,
        distractors=len(others),
        seconds=time.perf_counter() - started,
    )
    return finding, learned


def _refuse_few(labels: Labels, distractors: int) -> None:
    least = least_groups(distractors)
    if labels.pairs < least:
        counts = f"; {counted(labels.unknown, 'name is', 'names are')} of no image here" if labels.unknown else ""
        counts += (
            f"; {counted(labels.contradicting, 'image has', 'images have')} contradicting labels"
            if labels.contradicting
            else ""
        )
        raise QueryError(
            f"adapt: {counted(labels.pairs, 'group')} of two or more labelled images, and a gain cannot be proven with "
            f"fewer than {least}; label more things{counts}"
        )


def sampled(labels: Labels, most: int, random: np.random.Generator) -> Labels:
    """At most so many images: of each group the same number, of too many groups some; groups of one go first."""
    if len(labels.rows) <= most:
        return labels
    kept = labels.without(~in_pairs(labels.groups))
    numbers = random.permutation(np.unique(kept.groups))[: most // 2]
    each = max(2, most // max(1, len(numbers)))
    chosen = [random.permutation(np.flatnonzero(kept.groups == number))[:each] for number in numbers]
    is_chosen = np.zeros(len(kept.rows), np.bool_)
    is_chosen[np.concatenate(chosen) if chosen else []] = True
    return kept.without(~is_chosen)


def _finite(store: Store, labels: Labels) -> tuple[Labels, int]:
    """The labels of rows whose vectors are finite and whole, and how many are not."""
    vectors = store.vectors.rows(labels.rows)
    lost = ~(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1))
    return labels.without(lost), int(lost.sum())


def mean(store: Store, random: np.random.Generator) -> NDArray[np.float64]:
    """The mean vector (dim,) of a collection, or of a sample."""
    vectors = _some(store, store.catalog.live_rows(), SAMPLE, random)
    return np.asarray(vectors.mean(axis=0, dtype=np.float64))


def distractors(store: Store, labels: Labels, random: np.random.Generator) -> Vectors:
    """Some vectors of unlabelled images; none where these may well show what labelled ones do."""
    others = np.setdiff1d(store.catalog.live_rows(), labels.rows)
    others = others if len(others) >= FEW_LABELS * len(labels.rows) else others[:0]
    return _some(store, others, DISTRACTORS, random)


def _some(store: Store, rows: Ids, most: int, random: np.random.Generator) -> Vectors:
    """At most so many rows, without those that are not finite."""
    chosen = np.sort(random.permutation(rows)[:most])
    vectors = store.vectors.rows(chosen)
    return vectors[np.isfinite(vectors).all(axis=1)]
