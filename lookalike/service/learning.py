"""`adapt` from marks, and its undoing, in a thread of its own beside the requests: one at a time."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from lookalike.collection.collection import Collection
from lookalike.errors import LookalikeError
from lookalike.service.errors import ApiError, of_library, try_later
from lookalike.utils.threads import Threads

log = logging.getLogger(__name__)

What = Literal["adapt", "undo"]


@dataclass
class Job:
    """What is done to the collection, how far it is, and how it ended."""

    what: What
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


class Learning:
    """Runs a job at a time; other changes of the collection are refused meanwhile, and do not wait for its end."""

    def __init__(self, writer: Callable[[], Collection], writing: threading.Lock) -> None:
        """`writer()` opens the collection again; `writing` is locked while a job runs."""
        self._writer, self._writing = writer, writing
        self._pool = Threads(1, thread_name_prefix="lookalike-learning")
        self._lock = threading.Lock()
        self._job: Job | None = None

    def refuse(self) -> None:
        """Raise ApiError 503 while a job runs."""
        if self._job is not None and self._job.state == "running":
            raise try_later("learning", "the collection is being adapted")

    def start(self, what: What) -> None:
        """Begin a job; raises ApiError 503 while another runs."""
        with self._lock:
            self.refuse()
            self._job = Job(what)
            self._pool.submit(self._run, self._job)

    def to_json(self) -> dict[str, Any]:
        """The newest job."""
        return self._job.to_json() if self._job else NOTHING

    def close(self) -> None:
        """Wait for the job that runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, job: Job) -> None:
        def progress(done: int, total: int | None) -> None:
            job.progress = done, total or 0

        try:
            with self._writing, self._writer() as collection:
                if job.what == "adapt":
                    job.outcome = collection.adapt(marks=True, progress=progress).to_json()
                else:
                    job.outcome = {"undone": True, "without_former_vector": collection.undo_adapt(progress)}
        except Exception as error:  # noqa: BLE001 - else it would seem to run for ever
            job.error = _described(error)
        job.seconds = time.monotonic() - job.started
        # Last: whoever reads it reads the outcome next.
        job.state = "failed" if job.error else "done"


def _described(error: Exception) -> dict[str, str]:
    if isinstance(error, LookalikeError):
        refusal = of_library(error)
    else:
        log.error("learning from marks", exc_info=error)
        refusal = ApiError(500, "internal", "something went wrong here")
    return {"code": refusal.code, "message": refusal.message, "hint": refusal.hint}
