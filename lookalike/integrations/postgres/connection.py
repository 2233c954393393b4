"""An address to connections to PostgreSQL, and errors of the server to one short line."""

import re
import time
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from lookalike.errors import EngineError
from lookalike.integrations.postgres.address import Address, parameters
from lookalike.utils.extras import install_hint

if TYPE_CHECKING:
    from psycopg import Connection

CALL_SECONDS = 30.0
"""Without a byte from the server, which answers most questions within milliseconds."""
LEAST_VERSION = (0, 8)
"""pgvector's: older ones have no iterative scans, and then a filter loses results."""
# SQLSTATEs, or beginnings of them, of a server that starts, stops, is full of connections, or had a deadlock.
PASSING = ("08", "57P01", "57P02", "57P03", "57P05", "53300", "40001", "40P01", "55P03", "25P03", "25P02")
# Connecting fails without a SQLSTATE; these are final, all else may pass.
REFUSED = (
    "authentication failed", "no password supplied", "no pg_hba.conf entry", "does not exist", "permission denied",
    "certificate", "server does not support ssl", "invalid connection option", "invalid value", "invalid sslmode",
    "definition of service", "weak", "could not translate host name", "is not permitted to log in", "requires",
)  # fmt: skip
AWAY = (
    "starting up",
    "shutting down",
    "recovery",
    "connection refused",
    "timeout",
    "closed the connection",
    "no route",
)

_NAMES = re.compile(r"\"[^\"]*\"|'[^']*'|«[^»]*»|»[^«]*«")
"""What a server quotes: names that users gave, which may contain any word."""

EXTENSION = """
SELECT extversion, set_config('search_path', quote_ident(nspname) || ', pg_catalog', false)
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'vector'
"""


def import_client() -> None:
    """Import psycopg and pgvector; raises EngineError where they are not installed."""
    try:
        import pgvector.psycopg  # noqa: F401
        import psycopg  # noqa: F401
    except ImportError as error:
        raise EngineError(f"postgresql:// needs `{install_hint('postgres')}`") from error


class Connections:
    """Connections to a database, one for each thread that works at the same time."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.may_create = False
        """Whether pgvector may be created where the database has none: for a new collection only."""
        self._idle: list[Connection[Any]] = []
        weakref.finalize(self, _close, self._idle)

    @contextmanager
    def borrowed(self, seconds: float | None = CALL_SECONDS) -> "Iterator[Connection[Any]]":
        """A connection, which is kept for the next one unless it fails; it waits for `seconds` for an answer."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connected(self.address, self.may_create, seconds)
        connection.seconds = seconds  # type: ignore[attr-defined]
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def close(self) -> None:
        """Close those that are idle."""
        _close(self._idle)


def _close(connections: "list[Connection[Any]]") -> None:
    while connections:
        connections.pop().close()


def connected(address: Address, may_create: bool, seconds: float | None) -> "Connection[Any]":
    """A connection whose search path has nothing but pgvector; raises psycopg's errors.

    Raises EngineError where pgvector is not there or too old.
    """
    import psycopg

    known = parameters(address)
    if psycopg.pq.version() < 160000:
        known.pop("gssdelegation", None)
    # libpq's 0 is no limit.
    if seconds is not None and not 0 < float(known["connect_timeout"]) <= seconds:
        known["connect_timeout"] = str(round(seconds))
    connection: Connection[Any] = _impatient().connect(**known, autocommit=True)
    connection.seconds = seconds  # type: ignore[attr-defined]
    try:
        _prepare(address, connection, may_create)
    except BaseException:
        connection.close()
        raise
    return connection


@cache
def _impatient() -> Any:
    """A class of connections that fail where a server is silent for their `seconds`: one that is frozen, say."""
    import psycopg

    class Impatient(psycopg.Connection[Any]):
        seconds: float | None = None

        def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
            try:
                return super().wait(_limited(gen, self.seconds), *arguments, **options)
            except TimeoutError as error:
                # Closed, or the end of a transaction would wait once more.
                self.close()
                raise psycopg.errors.ConnectionTimeout(f"no answer for {self.seconds:g} s: timeout") from error

    return Impatient


def _limited(steps: Generator[Any, Any, Any], seconds: float | None) -> Generator[Any, Any, Any]:
    """The same steps of a protocol; raises TimeoutError where nothing has come for `seconds`."""
    last = time.monotonic()
    try:
        state = next(steps)
        while True:
            ready = yield state
            now = time.monotonic()
            if ready:
                last = now
            elif seconds is not None and now - last > seconds:
                raise TimeoutError
            state = steps.send(ready)
    except StopIteration as end:
        return end.value


def _prepare(address: Address, connection: "Connection[Any]", may_create: bool) -> None:
    import pgvector.psycopg

    row = connection.execute(EXTENSION).fetchone()
    if row is None and may_create:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        row = connection.execute(EXTENSION).fetchone()
    if row is None:
        raise EngineError(f"{address}: the database has no pgvector; CREATE EXTENSION vector there, or index again")
    if released(row[0]) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise EngineError(
            f"{address}: its pgvector is {row[0]}, and {least} is needed; install it there, "
            "then ALTER EXTENSION vector UPDATE"
        )
    pgvector.psycopg.register_vector(connection)


def released(version: str) -> tuple[int, int]:
    """`0.8.5` as (0, 8)."""
    major, minor = [*version.split("."), "0"][:2]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)


def is_passing(error: Exception) -> bool:
    """Whether the same call may succeed in a moment."""
    import psycopg

    state = getattr(error, "sqlstate", None)
    if state:
        return bool(state.startswith(PASSING))
    text = _NAMES.sub("", str(error)).lower()
    is_away = any(word in text for word in AWAY) or not any(word in text for word in REFUSED)
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and is_away


def short_message(error: Exception) -> str:
    """The message of an error as one line of at most 200 characters."""
    text = getattr(getattr(error, "diag", None), "message_primary", None) or str(error) or type(error).__name__
    line = " ".join(text.split())
    line = line.removeprefix("connection failed: ").partition(" Multiple connection attempts")[0]
    return line if len(line) <= 200 else line[:199] + "…"


def described(address: Address, error: Exception) -> str:
    """One line that says what the server refused, and the way out where there is one."""
    state, text = getattr(error, "sqlstate", None) or "", short_message(error)
    if is_passing(error):
        return f"{address} cannot be reached or is not ready: {text}"
    if state == "25006":
        return f"{address} is read-only ({text}); name the primary server"
    if state.startswith("53"):
        return f"{address} has no room: {text}; nothing was lost, run the same command again"
    if state.startswith("28") or any(word in text.lower() for word in REFUSED[:3]):
        way = "give the password in ~/.pgpass, in the URI, or in PGPASSWORD with LOOKALIKE_POSTGRESQL_SERVER=host:port"
        return f"{address} refuses: {text}; {way}"
    if state in ("58P01", "0A000") and "extension" in text:
        return f"{address} has no pgvector ({text}); install it on the server"
    return f"{address}: {text}"
