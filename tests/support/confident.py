"""A model of confidence whose numbers can be worked out by hand, for encoders of tests, which have no measured row."""

import pytest

from lookalike.search import evidence
from lookalike.search.confidence import Logistic, Model, Tail

MODEL = Model(
    typical=Tail(0.0, 1.0, 100),
    first=Logistic((20.0, 0.0), -19.0),
    further=Logistic((20.0, 0.0, 0.0), -18.5),
    verified=Logistic((0.0, 0.0, 2.0), -3.0),
    verified_further=Logistic((0.0, 0.0, 0.0, 2.0), -3.0),
)
"""As likely as not at a cosine of .95 for the nearest image, and at log(1 + inliers - 4) = 1.5 for verified ones."""


def measured(patch: pytest.MonkeyPatch, model: Model | None = MODEL) -> None:
    """From now on every encoder has this model."""
    patch.setattr(evidence, "model_for", lambda fingerprint: model)
