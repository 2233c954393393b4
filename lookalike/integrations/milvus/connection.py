"""An address to a client of Milvus, and errors of clients and servers to one short line."""

import logging
import os
from typing import Any

from lookalike.errors import EngineError
from lookalike.integrations.milvus.address import Address, is_private

CALL_SECONDS = 10.0
# Parts of errors of a server that starts, stops, moves segments, or is overloaded.
PASSING = (
    "unavailable", "not ready", "not loaded", "not fully loaded", "not healthy", "not initialized", "not available",
    "rate limit", "request limit", "no available", "connecting to server", "channel not", "node not", "node offline",
    "retry timeout", "retry run out", "timeout", "timed out", "deadline", "distribution", "lack", "connection",
    "closed channel", "shard delegator", "fail to get shard leaders", "recovering", "initializing", "abnormal",
    "node not found", "session not found",
)  # fmt: skip
REFUSED = ("auth", "privilege", "permission", "unauthenticated")


def import_client() -> None:
    """Import pymilvus and silence its log; raises EngineError where it is not installed."""
    try:
        import pymilvus  # noqa: F401
    except ImportError as error:
        raise EngineError("milvus:// needs `pip install lookalike[milvus]`") from error
    # Each failing call would log a traceback beside our own line.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


def connected(address: Address) -> Any:
    """A MilvusClient; raises what pymilvus raises, and EngineError where the token could be read on its way."""
    from pymilvus import MilvusClient

    if address.token and not is_private(address):
        raise EngineError(f"{address}: a token is not sent in clear to another machine; use {address.engine}+tls://")

    if address.file:
        return MilvusClient(address.file)
    host = f"[{address.host}]" if ":" in address.host else address.host
    options: dict[str, Any] = {"token": address.token, "db_name": address.database, "timeout": CALL_SECONDS}
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
    code = error.code() if isinstance(error, grpc.RpcError) and hasattr(error, "code") else getattr(error, "code", None)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return True
    text = message(error).lower()
    return not any(word in text for word in REFUSED) and any(word in text for word in PASSING)


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
