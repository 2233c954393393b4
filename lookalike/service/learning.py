"""`adapt` from marks, and its undoing, in a thread of its own beside the requests: one at a time."""

import threading
from collections.abc import Callable
from typing import Any, Literal

from lookalike.collection.collection import Collection
from lookalike.service.errors import try_later
from lookalike.service.jobs import Jobs
from lookalike.types import Progress

What = Literal["adapt", "undo"]


class Learning:
    """Runs a job at a time; other changes of the collection are refused meanwhile, and do not wait for its end."""

    def __init__(self, writer: Callable[[], Collection], writing: threading.Lock) -> None:
        """`writer()` opens the collection again; `writing` is locked while a job runs."""
        self._writer, self._writing = writer, writing
        self._jobs = Jobs("learning", lambda: try_later("learning", "the collection is being adapted"))

    def refuse(self) -> None:
        """Raise ApiError 503 while a job runs."""
        self._jobs.refuse()

    def start(self, what: What) -> None:
        """Begin a job; raises ApiError 503 while another runs."""
        self._jobs.start(what, self._adapt if what == "adapt" else self._undo)

    def to_json(self) -> dict[str, Any]:
        """The newest job."""
        return self._jobs.to_json()

    def close(self) -> None:
        """Wait for the job that runs."""
        self._jobs.close()

    def _adapt(self, progress: Progress) -> dict[str, Any]:
        with self._writing, self._writer() as collection:
            return collection.adapt(marks=True, progress=progress).to_json()

    def _undo(self, progress: Progress) -> dict[str, Any]:
        with self._writing, self._writer() as collection:
            return {"undone": True, "without_former_vector": collection.undo_adapt(progress)}
