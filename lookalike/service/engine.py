"""The search server behind a service: whether it answers, asked at most once a second, and what its calls cost."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from lookalike.errors import LookalikeError
from lookalike.service.errors import ApiError, try_later
from lookalike.service.metrics import Metrics
from lookalike.utils.engine_calls import Outcome, heard_by

CACHED_SECONDS = 1.0
"""How long an answer of the server counts."""


class EngineState:
    """A circuit breaker: while the server does not answer a small question, no request waits for it."""

    def __init__(self, health: Callable[[], None], metrics: Metrics) -> None:
        """`health()` raises LookalikeError where the server does not answer."""
        self._health = health
        self._seconds, self._retries, self._errors = metrics.engine()
        self._stack = ExitStack()
        self._stack.enter_context(heard_by(self._count))
        self._ended = threading.Event()
        self._failure: str | None = None
        self._asking = threading.Lock()
        self._asked = -CACHED_SECONDS
        threading.Thread(target=self._watch, name="lookalike-engine", daemon=True).start()

    async def refusal(self) -> ApiError | None:
        """The 503 of a request that needs the server while it does not answer; asks it where that was long ago."""
        if time.monotonic() - self._asked >= 2 * CACHED_SECONDS and not self._asking.locked():
            await asyncio.to_thread(self._ask)
        return self.known_refusal()

    def known_refusal(self) -> ApiError | None:
        """As `refusal`, by the last answer alone."""
        # A question that has been open for long is an answer too.
        is_silent = self._asking.locked() and time.monotonic() - self._asked > 4 * CACHED_SECONDS
        if self._failure is None and not is_silent:
            return None
        return try_later("engine", "the search server does not answer", 5)

    def close(self) -> None:
        """Ask no more."""
        self._ended.set()
        self._stack.close()

    def _watch(self) -> None:
        while not self._ended.wait(CACHED_SECONDS):
            self._ask()

    def _ask(self) -> None:
        with self._asking:
            try:
                self._health()
                self._failure = None
            except LookalikeError as error:
                self._failure = str(error)
            self._asked = time.monotonic()

    def _count(self, outcome: Outcome, seconds: float) -> None:
        self._seconds.observe(seconds)
        if outcome == "retried":
            self._retries.inc()
        elif outcome == "failed":
            self._errors.inc()
