"""A Milvus Lite file for every test, and a real server for the tests that are marked `server`."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lookalike.types import Vectors

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-milvus" / "bin" / "python"
PORT = 19530


def unit_rows(count: int, dim: int, seed: int = 0) -> Vectors:
    """Random directions."""
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of failures must not wait for a minute."""
    monkeypatch.setenv("LOOKALIKE_ENGINE_PATIENCE", "1")
    monkeypatch.delenv("LOOKALIKE_MILVUS_TOKEN", raising=False)


@pytest.fixture
def lite(tmp_path: Path) -> str:
    """The address of a collection that does not exist yet."""
    return f"milvus://{tmp_path}/lite.db/photos"


@dataclass
class Server:
    """A server process on this machine, or the one that MILVUS_URI names, which cannot be killed."""

    uri: str
    folder: Path | None = None
    auth: bool = False
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        assert self.folder is not None, "a server of our own"
        command = [str(PYTHON), str(ROOT / "scripts" / "milvus_server.py"), str(self.folder)]
        self.process = subprocess.Popen([*command, *(["--auth"] if self.auth else [])])
        self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, f"see {self.folder}/logs"
            try:
                socket.create_connection(("127.0.0.1", PORT), 1).close()
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        assert self.process is not None, "a server of our own"
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    uri = os.environ.get("MILVUS_URI")
    if uri:
        yield Server(uri)
        return
    if not PYTHON.exists():
        pytest.skip("no Milvus server is installed (scripts/test does it on x86-64 Linux), and MILVUS_URI names none")
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        pytest.skip("Milvus listens on every interface: run `scripts/alone .venv/bin/python -m pytest -m server`")
    own = Server(f"milvus://127.0.0.1:{PORT}", tmp_path_factory.mktemp("milvus"))
    own.start()
    try:
        yield own
    finally:
        own.kill()
