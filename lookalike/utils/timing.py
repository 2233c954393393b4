"""The time of each stage of a search (decode, encode, search, rerank), measured while somebody listens."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Stage = Literal["decode", "encode", "search", "rerank"]

_heard: ContextVar[dict[Stage, float] | None] = ContextVar("heard", default=None)


@contextmanager
def listening() -> Iterator[dict[Stage, float]]:
    """Seconds in each stage within the block, in this thread or task; a stage that did not occur is missing."""
    seconds: dict[Stage, float] = {}
    token = _heard.set(seconds)
    try:
        yield seconds
    finally:
        _heard.reset(token)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Add the time of the block to a stage; costs almost nothing where nobody listens."""
    seconds = _heard.get()
    if seconds is None:
        yield
        return
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began
