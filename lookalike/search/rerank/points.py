"""How many points of the query agree with each candidate, for whoever wants to show it beside the result."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_NOTED: ContextVar[dict[str, int] | None] = ContextVar("points", default=None)


@contextmanager
def noted() -> Iterator[Mapping[str, int]]:
    """The inliers of candidates that are verified within the block, in this thread, by the SHA-256 of their files."""
    counts: dict[str, int] = {}
    token = _NOTED.set(counts)
    try:
        yield counts
    finally:
        _NOTED.reset(token)


def note(counts: Mapping[int, int], content: Callable[[int], str]) -> None:
    """Tell what was counted by row, of which `content` is the SHA-256; nothing happens where nobody wants to know."""
    wanted = _NOTED.get()
    if wanted is not None:
        wanted.update({content(row): count for row, count in counts.items()})
