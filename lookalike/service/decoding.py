"""Uploads are checked by their headers; what could take long is decoded in a process that can be killed."""

import json
import subprocess
import sys
import threading
from queue import Empty, SimpleQueue

from lookalike.errors import ImageError
from lookalike.images import decode as images
from lookalike.images import effort
from lookalike.images.decode import Limits
from lookalike.images.effort import PARTS, TRIED_BYTES
from lookalike.service.batching import Slots
from lookalike.service.decode_worker import HEAD
from lookalike.service.errors import ApiError, of_image

__all__ = ["PARTS", "TRIED_BYTES", "Examiner"]
MEMORY_MIB = 4096
PROCESSES = 2


class Examiner:
    """Checks within `seconds` whether an upload can be used; safe in several threads."""

    def __init__(self, limits: Limits, seconds: float, slots: Slots) -> None:
        self._limits, self._seconds, self._slots = limits, seconds, slots
        self._turns = threading.Semaphore(PROCESSES)
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()

    def check(self, name: str, data: bytes, size: int | None) -> None:
        """Raises ApiError for what is no image, too large, damaged or slow; the search will decode it at `size`.

        Pillow cannot be interrupted in a thread. An image that is cheap by its header is decoded once, by the search;
        any other is decoded in a process of its own first.
        """
        try:
            if not images.sniff(data[:32]):
                raise ImageError("not an image" if data else "empty file")
            if len(data) > self._limits.bytes:
                raise ImageError(f"{len(data):,} bytes, over the limit of {self._limits.bytes:,}")
            if not effort.is_crowded(data) and not images.is_risky(data):
                facts = images.examine(data, self._limits)
                if effort.cost(facts.format, facts.width, facts.height, facts.passes) <= effort.TRIED_COST:
                    return
            with self._slots.lent():
                self._try(data, size)
        except ImageError as error:
            raise of_image(name, error) from error

    def _try(self, data: bytes, size: int | None) -> None:
        with self._turns:
            worker = self._worker()
            timer = threading.Timer(self._seconds, worker.kill)
            timer.start()
            try:
                reason = _answer(worker, HEAD.pack(len(data), self._limits.pixels, size or 0, MEMORY_MIB) + data)
            except (OSError, ValueError) as error:
                worker.kill()
                worker.wait()
                killed = not timer.is_alive()
                _close(worker)
                message = f"takes more than {self._seconds:g} seconds to decode" if killed else "cannot be decoded"
                raise ApiError(422, "slow_image" if killed else "bad_image", message, "send another copy") from error
            finally:
                timer.cancel()
            self._idle.put(worker)
        if reason:
            raise ImageError(reason)

    def _worker(self) -> "subprocess.Popen[bytes]":
        while True:
            try:
                worker = self._idle.get_nowait()
            except Empty:
                command = [sys.executable, "-m", "lookalike.service.decode_worker"]
                return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            if worker.poll() is None:
                return worker
            _close(worker)

    def close(self) -> None:
        """End the processes."""
        while True:
            try:
                worker = self._idle.get_nowait()
            except Empty:
                return
            worker.kill()
            worker.wait()
            _close(worker)


def _answer(worker: "subprocess.Popen[bytes]", message: bytes) -> str:
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write(message)
    worker.stdin.flush()
    answer = json.loads(worker.stdout.readline())
    if not isinstance(answer, str):
        raise ValueError(answer)
    return answer


def _close(worker: "subprocess.Popen[bytes]") -> None:
    for stream in (worker.stdin, worker.stdout):
        try:
            if stream:
                stream.close()
        except OSError:
            # The rest of an image that a killed process did not read.
            continue
