"""Labelled vectors to the confidence of their collection, and what it is worth on groups that it was not fitted on.

As in `cross_validation`, what anything was fitted on is never in the gallery that it is measured in. Each group is held
out once: its queries are answered by a map that was learned without it, and judged by a model that was fitted to the
answers of the other parts. Half of the images that are in no group are for fitting, half for measuring. Unlabelled
images are queries too, and count as such without a match; those whose nearest image is nearer than half of the right
first results are, are not fitted to: nobody has looked whether they have one.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lookalike.analysis.cross_validation import ENOUGH, FOLDS, Turned, folds, in_pairs, queries_of
from lookalike.encoders.adaptation import Coordinates, Groups, Method, directions
from lookalike.errors import LookalikeError
from lookalike.search.confidence import (
    FIRST,
    FURTHER,
    ORDINARY,
    Evidence,
    Logistic,
    Model,
    Tail,
    expected_error,
    fit_answers,
    is_same,
    shares,
)
from lookalike.search.evidence import BEST
from lookalike.search.searcher import SAMPLED
from lookalike.types import Scores, Vectors
from lookalike.utils.text import counted

QUERIES, RIGHT = 100, 50
"""Held-out queries that are needed, and right first results of theirs."""
FALSE, KEPT, ERROR = 0.05, 0.5, 0.1
"""At most so many false answers, at least so many right ones kept, and at most this expected calibration error."""


@dataclass(frozen=True)
class Refit:
    """What a confidence reached on held-out groups: of `queries` with their positives, and again without them.

    `first_right` is the share whose first result is right with them; `false_found` the share that is answered with
    `found` without them; `kept` the share of right first results that count as the same thing; `error` the expected
    calibration error of first results of both kinds. `ordinary_found` is the share of unlabelled images that are
    answered with `found`, rightly or wrongly; None where none were asked with.
    """

    queries: int
    wrong: int
    first_right: float = 0.0
    false_found: float = 0.0
    kept: float = 0.0
    error: float = 0.0
    ordinary_found: float | None = None
    model: Model | None = None

    @property
    def shortfall(self) -> str | None:
        """Why it is not good enough to be stored; None where it is."""
        if self.queries < QUERIES:
            return f"{counted(self.queries, 'labelled image')} to ask with, and {QUERIES} are needed"
        if self.wrong < ENOUGH:
            return f"{counted(self.wrong, 'other image')} beside those of a held-out group, and {ENOUGH} are needed"
        if self.model is None or self.first_right * self.queries < RIGHT:
            return f"fewer than {RIGHT} first results are right"
        if self.false_found > FALSE:
            return f"{self.false_found:.1%} of the queries without a match are answered, and {FALSE:.0%} may be"
        if self.kept < KEPT:
            return f"{self.kept:.0%} of the right first results are kept, and {KEPT:.0%} must be"
        return f"calibration error {self.error:.3f}, and {ERROR} may be" if self.error > ERROR else None

    def figures(self) -> dict[str, Any]:
        """The figures, for JSON."""
        names = ("queries", "first_right", "false_found", "kept", "error")
        shown = {name: round(getattr(self, name), 4) for name in names}
        ordinary = self.ordinary_found
        return shown | {"ordinary_found": None if ordinary is None else round(ordinary, 4)}

    def to_json(self) -> dict[str, Any]:
        """The figures, and what is missing."""
        return {"good_enough": self.shortfall is None, "reason": self.shortfall, **self.figures()}

    def to_store(self) -> dict[str, Any] | None:
        """What a collection keeps of it (see `storage.refitted`); None where it is not good enough."""
        if self.model is None or self.shortfall is not None:
            return None
        return {"model": self.model.to_json(), "figures": self.figures()}


NOBODY = -1


@dataclass(frozen=True)
class Sample:
    """The nearest images of a held-out query of a `group`, and which of them are right; `removed`: its positives are.

    Unlabelled images have the group `NOBODY`. `usual` are cosines to images of all kinds, as they are in the
    collection; `rows` is the number of images that were searched.
    """

    group: int
    removed: bool
    cosines: Scores
    right: NDArray[np.bool_]
    usual: Scores
    rows: int

    def evidence(self, typical: Tail | None) -> Evidence:
        """What a search would know."""
        return Evidence(self.cosines, float(self.cosines[0]), Tail.of(self.usual, self.rows, typical))


@dataclass(frozen=True)
class Part:
    """The answers of some held-out groups, beside either half of the images that are in no group."""

    fitting: list[Sample]
    measuring: list[Sample]


@dataclass(frozen=True)
class Mapped:
    """Unit rows of labelled images and of the background in the end; `share` of a collection's images are labelled."""

    share: float
    labelled: Vectors
    background: Vectors

    def met(self, others: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Places of as many labelled images as so many others have beside them in the collection."""
        count = len(self.labelled) if self.share >= 1 or not others else others * self.share / (1 - self.share)
        return np.asarray(random.permutation(len(self.labelled))[: round(count)], np.int64)


def refitted(
    data: Coordinates,
    groups: Groups,
    method: Method,
    mapped: Mapped,
    usual: Model | None = None,
    seed: int = 0,
) -> Refit:
    """The confidence of vectors that `method` maps, and that are `mapped` by what it learns from all labels.

    `usual` is the encoder's model, where they are not mapped: of that it keeps the typical tail, and what it says of
    pixels, which labels are not compared by.
    """
    random = np.random.default_rng(seed)
    with threadpool_limits(1, "blas"):
        parts = list(_parts(data, groups, method, mapped, random))
        halves = [list(_unlabelled(mapped.background[half::2], mapped, random)) for half in (0, 1)]
    measuring = [sample for part in parts for sample in part.measuring]
    plain = Refit(len(measuring) // 2, min((sample.rows for sample in measuring if sample.removed), default=0))
    parts = _with_ordinary(parts, halves)
    if plain.queries < QUERIES or plain.wrong < ENOUGH:
        return plain
    try:
        return _measured(parts, plain, usual)
    except LookalikeError:
        # All results of some parts are wrong, or all are right.
        return plain


def _measured(parts: Sequence[Part], plain: Refit, usual: Model | None) -> Refit:
    judged, ordinary = [], []
    for part in parts:
        model = fitted([sample for other in parts if other is not part for sample in other.fitting], usual)
        answers = [(sample, model.predict(sample.evidence(model.typical))) for sample in part.measuring]
        judged += [answer for answer in answers if answer[0].group != NOBODY]
        ordinary += [is_same(float(answer[1].max())) for answer in answers if answer[0].group == NOBODY]
    first = np.array([confidences[0] for _, confidences in judged])
    right = np.array([sample.right[0] for sample, _ in judged])
    removed = np.array([sample.removed for sample, _ in judged])
    answered = np.array([is_same(float(confidences.max())) for _, confidences in judged])
    return Refit(
        plain.queries,
        plain.wrong,
        first_right=float(right[~removed].mean()),
        false_found=float(answered[removed].mean()),
        kept=float((first[right] > 0.5).mean()) if right.any() else 0.0,
        error=expected_error(first, right),
        ordinary_found=float(np.mean(ordinary)) if ordinary else None,
        model=fitted([sample for part in parts for sample in part.fitting + part.measuring], usual),
    )


def _parts(
    data: Coordinates, groups: Groups, method: Method, mapped: Mapped, random: np.random.Generator
) -> Iterator[Part]:
    paired = in_pairs(groups)
    held_outs = folds(data, groups[paired], FOLDS, random)
    # Images of no group: those that are labelled alone, and the background.
    alone, others = np.flatnonzero(~paired), np.arange(len(data.background))
    for held_out in held_outs:
        is_held = np.isin(groups, held_out)
        queries = queries_of(groups, held_out, random)
        train = paired & ~is_held
        learned = directions(data.labelled[train], groups[train], data.dim)
        rows, background = Turned.of(data, learned).mapped(groups, train, method)
        held = np.flatnonzero(is_held)
        halves = []
        for half in (0, 1):
            beside = background[others[half::2]]
            met = mapped.met(len(beside), random)
            beside = np.vstack([rows[alone[half::2]], beside])
            halves.append(list(_answers(rows, groups, queries, held, beside, met)))
        yield Part(*halves)


def _answers(
    rows: Vectors,
    groups: Groups,
    queries: NDArray[np.int64],
    held: NDArray[np.int64],
    others: Vectors,
    met: NDArray[np.int64],
) -> Iterator[Sample]:
    """Each query twice, with its positives and without, among the held-out images and `others`.

    Its usual cosines are to `others` and to the labelled images `met`: a search meets these, too.
    """
    for query in queries.tolist():
        among_held, same = rows[held] @ rows[query], groups[held] == groups[query]
        wrong = np.concatenate([among_held[~same], others @ rows[query]])
        positives = among_held[same & (held != query)]
        of_others, of_labelled = others @ rows[query], rows[met] @ rows[query]
        is_same_thing = groups[met] == groups[query]
        for removed, right in ((False, positives), (True, positives[:0])):
            cosines = np.concatenate([wrong, right])
            counted = ~is_same_thing if removed else met != query
            usual = np.random.default_rng(0).permutation(np.concatenate([of_others, of_labelled[counted]]))[:SAMPLED]
            if len(cosines):
                # Of equal cosines the wrong one comes first.
                nearest = np.argsort(-cosines, kind="stable")[:BEST]
                is_right = nearest >= len(wrong)
                yield Sample(int(groups[query]), removed, cosines[nearest], is_right, usual, len(cosines))


def _with_ordinary(parts: Sequence[Part], halves: Sequence[list[Sample]]) -> list[Part]:
    """The same parts with a share of the answers to unlabelled images each."""
    fitting, measuring = ([half[at :: len(parts)] for at in range(len(parts))] for half in halves)
    return [
        Part(part.fitting + more, part.measuring + other)
        for part, more, other in zip(parts, fitting, measuring, strict=True)
    ]


def _unlabelled(rows: Vectors, mapped: Mapped, random: np.random.Generator) -> Iterator[Sample]:
    """Some of these images as queries, each among the others."""
    met = mapped.labelled[mapped.met(len(rows), random)]
    for query in range(0, len(rows), max(1, -(-len(rows) // (ORDINARY // 2)))) if len(rows) > 1 else ():
        cosines = np.delete(rows @ rows[query], query)
        nearest = np.sort(cosines)[::-1][:BEST]
        usual = np.random.default_rng(0).permutation(np.concatenate([cosines, met @ rows[query]]))[:SAMPLED]
        yield Sample(NOBODY, True, nearest, np.zeros(len(nearest), np.bool_), usual, len(cosines))


def fitted(samples: Sequence[Sample], usual: Model | None = None) -> Model:
    """The model of these answers, in which each group counts the same; raises LookalikeError where all are right."""
    samples = _doubtless(samples)
    typical = usual.typical if usual else Tail.middle([sample.evidence(None).tail for sample in samples])
    evidences = [sample.evidence(typical) for sample in samples]
    first = _regression(samples, evidences, FIRST, slice(0, 1))
    further = _regression(samples, evidences, FURTHER, slice(1, None))
    if usual:
        return Model(typical, first, further, usual.verified, usual.verified_further)
    return Model(typical, first, further, _blind(first), _blind(further))


def _doubtless(samples: Sequence[Sample]) -> list[Sample]:
    """The same without unlabelled queries whose nearest image is nearer than half of the right first results are."""
    right = [float(sample.cosines[0]) for sample in samples if sample.right[0]]
    most = float(np.median(right)) if right else 1.0
    return [sample for sample in samples if sample.group != NOBODY or sample.cosines[0] <= most]


def _blind(plain: Logistic) -> Logistic:
    """The same of verified candidates: pixels do not count."""
    return Logistic((*plain.weights, 0.0), plain.bias)


def _regression(
    samples: Sequence[Sample], evidences: Sequence[Evidence], names: Sequence[str], places: slice
) -> Logistic:
    share = _shares(samples)
    return fit_answers(
        [evidence.features(names)[places] for evidence in evidences],
        [sample.right[places] for sample in samples],
        [share[sample.group] for sample in samples],
    )


def _shares(samples: Sequence[Sample]) -> dict[int, float]:
    """Group to the weight of each of its answers."""
    counts = Counter(sample.group for sample in samples)
    ordinary = counts.pop(NOBODY, 0)
    weights, of_ordinary = shares(counts, ordinary)
    return weights | {NOBODY: of_ordinary}
