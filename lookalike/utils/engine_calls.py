"""What calls to a search server took, and how they ended, to whoever counts them: a service's metrics."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Outcome = Literal["answered", "retried", "failed"]
Listener = Callable[[Outcome, float], None]

_LISTENERS: list[Listener] = []


def report(outcome: Outcome, seconds: float) -> None:
    """One attempt of a call: it was answered, will be repeated, or has failed for good."""
    for listener in tuple(_LISTENERS):
        listener(outcome, seconds)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Inside, `listener` hears of every attempt of this process, from any thread."""
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)
