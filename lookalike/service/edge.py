"""The outermost middleware: access, origins, limits, metrics, and the headers of every answer."""

import logging
import time
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike.service import tokens
from lookalike.service.errors import ApiError, internal, try_later
from lookalike.service.metrics import Metrics
from lookalike.service.settings import Settings

log = logging.getLogger(__name__)

PUBLIC = ("/", "/healthz", "/readyz", "/v1/login", "/openapi.json", "/favicon.ico", "/map", "/duplicates", "/docs")
"""Answered without a token, as is /static: nothing of the collection is in them."""
SAFE = ("GET", "HEAD", "OPTIONS")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class ServiceState(Protocol):
    """The part of the service that this module needs."""

    @property
    def reason_not_ready(self) -> str | None:
        """Why no request can be answered; None where it can."""
        ...

    @property
    def reason_to_wait(self) -> ApiError | None:
        """The refusal of a request that computes; None where it may."""
        ...

    @property
    def is_draining(self) -> bool:
        """Whether the process is about to end."""
        ...


class Edge:
    """ASGI middleware that refuses strangers, counts and times requests, and sets the headers of every answer."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics, state: ServiceState) -> None:
        self._app, self._settings, self._metrics, self._state = app, settings, metrics, state
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, method = time.perf_counter(), 500, scope["method"]
        if method == "HEAD":
            # Answered as GET is, wherever that is; the body is left out on its way.
            scope["method"] = "GET"

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._complete(message, scope)
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        self._open += 1
        try:
            await self._admit(scope, receive, answer)
        finally:
            self._open -= 1
            scope["method"] = method
            self._count(scope, status, time.perf_counter() - start)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope)
        if refused:
            await refused.response()(scope, receive, send)
            return
        if not self._settings.inner_path(scope["path"]):
            # The page's own addresses are relative to its folder.
            await RedirectResponse(f"{self._settings.root_path}/", 308)(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            log.exception("%s %r", scope["method"], scope["path"])
            if started:
                raise
            await internal()(scope, receive, send)

    def _refusal(self, scope: Scope) -> ApiError | None:
        headers, path = Headers(scope=scope), self._settings.inner_path(scope["path"])
        if self._open > self._settings.connections:
            return try_later("overloaded", "too many requests are open")
        wrong = wrong_place(scope["method"], headers, self._settings)
        if wrong:
            return wrong
        is_public = path in ("", *PUBLIC) or path.startswith("/static/")
        token = self._settings.token
        # A preflight never carries credentials; CORS answers it.
        if token and not is_public and scope["method"] != "OPTIONS":
            cookie = headers.get("cookie")
            if not tokens.is_allowed(token, headers.get("authorization"), cookie):
                hint = "send Authorization: Bearer TOKEN, or log in on the page"
                scheme = {"WWW-Authenticate": "Bearer"}
                return ApiError(401, "unauthorized", "this service wants a token", hint, scheme)
        if not is_public and path != "/metrics" and (reason := self._state.reason_not_ready):
            return try_later("loading", reason)
        # Before the body is read: refusing must cost less than answering.
        return self._state.reason_to_wait if scope["method"] == "POST" and not is_public else None

    def _complete(self, message: Message, scope: Scope) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        if self._state.is_draining:
            headers["Connection"] = "close"
        origin = Headers(scope=scope).get("origin")
        if origin is not None and origin in self._settings.origins and "access-control-allow-origin" not in headers:
            # A refusal of this middleware has not passed the one that lets named origins read an answer.
            headers["Access-Control-Allow-Origin"], headers["Access-Control-Expose-Headers"] = origin, "Retry-After"
            headers.add_vary_header("Origin")
        if headers.get("cross-origin-resource-policy") and headers.get("access-control-allow-origin"):
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's pattern, never the path: requests must not fill the memory with names.
        route = scope.get("route")
        pattern = getattr(route, "path", None) or self._kind(scope["path"])
        method = scope["method"] if scope["method"] in (*SAFE, "POST", "DELETE") else "other"
        self._metrics.requests.labels(pattern, method, status).inc()
        self._metrics.request_seconds.labels(pattern).observe(seconds)

    def _kind(self, path: str) -> str:
        return "/static" if self._settings.inner_path(path).startswith("/static/") else "other"


def wrong_place(method: str, headers: Mapping[str, str], settings: Settings) -> ApiError | None:
    """The refusal of a request that a browser was tricked into: by DNS rebinding, or by a page of another site."""
    host = headers.get("host", "")
    if settings.hosts is not None and host_name(host) not in settings.hosts:
        hint = f"open it as {settings.hosts[0]}, or serve with --host and --token"
        return ApiError(400, "wrong_host", "this service does not go by that name", hint)
    origin = headers.get("origin")
    if method in SAFE or origin is None or origin in settings.origins:
        return None
    if origin == "null" or _place(origin) != host.lower():
        hint = "call it from its own page, or name that origin with --allow-origin"
        return ApiError(400, "wrong_origin", "a page of another origin may not do this", hint)
    return None


def _place(origin: str) -> str | None:
    """Host and port of an origin; None for what is no URL."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def host_name(host: str) -> str:
    """A Host header without its port, in lower case."""
    name = host.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]
