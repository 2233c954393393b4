"""Requests that compute, in a bounded number of threads beside the event loop; a bounded number may wait."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lookalike.images.decode import SECONDS
from lookalike.service.batching import Slots
from lookalike.service.errors import ApiError, try_later
from lookalike.service.metrics import Metrics
from lookalike.utils.timing import listening

T = TypeVar("T")
OUT_OF_TIME = "timeout graceful shutdown exceeded"
"""The message of uvicorn when it cancels requests that did not end within the grace period."""


class Work:
    """Threads that compute within `slots`, and more that may wait for a batch of the encoder."""

    def __init__(
        self,
        slots: Slots,
        workers: int,
        waiting: int,
        metrics: Metrics,
        what: str,
        more: int = 0,
        seconds: float = 10.0,
    ) -> None:
        """There are `workers` + `more` threads, and `waiting` jobs may wait for one.

        A job may decode a picture for `seconds`, whoever has tried it before.
        """
        self._seconds = seconds
        self._slots, self._most, self._metrics = slots, workers + more + waiting, metrics
        self._gap, self._ended = 0.05 / workers, 0.0
        self._pool = ThreadPoolExecutor(workers + more, thread_name_prefix="lookalike-work")
        # One worker is left for what is quick, where there are several.
        self._heavy = asyncio.Semaphore(max(1, workers - 1))
        self.pending = 0
        metrics.gauge(f"lookalike_pending_{what}", "That run or wait.", lambda: self.pending)

    def refusal(self) -> ApiError | None:
        """The 429 for a request where too many wait already; None where it may compute."""
        if self.pending < self._most:
            return None
        seconds = max(1, min(30, math.ceil(self.pending * self._gap)))
        return ApiError(
            429, "busy", f"{self.pending} requests are waiting already", f"try again after {seconds} seconds",
            {"Retry-After": str(seconds)},
        )  # fmt: skip

    async def run(self, job: Callable[[], T], heavy: bool = False) -> T:
        """`job()` in a thread; raises ApiError 429 where too many wait already. Few `heavy` jobs run at a time."""
        if refusal := self.refusal():
            raise refusal
        self.pending += 1
        if heavy:
            try:
                await self._heavy.acquire()
            except asyncio.CancelledError:
                self.pending -= 1
                raise
        future = self._pool.submit(self._timed, job)
        # Counted until the thread is done, even where the client has left.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._finished, heavy))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError as error:
            if OUT_OF_TIME not in str(error):
                raise
            raise try_later("ending", "the service is ending, and this took too long") from error

    def _finished(self, heavy: bool) -> None:
        self.pending -= 1
        if heavy:
            self._heavy.release()
        now = time.monotonic()
        # The time between the ends of two jobs, not that of a job: several wait for one batch.
        if self._ended:
            self._gap += 0.05 * (now - self._ended - self._gap)
        self._ended = now if self.pending else 0.0

    def _timed(self, job: Callable[[], T]) -> T:
        with self._slots.taken(), listening() as stages:
            SECONDS.set(self._seconds)
            try:
                return job()
            finally:
                for stage, seconds in stages.items():
                    self._metrics.stage_seconds.labels(stage).observe(seconds)

    def close(self) -> None:
        """Finish the jobs that run; drop those that wait."""
        self._pool.shutdown(wait=True, cancel_futures=True)
