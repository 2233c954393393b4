"""Uploads are checked by their headers; what could take long is decoded in a process that can be killed."""

import json
import subprocess
import sys
import threading
from queue import Empty, SimpleQueue

from lookalike.errors import ImageError
from lookalike.images import decode as images
from lookalike.images.decode import Limits
from lookalike.service.batching import Slots
from lookalike.service.decode_worker import HEAD
from lookalike.service.errors import ApiError, of_image

PARTS = 2000
"""Segments or chunks above which a file goes to the process: Pillow takes seconds over 100,000 empty ones."""
TRIED_BYTES = 256 * 1024
"""Bytes above which files of other formats, whose parts are not counted here, go to the process."""
TRIED_COST = 30_000_000
"""Pixels times passes above which an image goes to the process; below, no format takes a second or two."""
COSTS = {"JPEG2000": 10, "AVIF": 3, "HEIF": 4, "WEBP": 2, "TIFF": 2}
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
            if not is_crowded(data):
                facts = images.examine(data, self._limits)
                cost = facts.width * facts.height * facts.passes * COSTS.get(facts.format, 1)
                if cost <= TRIED_COST:
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


def is_crowded(data: bytes) -> bool:
    """Whether a file has so many parts that reading its header alone could take long."""
    if data.startswith(b"\x89PNG"):
        return _count_chunks(data) > PARTS
    if data.startswith(b"\xff\xd8"):
        return _count_segments(data) > PARTS
    return len(data) > TRIED_BYTES


def _count_chunks(data: bytes) -> int:
    """The chunks of a PNG, counted up to one above the limit."""
    count, at = 0, 8
    while at + 8 <= len(data) and count <= PARTS:
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        count += 1
    return count


def _count_segments(data: bytes) -> int:
    """The segments of a JPEG before its first scan, counted likewise; bytes between segments count too."""
    count, at = 0, 2
    while at + 4 <= len(data) and data[at : at + 2] != b"\xff\xda" and count <= PARTS:
        is_segment = data[at] == 0xFF and data[at + 1] not in (0, 0xFF)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big") if is_segment else 1
        count += 1
    return count


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
