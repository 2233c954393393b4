"""uvicorn with time limits for slow clients, and an end that finishes the requests under way."""

import asyncio
import ctypes
import signal
import socket
from types import FrameType
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from lookalike.errors import LookalikeError
from lookalike.service.served import Served
from lookalike.service.settings import Settings
from lookalike.service.several import Family, Several
from lookalike.utils.files import reason

Application = FastAPI | Several
KEEP_ALIVE_SECONDS = 20
GRACE_SECONDS = 30
HEAD_BYTES = 32 * 1024
M_ARENA_MAX = -8
"""From glibc's malloc.h."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; raises LookalikeError where the address is taken, before anything is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: only then asyncio sends small answers at once (TCP_NODELAY), not 40 ms later.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        why = reason(error)
        raise LookalikeError(f"cannot listen on {host} port {port} ({why}); choose another --port") from error
    return listening


def run(app: Application, listening: socket.socket, drain_seconds: float) -> None:
    """Serve until SIGTERM or Ctrl-C; raises LookalikeError where the collection cannot be loaded."""
    server = Server(app, drain_seconds)
    _share_heaps(max(2, server.served.settings.workers))
    server.run(sockets=[listening])
    failure = server.served.failure
    if isinstance(failure, LookalikeError):
        raise failure
    if failure is not None:
        summary = f"{type(failure).__name__}: {failure}".partition("\n")[0]
        raise LookalikeError(f"the collection cannot be loaded ({summary}); --debug shows where") from failure


def _share_heaps(count: int) -> None:
    """Let all threads allocate from as many heaps as threads compute at a time, where the C library is glibc."""
    # By default each thread has one, up to eight a core, which keeps the memory of the largest pictures. On two cores,
    # with 8, 64 and 256 clients, 339, 466 and 448 MiB became 237, 228 and 270, at the same speed.
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_ARENA_MAX, count)


class Server(uvicorn.Server):
    """Says at SIGTERM that it is not ready, and takes requests until a balancer sends them elsewhere."""

    def __init__(self, app: Application, drain_seconds: float) -> None:
        self.served: Served | Family = app.state.served
        settings = self.served.settings
        config = uvicorn.Config(
            app, http=_protocol(settings), ws="none", lifespan="on",
            log_config=None, access_log=False, server_header=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS, h11_max_incomplete_event_size=HEAD_BYTES,
        )  # fmt: skip
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; called ten times a second."""
        return await super().on_tick(counter) or self.served.failure is not None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal starts the shutdown, a second one hurries it."""
        if self.served.is_draining or self._loop is None or sig == signal.SIGINT:
            self.served.is_draining = True
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True
            return
        self.served.is_draining = True
        self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_seconds, self._end)

    def _end(self) -> None:
        self.should_exit = True


class _LimitedProtocol(H11Protocol):
    """uvicorn's protocol with limits: on connections, and on the time for a head, a body and reading an answer."""

    limits: Settings
    _sending: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
            return
        # Writing pauses as soon as the system takes no more, so that an answer that nobody reads is noticed.
        transport.set_write_buffer_limits(0)
        self._await_rest()

    def data_received(self, data: bytes) -> None:
        was = self._is_in_body()
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._sending is None or was != self._is_in_body():
            self._stop()
            self._await_rest()

    def on_response_complete(self) -> None:
        self._stop()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        self._stop_waiting()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_in_body(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY

    def _await_rest(self) -> None:
        # The rest of a head, or of the body of a request that was refused before it arrived.
        seconds = self.limits.body_seconds if self._is_in_body() else self.limits.header_seconds
        self._sending = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._sending = None
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.abort()

    def _stop(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _await_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(self.limits.unread_seconds, self._look_again, waiting)

    def _look_again(self, waiting: int) -> None:
        if self.transport.get_write_buffer_size() < waiting:
            self._await_reader()
        else:
            # Closing would wait until all of it has been read.
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def _protocol(settings: Settings) -> type[H11Protocol]:
    """The protocol with the limits of these settings; uvicorn takes a class and makes its instances itself."""

    class Limited(_LimitedProtocol):
        limits = settings

    return Limited
