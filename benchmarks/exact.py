"""Exact search for one query among rows of int8 and float16: as they are stored, and through float32 as before.

    .venv/bin/python benchmarks/exact.py [--rows 1000000] [--dim 768] [--rounds 5]

By turns, in one process; the file is in the page cache. "Reading" is the sum of all bytes by the same threads, which is
what memory allows. The results of both are compared.
"""

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from lookalike.index import exact
from lookalike.index.exact import ExactIndex, threads
from lookalike.storage.vectors import VectorFile
from lookalike.types import Vectors

BLOCK = 20_000


def filled(path: Path, dtype: str, rows: int, dim: int) -> VectorFile:
    """Random unit rows: what they are changes nothing."""
    file = VectorFile(path, dim, dtype)
    path.touch()
    random = np.random.default_rng(0)
    for first in range(0, rows, BLOCK):
        file.append(first, unit(random.standard_normal((min(BLOCK, rows - first), dim), np.float32)))
    file.flush(rows)
    file.release()
    return file


def unit(rows: Vectors) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def read(file: VectorFile, rows: int) -> None:
    """All bytes once, as eight at a time."""
    numbers = file.stored(rows).ravel()
    numbers = numbers[: len(numbers) // 8 * 8].view(np.uint64)
    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(np.sum, np.array_split(numbers, 64)))


def measure(file: VectorFile, rows: int, query: Vectors, rounds: int) -> dict[str, list[float]]:
    index, usual = ExactIndex(file, None, rows), (exact.SCANNED, exact.SCANNED_COLD)
    times: dict[str, list[float]] = {"as stored": [], "through float32": [], "reading": []}
    answers = {}
    for _ in range(rounds + 1):
        for name, least in (("as stored", 0), ("through float32", rows + 1)):
            exact.SCANNED = exact.SCANNED_COLD = least
            start = time.perf_counter()
            answers[name] = index.search(query, 10)
            times[name].append(time.perf_counter() - start)
        start = time.perf_counter()
        read(file, rows)
        times["reading"].append(time.perf_counter() - start)
    exact.SCANNED, exact.SCANNED_COLD = usual
    assert (answers["as stored"][1] == answers["through float32"][1]).all(), "the two differ"
    return {name: values[1:] for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    query, before = unit(np.random.default_rng(1).standard_normal((1, options.dim), np.float32)), os.getloadavg()[0]
    print(f"{options.rows:,} x {options.dim}, one query, {threads()} threads, median of {options.rounds}\n")
    print("| rows | as stored, ms | through float32, ms | times faster | reading, ms | of reading |")
    print("|---|---|---|---|---|---|")
    for dtype in ("int8", "float16"):
        with tempfile.TemporaryDirectory() as folder:
            file = filled(Path(folder) / "vectors", dtype, options.rows, options.dim)
            times = measure(file, options.rows, query, options.rounds)
            stored, floats, reading = (1000 * statistics.median(values) for values in times.values())
            print(
                f"| {dtype} | {stored:.0f} | {floats:.0f} | {floats / stored:.1f} | {reading:.0f} | "
                f"{reading / stored:.0%} |"
            )
            file.close()
    print(f"\nload average {before:.1f} before, {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
