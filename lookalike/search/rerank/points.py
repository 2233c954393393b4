"""How many points of the query agree with each candidate, for whoever wants to show it beside the result."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_NOTED: ContextVar[dict[int, int] | None] = ContextVar("points", default=None)


@contextmanager
def noted() -> Iterator[Mapping[int, int]]:
    """The inliers by row of the candidates that are verified within the block, in this thread."""
    counts: dict[int, int] = {}
    token = _NOTED.set(counts)
    try:
        yield counts
    finally:
        _NOTED.reset(token)


def note(counts: Mapping[int, int]) -> None:
    """Tell what was counted; nothing happens where nobody wants to know."""
    wanted = _NOTED.get()
    if wanted is not None:
        wanted.update(counts)
