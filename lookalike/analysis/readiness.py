"""Whether labels are enough for `adapt` to prove a gain, without reading a vector."""

from dataclasses import dataclass

from lookalike.analysis.adapt import DISTRACTORS, FEW_LABELS
from lookalike.analysis.cross_validation import least_groups
from lookalike.analysis.labels import Labels


@dataclass(frozen=True)
class Readiness:
    """How many groups of two images or more there are, and how many are needed at least."""

    groups: int
    least_groups: int

    @property
    def is_enough(self) -> bool:
        """Whether `adapt` may begin."""
        return self.groups >= self.least_groups


def readiness(labels: Labels, images: int) -> Readiness:
    """Of labels in a collection of so many images, as `adapt.learn` counts them where all vectors are finite."""
    labelled = len(labels.rows)
    others = images - labelled
    distractors = min(others, DISTRACTORS) if others >= FEW_LABELS * labelled else 0
    return Readiness(labels.pairs, least_groups(distractors))
