"""Scores of pairs, right and wrong, to the figures of copy detection: one threshold for all queries."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.types import Scores

MOST_PAIRS = 500_000
"""The best pairs that count, as in the rules of the Image Similarity Challenge (DISC21); so memory is bounded."""
PRECISION = 0.9


@dataclass(frozen=True)
class MicroFigures:
    """µAP, and the recall at the threshold of precision .9; of `pairs` scored pairs and `positives` right ones."""

    average_precision: float
    recall_at_p90: float
    pairs: int
    positives: int


class PairScores:
    """The best scores over all queries, and which of their pairs are right."""

    def __init__(self, most: int = MOST_PAIRS) -> None:
        self._most = most
        self._scores: list[Scores] = []
        self._right: list[NDArray[np.bool_]] = []
        self._pending = 0
        self._floor = -np.inf
        self.positives = 0

    def add(self, scores: Scores, right: NDArray[np.bool_], positives: int) -> None:
        """A query's ranking (n,), without junk, and how many right images it should find."""
        above = scores > self._floor
        self._scores.append(scores[above])
        self._right.append(right[above])
        self.positives += positives
        self._pending += len(self._scores[-1])
        if self._pending > 2 * self._most:
            self._prune()

    def figures(self) -> MicroFigures:
        """Precision at every distinct score, weighted by the recall that it adds; NaN without positives."""
        scores, right = self._prune()
        if not self.positives:
            return MicroFigures(float("nan"), float("nan"), len(scores), 0)
        # Pairs of one score are above or below a threshold together.
        last = np.append(np.diff(scores) != 0, True)[: len(scores)]
        hits, ranks = np.cumsum(right)[last], np.flatnonzero(last) + 1
        precision, recall = hits / ranks, hits / self.positives
        gained = np.diff(recall, prepend=0.0)
        good = recall[precision >= PRECISION]
        return MicroFigures(
            float((gained * precision).sum()), float(good.max(initial=0.0)), len(scores), self.positives
        )

    def _prune(self) -> tuple[Scores, NDArray[np.bool_]]:
        """The best pairs, in their order; of a score that is cut through, none stays."""
        scores = np.concatenate([np.zeros(0, np.float32), *self._scores])
        right = np.concatenate([np.zeros(0, np.bool_), *self._right])
        order = np.argsort(-scores, kind="stable")
        scores, right = scores[order], right[order]
        if len(scores) > self._most:
            self._floor = float(scores[self._most])
            scores, right = scores[scores > self._floor], right[scores > self._floor]
        self._scores, self._right, self._pending = [scores], [right], len(scores)
        return scores, right
