"""Threads that work on behalf of the one that asked, with its context variables: the time that a request may take."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any


class Threads(ThreadPoolExecutor):
    """A pool whose jobs see the context variables of the thread that submits them."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As in any pool."""
        return super().submit(copy_context().run, fn, *args, **kwargs)
