"""Single arrays from many threads to a few large batches for the encoder."""

import copy
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.types import Encoder, Vectors

log = logging.getLogger(__name__)

Arrays = Sequence[NDArray[Any]]
BATCH = 8


class Slots:
    """Limits how many threads compute at a time; a thread that waits for a batch lends its slot to another."""

    def __init__(self, count: int) -> None:
        self._free = threading.Semaphore(count)
        self._local = threading.local()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """A slot for the block, waited for."""
        with self._free:
            self._local.slot = True
            try:
                yield
            finally:
                self._local.slot = False

    @contextmanager
    def lent(self) -> Iterator[None]:
        """The slot of this thread, if it has one, free for others during the block."""
        if not getattr(self._local, "slot", False):
            yield
            return
        self._free.release()
        try:
            yield
        finally:
            self._free.acquire()


class Batcher:
    """One thread that encodes, as one batch, all arrays that arrived while it encoded the batch before.

    No request waits for a batch to fill: a single one is encoded at once, and batches grow with the load.
    """

    def __init__(
        self,
        encode: Callable[[Arrays], Vectors],
        slots: Slots,
        most: int = BATCH,
        seen: Callable[[int], None] | None = None,
    ) -> None:
        self._encode, self._slots, self._most, self._seen = encode, slots, most, seen
        self._queue: SimpleQueue[tuple[Arrays, Future[Vectors]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lookalike-batches", daemon=True)
        self._thread.start()

    def encode_batch(self, prepared: Arrays) -> Vectors:
        """As `Encoder.encode_batch`: unit rows (n, dim)."""
        done: Future[Vectors] = Future()
        self._queue.put((prepared, done))
        with self._slots.lent():
            return done.result()

    def close(self) -> None:
        """Encode what is in the queue, then stop."""
        self._queue.put(None)
        self._thread.join(timeout=60)

    def _run(self) -> None:
        while job := self._queue.get():
            jobs, size = [job], len(job[0])
            while size < self._most and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    self._queue.put(None)
                    break
                jobs.append(following)
                size += len(following[0])
            if self._seen:
                self._seen(size)
            self._answer(jobs)

    def _answer(self, jobs: list[tuple[Arrays, "Future[Vectors]"]]) -> None:
        try:
            vectors = self._encode([array for arrays, _ in jobs for array in arrays])
        except Exception as error:  # noqa: BLE001 - it is raised where the array came from
            if len(jobs) == 1:
                jobs[0][1].set_exception(error)
                return
            log.warning("a batch of %d failed (%s); its parts are tried one at a time", len(jobs), error)
            for job in jobs:
                self._answer([job])
            return
        start = 0
        for arrays, done in jobs:
            done.set_result(np.asarray(vectors[start : start + len(arrays)]))
            start += len(arrays)


def batched(encoder: Encoder, batcher: Batcher) -> Encoder:
    """A copy of the encoder, with all its methods (text, patches), whose `encode_batch` goes through `batcher`."""
    through = copy.copy(encoder)
    # Set on the copy: a wrapper class would have to repeat every Protocol that an encoder may meet.
    object.__setattr__(through, "encode_batch", batcher.encode_batch)
    return through
