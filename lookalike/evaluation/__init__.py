"""Measuring retrieval: metrics, protocols, reports, comparisons. `evaluate` is imported on first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike.evaluation.run import evaluate

__all__ = ["evaluate"]


def __getattr__(name: str) -> Any:
    # Importing `metrics`, which needs little, must not import everything that `evaluate` needs.
    if name != "evaluate":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lookalike.evaluation.run import evaluate

    return evaluate
