"""Long work beside the requests: one job at a time, in a thread of its own, with its progress and its end."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from lookalike.errors import LookalikeError
from lookalike.service.errors import ApiError, of_library
from lookalike.types import Progress
from lookalike.utils.threads import Threads

log = logging.getLogger(__name__)


@dataclass
class Job:
    """What is done, how far it is, and how it ended."""

    what: str
    state: Literal["running", "done", "failed"] = "running"
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    progress: tuple[int, int] = (0, 0)
    outcome: dict[str, Any] | None = None
    error: dict[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """For an answer of the service."""
        seconds = time.monotonic() - self.started if self.state == "running" else self.seconds
        facts = {"state": self.state, "what": self.what, "outcome": self.outcome, "error": self.error}
        return {**facts, "seconds": round(seconds, 1), "done": self.progress[0], "total": self.progress[1]}


NOTHING: dict[str, Any] = {
    "state": "idle", "what": None, "outcome": None, "error": None, "seconds": 0.0, "done": 0, "total": 0,
}  # fmt: skip
Work = Callable[[Progress], dict[str, Any]]
"""Does the job and returns its outcome."""


class Jobs:
    """Runs a job at a time and remembers the newest."""

    def __init__(self, name: str, refusal: Callable[[], ApiError]) -> None:
        """`refusal()` is what is raised for another job while one runs."""
        self._name, self._refusal = name, refusal
        self._pool = Threads(1, thread_name_prefix=f"lookalike-{name}")
        self._lock = threading.Lock()
        self._job: Job | None = None

    @property
    def is_running(self) -> bool:
        """Whether a job runs."""
        return self._job is not None and self._job.state == "running"

    def refuse(self) -> None:
        """Raise the refusal while a job runs."""
        if self.is_running:
            raise self._refusal()

    def start(self, what: str, work: Work) -> None:
        """Begin a job; raises the refusal while another runs."""
        with self._lock:
            self.refuse()
            self._job = Job(what)
            self._pool.submit(self._run, self._job, work)

    def to_json(self) -> dict[str, Any]:
        """The newest job."""
        return self._job.to_json() if self._job else NOTHING

    def close(self) -> None:
        """Wait for the job that runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: Job, work: Work) -> None:
        def progress(done: int, total: int | None) -> None:
            job.progress = done, total or 0

        try:
            job.outcome = work(progress)
        except Exception as error:  # noqa: BLE001 - else it would seem to run for ever
            job.error = self._described(error)
        job.seconds = time.monotonic() - job.started
        # Last: whoever reads it reads the outcome next.
        job.state = "failed" if job.error else "done"

    def _described(self, error: Exception) -> dict[str, str]:
        if isinstance(error, ApiError):
            refusal = error
        elif isinstance(error, LookalikeError):
            refusal = of_library(error)
        else:
            log.error("%s", self._name, exc_info=error)
            refusal = ApiError(500, "internal", "something went wrong here")
        return {"code": refusal.code, "message": refusal.message, "hint": refusal.hint}
