"""Measuring retrieval: metrics, protocols, reports, comparisons. `evaluate` is loaded when it is first asked for."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike.evaluation.run import evaluate

__all__ = ["evaluate"]


def __getattr__(name: str) -> Any:
    # `metrics` stands below everything that `evaluate` needs, and importing it must not import all that.
    if name != "evaluate":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lookalike.evaluation.run import evaluate

    return evaluate
