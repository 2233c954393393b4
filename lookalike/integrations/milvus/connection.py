"""An address to a client of Milvus, and errors of clients and servers to one short line."""

import logging
import os
import re
from typing import Any

from lookalike.errors import EngineError
from lookalike.integrations.milvus.address import Address, is_private
from lookalike.utils.extras import install_hint

CALL_SECONDS = 10.0
PASSING_CODES = frozenset((
    2, 4, 8,  # service unavailable, request limit, rate limit; 2 is also a client's that does not reach the server
    101, 103, 106, 201, 202,  # collection or partition not loaded, not fully loaded, on recovering
    400, 401, 500, 501, 503, 600, 601, 602,  # replica, channel, segment not found or not available
    900, 901, 902, 904,  # node not found, offline, lacking, not available
))  # fmt: skip
"""Error codes (`merr` of Milvus) of a server that starts, stops, moves segments, or is overloaded."""
REFUSED_CODES = frozenset((1400, 1401, 1402, 1800))
GENERIC_CODES = frozenset((0, 1, 5, 65535))
"""Codes that say nothing; 1 is also pymilvus' for everything without one. Then the server's own words decide."""
PASSING = re.compile(
    r"service (not ready|unavailable|not available)|(server|proxy|node|coord\w*) (is )?(not ready|not healthy|"
    r"not initialized|initializing|abnormal|recovering|unavailable)|state code is (Initializing|Abnormal)|"
    r"not (fully )?loaded|rate limit|request limit|retry (timeout|run out)|timed out|timeout|deadline exceeded|"
    r"no available|(channel|node|session|replica) not (found|available)|channel lack|node (lack|offline)|"
    r"closed channel|shard delegator|fail to get shard leaders|(lost|failed|refused|reset|fail connecting).*connect|"
    r"connection (refused|reset|lost|closed|error)|fail connecting|distribution", re.I,
)  # fmt: skip
REFUSED = re.compile(r"auth check failure|unauthenticated|not authenticated|permission den|privilege", re.I)
_NAMES = re.compile(r"\[[^\]]*\]|<[^<>]*>|\"[^\"]*\"|'[^']*'|\b(collection|database|field|index) (name )?\S+$")
"""What a server quotes: names that users gave, which may contain any word."""


def import_client() -> None:
    """Import pymilvus and silence its log; raises EngineError where it is not installed."""
    try:
        import pymilvus  # noqa: F401
    except ImportError as error:
        raise EngineError(f"milvus:// needs `{install_hint('milvus')}`") from error
    # Each failing call would log a traceback beside our own line.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


def connected(address: Address, seconds: float = CALL_SECONDS) -> Any:
    """A MilvusClient; raises what pymilvus raises, and EngineError where the token could be read on its way."""
    from pymilvus import MilvusClient

    if address.token and not is_private(address):
        raise EngineError(f"{address}: a token is not sent in clear to another machine; use {address.engine}+tls://")

    if address.file:
        # Its server takes pings of a channel at rest for an attack, and grpc tells that on stderr.
        return MilvusClient(address.file, grpc_options={"grpc.keepalive_permit_without_calls": False})
    host = f"[{address.host}]" if ":" in address.host else address.host
    options: dict[str, Any] = {"token": address.token, "db_name": address.database, "timeout": seconds}
    for option, variable in (("server_pem_path", "CA"), ("client_pem_path", "CERT"), ("client_key_path", "KEY")):
        if path := os.environ.get(f"LOOKALIKE_MILVUS_{variable}"):
            options[option] = path
    return MilvusClient(f"{'https' if address.tls else 'http'}://{host}:{address.port}", **options)


def is_passing(error: Exception) -> bool:
    """Whether the same call may succeed in a moment."""
    import grpc

    error = server_error(error)
    if isinstance(error, grpc.FutureTimeoutError) or getattr(error, "retriable", False):
        return True
    code = _code(error)
    if isinstance(code, grpc.StatusCode):
        return code in (
            grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        )  # fmt: skip
    if code in GENERIC_CODES:
        return not is_refused(error) and bool(PASSING.search(_own_words(error)))
    return code in PASSING_CODES and not is_refused(error)


def is_refused(error: Exception) -> bool:
    """Whether the server refuses this user."""
    import grpc

    error = server_error(error)
    code = _code(error)
    if isinstance(code, grpc.StatusCode):
        return code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
    return code in REFUSED_CODES or bool(REFUSED.search(_own_words(error)))


def _code(error: Exception) -> Any:
    """The code of a gRPC error, or that of a server; 1 where there is none."""
    code = getattr(error, "code", None)
    return code() if callable(code) else 1 if code is None else code


def _own_words(error: Exception) -> str:
    """The message without what it quotes."""
    return _NAMES.sub("", message(error))


def short_message(error: Exception) -> str:
    """The message of an error as one line of at most 200 characters."""
    line = message(error)
    return line if len(line) <= 200 else line[:199] + "…"


def server_error(error: Exception) -> Exception:
    """The server's own error; pymilvus reports every error of its first call as a failed connection."""
    import grpc

    cause = error.__cause__
    return cause if isinstance(cause, grpc.RpcError) and isinstance(cause, Exception) else error


def message(error: Exception) -> str:
    """The whole message in one line, without the stack traces that some servers put before it."""
    error = server_error(error)
    text = str(getattr(error, "message", "") or "")
    if not text and callable(getattr(error, "details", None)):
        text = str(error.details())  # type: ignore[attr-defined]
    line = " ".join((text or str(error) or type(error).__name__).split())
    return line.rpartition(": attempt #0: ")[2] if "stack trace" in line else line
