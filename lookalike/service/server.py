"""Listening: uvicorn with time limits on slow senders, and an end that lets go of nothing that was begun."""

import asyncio
import logging
import signal
import socket
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from lookalike.errors import LookalikeError
from lookalike.service.served import Served

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 20
GRACE_SECONDS = 30
HEAD_BYTES = 32 * 1024


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that an address that is taken is one line before anything is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol has to be named: only then does asyncio send small answers at once (TCP_NODELAY), not 40 ms later.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
    except OSError as error:
        opened.close()
        reason = (error.strerror or str(error)).lower()
        raise LookalikeError(f"cannot listen on {host} port {port} ({reason}); choose another --port") from error
    return opened


def run(app: FastAPI, listening: socket.socket, drain_seconds: float) -> None:
    """Serve until SIGTERM or Ctrl-C; raises LookalikeError where the collection cannot be loaded."""
    server = Server(app, drain_seconds)
    server.run(sockets=[listening])
    if server.served.failure:
        raise server.served.failure


class Server(uvicorn.Server):
    """Is not ready for a while before it stops taking requests, so that a balancer sends them elsewhere."""

    def __init__(self, app: FastAPI, drain_seconds: float) -> None:
        self.served: Served = app.state.served
        settings = self.served.settings
        config = uvicorn.Config(
            app, http=_protocol(settings.header_seconds, settings.connections), ws="none", lifespan="on",
            log_config=None, access_log=False, server_header=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS, h11_max_incomplete_event_size=HEAD_BYTES,
        )  # fmt: skip
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end."""
        return await super().on_tick(counter) or self.served.failure is not None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the end, a second one hurries it."""
        if self.served.is_draining or self._loop is None or sig == signal.SIGINT:
            self.served.is_draining = True
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True
            return
        self.served.is_draining = True
        self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_seconds, self._end)

    def _end(self) -> None:
        self.should_exit = True


def _protocol(header_seconds: float, most: int) -> type[H11Protocol]:
    """uvicorn's own, which does not wait for ever for the head of a request, nor hold any number of connections."""

    class Protocol(H11Protocol):
        _head: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > most:
                transport.abort()
                return
            self._await_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            elif self._head is None:
                self._await_head()

        def on_response_complete(self) -> None:
            self._stop()
            super().on_response_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _await_head(self) -> None:
            self._head = self.loop.call_later(header_seconds, self._give_up)

        def _give_up(self) -> None:
            self._head = None
            if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
                self.transport.abort()

        def _stop(self) -> None:
            if self._head is not None:
                self._head.cancel()
                self._head = None

    return Protocol
