"""Many clients of one HTTP service in one thread, on plain sockets: on a machine of two cores they must cost little."""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np


@dataclass
class Tally:
    """What one run saw: seconds of each answer, refusals with 429, everything else that was no answer."""

    times: list[float] = field(default_factory=list)
    refused: int = 0
    errors: int = 0
    took: float = 0.0
    cpu: float = 0.0
    """Seconds of a core that the clients themselves computed."""

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the answers came; not a number where none came."""
        return float(np.quantile(self.times, share)) if self.times else float("nan")


def json_request(path: str, body: bytes) -> bytes:
    """A POST with JSON as it goes over the wire."""
    return _request(path, "application/json", body)


def file_request(path: str, data: bytes) -> bytes:
    """A POST of a form with one file."""
    head = b'--lookalike\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"\r\n\r\n'
    return _request(path, "multipart/form-data; boundary=lookalike", head + data + b"\r\n--lookalike--\r\n")


def _request(path: str, kind: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body


class Client(asyncio.Protocol):
    """One connection that asks, waits for the answer, and asks again until the time is over."""

    def __init__(
        self,
        place: tuple[str, int],
        stream: Iterator[bytes],
        until: float,
        tally: Tally,
        done: "asyncio.Future[None]",
    ) -> None:
        self._place, self._stream, self._until, self._tally, self._done = place, stream, until, tally, done
        self._start, self._heard, self._length, self._waits = 0.0, bytearray(), -1, False
        self._transport: asyncio.Transport | None = None

    async def connect(self) -> None:
        """Begin, or begin again."""
        await asyncio.get_running_loop().create_connection(lambda: self, *self._place)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        assert self._transport
        self._waits = False
        if time.perf_counter() >= self._until:
            self._transport.close()
            self._end()
            return
        if self._transport.is_closing():
            # A service does not hold a connection open on which nothing comes for a while.
            self._again = asyncio.ensure_future(self.connect())
            return
        self._start, self._length = time.perf_counter(), -1
        self._heard.clear()
        self._transport.write(next(self._stream))

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self._length < 0 and (end := self._heard.find(b"\r\n\r\n")) >= 0:
            self._length = end + 4 + int(self._header(b"content-length", end) or 0)
        if 0 <= self._length <= len(self._heard):
            self._answered(int(self._heard[9:12]))

    def _header(self, name: bytes, end: int) -> bytes:
        at = self._heard.lower().find(b"\r\n" + name + b":", 0, end)
        return bytes(self._heard[at + len(name) + 3 :]).partition(b"\r\n")[0].strip() if at >= 0 else b""

    def _answered(self, status: int) -> None:
        if status == 429:
            self._tally.refused += 1
            # As told, and not all at the same moment.
            wait = float(self._header(b"retry-after", len(self._heard)) or 1) * random.uniform(1, 1.5)
            self._waits = True
            left = max(0.0, self._until - time.perf_counter())
            asyncio.get_running_loop().call_later(min(wait, left), self._ask)
            return
        if status == 200:
            self._tally.times.append(time.perf_counter() - self._start)
        else:
            self._tally.errors += 1
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waits:
            return
        if time.perf_counter() < self._until:
            self._tally.errors += 1
        self._end()

    def _end(self) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def load(url: str, stream: Iterator[bytes], clients: int, seconds: float) -> Tally:
    """Let so many clients ask for so long, each one thing at a time."""
    place, tally, loop = urlsplit(url), Tally(), asyncio.get_running_loop()
    start, cpu = time.perf_counter(), time.process_time()
    ended = [loop.create_future() for _ in range(clients)]
    for done in ended:
        await Client((place.hostname or "127.0.0.1", place.port or 80), stream, start + seconds, tally, done).connect()
    await asyncio.gather(*ended)
    tally.took, tally.cpu = time.perf_counter() - start, time.process_time() - cpu
    return tally
