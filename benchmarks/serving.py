"""`lookalike serve` in a process of its own, for benchmarks and tests: where it listens, and when it can be asked."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


@contextmanager
def command(folder: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The process that serves this folder until the block ends, and the address that it printed."""
    arguments = [sys.executable, "-m", "lookalike", "serve", str(folder), "--port", "0", *options]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    url = process.stdout.readline().strip().rstrip("/")
    try:
        yield process, url
    finally:
        process.kill()
        process.communicate(timeout=60)


def wait_ready(url: str, seconds: float = 60) -> None:
    """Until the service has loaded its collection."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("the service did not become ready")
