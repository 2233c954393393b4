"""How much is said on stderr: only errors (-1), what one needs (0), or more (1); and how a line begins there."""

import sys
from contextvars import ContextVar

from lookalike.utils.text import printable

LEVEL: ContextVar[int] = ContextVar("level", default=0)


def is_quiet() -> bool:
    """Whether nothing but errors is said: no notes, and no progress."""
    return LEVEL.get() < 0


def is_verbose() -> bool:
    """Whether more is said, such as how long each stage takes."""
    return LEVEL.get() > 0


def complain(line: str) -> None:
    """Print a line on stderr behind the name of the program, with control characters escaped."""
    print(f"lookalike: {printable(line)}", file=sys.stderr, flush=True)
