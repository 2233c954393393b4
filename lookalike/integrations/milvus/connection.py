"""An address to a client of Milvus, and what a client or a server says when a call fails to one plain line."""

import logging
import os
from typing import Any

from lookalike.errors import EngineError
from lookalike.integrations.milvus.address import Address

CALL_SECONDS = 10.0
# What a server says while it starts, stops, moves segments about or is asked too much at once.
PASSING = (
    "unavailable", "not ready", "not loaded", "not fully loaded", "not healthy", "not initialized", "not available",
    "rate limit", "request limit", "no available", "connecting to server", "channel not", "node not", "node offline",
    "retry timeout", "retry run out", "timeout", "timed out", "deadline", "distribution", "lack", "connection",
    "closed channel", "shard delegator", "fail to get shard leaders", "recovering", "initializing", "abnormal",
    "node not found", "session not found",
)  # fmt: skip
REFUSED = ("auth", "privilege", "permission", "unauthenticated")


def import_client() -> None:
    """Load pymilvus, told to leave errors to us; raises EngineError where it is not installed."""
    try:
        import pymilvus  # noqa: F401
    except ImportError as error:
        raise EngineError("milvus:// needs `pip install lookalike[milvus]`") from error
    # Each failing call would print its traceback beside our one line.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


def connected(address: Address) -> Any:
    """A MilvusClient; raises what pymilvus raises."""
    from pymilvus import MilvusClient

    if address.file:
        return MilvusClient(address.file)
    host = f"[{address.host}]" if ":" in address.host else address.host
    options: dict[str, Any] = {"token": address.token, "db_name": address.database, "timeout": CALL_SECONDS}
    for option, variable in (("server_pem_path", "CA"), ("client_pem_path", "CERT"), ("client_key_path", "KEY")):
        if path := os.environ.get(f"LOOKALIKE_MILVUS_{variable}"):
            options[option] = path
    return MilvusClient(f"{'https' if address.tls else 'http'}://{host}:{address.port}", **options)


def is_passing(error: Exception) -> bool:
    """Whether the same call may go through in a moment."""
    import grpc

    error = hidden(error)
    if isinstance(error, grpc.FutureTimeoutError) or getattr(error, "retriable", False):
        return True
    code = error.code() if isinstance(error, grpc.RpcError) and hasattr(error, "code") else getattr(error, "code", None)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return True
    text = said(error).lower()
    return not any(word in text for word in REFUSED) and any(word in text for word in PASSING)


def plain(error: Exception) -> str:
    """What a server or gRPC said, as one short line without its wrapping."""
    line = said(error)
    return line if len(line) <= 200 else line[:199] + "…"


def hidden(error: Exception) -> Exception:
    """What the server answered, where pymilvus says of every answer to its first call that it fails to connect."""
    import grpc

    cause = error.__cause__
    return cause if isinstance(cause, grpc.RpcError) and isinstance(cause, Exception) else error


def said(error: Exception) -> str:
    """The whole of it in one line; some servers put the stack of their own code before what is wrong."""
    error = hidden(error)
    text = str(getattr(error, "message", "") or "")
    if not text and callable(getattr(error, "details", None)):
        text = str(error.details())  # type: ignore[attr-defined]
    line = " ".join((text or str(error) or type(error).__name__).split())
    return line.rpartition(": attempt #0: ")[2] if "stack trace" in line else line
