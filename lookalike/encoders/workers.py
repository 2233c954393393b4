"""Image bytes to prepared arrays in worker processes, for encoders so fast that threads of one process are too slow.

Each worker is a Python process fed over pipes. Unlike a pool of `multiprocessing`, it never imports the program that
uses the library, so a script without a `__main__` guard is safe. Only messages of this module cross the pipes, between
processes of one user.
"""

import contextlib
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import ImageError, LookalikeError
from lookalike.images.decode import decode
from lookalike.images.decode import prepare as prepare_decoded
from lookalike.images.facts import PhotoFacts
from lookalike.types import Preparation


@dataclass(frozen=True)
class Prepared:
    """The array for `encode_batch`, the size of the upright picture, and what its file says of itself."""

    array: NDArray[Any]
    width: int
    height: int
    facts: PhotoFacts | None = None


def prepare(preparation: Preparation, data: bytes) -> Prepared:
    """Image bytes to the array for the encoder; raises ImageError."""
    decoded = decode(data, size=preparation.decode_size)
    return Prepared(prepare_decoded(preparation, decoded), decoded.width, decoded.height, decoded.facts)


class Workers:
    """`count` processes that run `prepare`; `run` may be called from several threads at once. Use it in a `with`."""

    def __init__(self, preparation: Preparation, count: int) -> None:
        """`preparation` must be picklable; a process is started when a picture waits and none is free."""
        self._preparation, self._count = preparation, count
        self._started: list[subprocess.Popen[bytes]] = []
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._lock = threading.Lock()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._started:
            for pipe in (worker.stdin, worker.stdout):
                # Data that a dead worker did not read cannot be flushed.
                with contextlib.suppress(OSError):
                    if pipe:
                        pipe.close()
            worker.terminate()
        for worker in self._started:
            worker.wait()

    def run(self, data: bytes) -> Prepared:
        """Prepare a picture in the next free worker; raises ImageError, and LookalikeError where the worker died."""
        worker = self._take()
        assert worker.stdin
        assert worker.stdout
        try:
            _send(worker.stdin, data)
            answer = _receive(worker.stdout)
        except (OSError, EOFError, ValueError) as error:
            raise LookalikeError(
                f"a decoding process ended by itself (status {worker.poll()}), perhaps for want of memory; "
                "set LOOKALIKE_THREADS lower"
            ) from error
        finally:
            self._free.put(worker)
        if isinstance(answer, str):
            raise ImageError(answer)
        return Prepared(*answer)

    def _take(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._free.empty() and len(self._started) < self._count:
                self._started.append(_start(self._preparation))
                return self._started[-1]
        return self._free.get()


def _start(preparation: Preparation) -> "subprocess.Popen[bytes]":
    # The same search path: `-m` would search the current folder first, which may hold anything.
    program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"
    command = [sys.executable, "-c", program]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdin
    _send(worker.stdin, preparation)
    return worker


def _send(pipe: IO[bytes], value: Any) -> None:
    pickle.dump(value, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def _receive(pipe: IO[bytes] | None) -> Any:
    assert pipe
    return pickle.load(pipe)  # noqa: S301 - from a process of this pool


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """The loop of a worker: reads a preparation, then pictures until the pipe is closed."""
    preparation: Preparation = _receive(requests)
    while True:
        try:
            data = _receive(requests)
        except EOFError:
            return
        try:
            prepared = prepare(preparation, data)
            array = np.ascontiguousarray(prepared.array)
            answer: str | Sequence[Any] = (array, prepared.width, prepared.height, prepared.facts)
        except ImageError as error:
            answer = str(error)
        _send(answers, answer)


def main() -> None:
    """The entry point of a worker process."""
    import signal

    # Ctrl-C goes to the whole process group; only the parent ends a worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(sys.stdin.buffer, sys.stdout.buffer)
