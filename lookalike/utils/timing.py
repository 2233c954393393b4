"""How long each part of a search takes: decode, encode, search and re-rank, heard by whoever listens."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Stage = Literal["decode", "encode", "search", "rerank"]

_heard: ContextVar[dict[Stage, float] | None] = ContextVar("heard", default=None)


@contextmanager
def listening() -> Iterator[dict[Stage, float]]:
    """Seconds spent in each stage inside the block, in this thread or task; stages that did not occur are missing."""
    seconds: dict[Stage, float] = {}
    token = _heard.set(seconds)
    try:
        yield seconds
    finally:
        _heard.reset(token)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Count what happens inside the block towards a stage; costs next to nothing where nobody listens."""
    seconds = _heard.get()
    if seconds is None:
        yield
        return
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began
