"""Work on hostile bytes in processes that are killed when it takes too long: a question in, an answer and bytes out.

A process answers one question at a time over pipes. What it says is read as JSON within limits, never unpickled: bytes
may have taken the process over.
"""

import atexit
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import IO, Any

HEAD = struct.Struct("<QQ")
"""The lengths of the JSON and of the bytes after it."""
LONGEST_JSON = 64 * 1024
START_SECONDS = 60.0
MEMORY = 4096 * 1024 * 1024
Answer = tuple[dict[str, Any], Iterable[bytes]]


class TooSlow(Exception):  # noqa: N818 - an outcome, not a fault of the program
    """The process was killed, as its time was up."""


class Processes:
    """Up to `count` processes that run the Python `program`; safe in several threads, and after a fork."""

    def __init__(self, program: str, count: int) -> None:
        """The program has to call `answer_all`. A process is started when none is free, and stays for the next one."""
        self._program, self._count = program, count
        self._forget()
        atexit.register(self.close)

    def _forget(self) -> None:
        self._owner, self._turns = os.getpid(), threading.Semaphore(self._count)
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()

    def ask(self, question: dict[str, Any], data: bytes, seconds: float, most: int) -> tuple[dict[str, Any], bytes]:
        """The answer, with at most `most` bytes; raises TooSlow, and OSError or ValueError where the process died."""
        if os.getpid() != self._owner:  # pipes of the parent, who uses them too
            self._forget()
        with self._turns:
            worker = self._free()
            is_late = threading.Event()
            timer = threading.Timer(seconds, _end, (worker, is_late))
            timer.start()
            try:
                assert worker.stdin
                assert worker.stdout
                _send(worker.stdin, question, len(data), (data,))
                answer, length = _receive(worker.stdout, most)
                body = _exactly(worker.stdout, length)
            except BaseException as error:
                worker.kill()
                worker.wait()
                _close(worker)
                if is_late.is_set() and isinstance(error, OSError | ValueError):
                    raise TooSlow from error
                raise
            finally:
                timer.cancel()
            self._idle.put(worker)
        return answer, body

    def _free(self) -> "subprocess.Popen[bytes]":
        while True:
            try:
                worker = self._idle.get_nowait()
            except Empty:
                # The same search path: `-m` would search the current folder first, which may hold anything.
                program = f"import sys; sys.path[:] = {sys.path!r}; {self._program}"
                command = [sys.executable, "-c", program]
                worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                return _ready(worker)
            if worker.poll() is None:
                return worker
            _close(worker)

    def close(self) -> None:
        """End the processes that wait."""
        while os.getpid() == self._owner:
            try:
                worker = self._idle.get_nowait()
            except Empty:
                return
            worker.kill()
            worker.wait()
            _close(worker)


def answer_all(answer: Callable[[dict[str, Any], bytes], tuple[dict[str, Any], int, Iterable[bytes]]]) -> None:
    """The loop of a process, until its pipe is closed; `answer` gives facts, and a number of bytes in parts."""
    import signal

    # Ctrl-C in a terminal reaches this process too; its owner ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory(MEMORY)
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # A decoder may print; the pipe is for answers alone.
    os.dup2(2, 1)
    _send(answers, {}, 0, ())
    while True:
        try:
            question, length = _receive(source, sys.maxsize)
            facts, size, parts = answer(question, _exactly(source, length))
        except (EOFError, ValueError):
            return
        _send(answers, facts, size, parts)


def limit_memory(size: int) -> None:
    """No more than `size` bytes of data from now on, where the system can hold a process to it."""
    try:
        import resource
    except ImportError:  # pragma: no cover - not on Windows
        return
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _send(pipe: IO[bytes], facts: dict[str, Any], length: int, parts: Iterable[bytes]) -> None:
    text = json.dumps(facts).encode("ascii")
    pipe.write(HEAD.pack(len(text), length) + text)
    for part in parts:
        pipe.write(part)
    pipe.flush()


def _receive(pipe: IO[bytes], most: int) -> tuple[dict[str, Any], int]:
    """The facts, and how many bytes follow."""
    text, length = HEAD.unpack(_exactly(pipe, HEAD.size))
    if text > LONGEST_JSON or length > most:
        raise ValueError(f"{text} and {length} bytes")
    facts = json.loads(_exactly(pipe, text))
    if not isinstance(facts, dict):
        raise ValueError(facts)
    return facts, length


def _exactly(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) != length:
        raise ValueError("the pipe was closed")
    return data


def _ready(worker: "subprocess.Popen[bytes]") -> "subprocess.Popen[bytes]":
    """The process, once it has loaded its program: that does not count as time of a question."""
    timer = threading.Timer(START_SECONDS, worker.kill)
    timer.start()
    try:
        assert worker.stdout
        _receive(worker.stdout, 0)
    except BaseException:
        worker.kill()
        worker.wait()
        _close(worker)
        raise
    finally:
        timer.cancel()
    return worker


def _end(worker: "subprocess.Popen[bytes]", is_late: threading.Event) -> None:
    is_late.set()
    worker.kill()


def _close(worker: "subprocess.Popen[bytes]") -> None:
    for stream in (worker.stdin, worker.stdout):
        try:
            if stream:
                stream.close()
        except OSError:
            # The rest of an image that a killed process did not read.
            continue
