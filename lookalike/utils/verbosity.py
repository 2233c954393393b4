"""How much is said on stderr: only errors (-1), what one needs (0), or more (1)."""

from contextvars import ContextVar

LEVEL: ContextVar[int] = ContextVar("level", default=0)


def is_quiet() -> bool:
    """Whether nothing but errors is said: no notes, and no progress."""
    return LEVEL.get() < 0


def is_verbose() -> bool:
    """Whether more is said, such as how long each stage takes."""
    return LEVEL.get() > 0
