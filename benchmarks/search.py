"""Search of a million vectors: this package against bare FAISS at the same settings, hnswlib and usearch, in one run.

    pip install hnswlib usearch
    python benchmarks/search.py --cache DIR [--rows 1000000] [--dim 768] [--index SPEC …] [--build]

Everything that is built is kept in DIR; a run that was interrupted goes on from there, and `--build` only builds. All
use the same threads. Within a group all are asked by turns, and the median of the rounds counts; a ratio is the median
of the ratios of the rounds. Building is told by the clock and in processor time, which a busy machine changes less; in
ours is the measuring of recall by effort. Bare FAISS is given the very index that ours made; its line says how long
training and filling it took.
Ours is asked through a collection on disk, and its scores are computed from the stored vectors; so FAISS is shown
twice, as it is and with its candidates refined from vectors in memory. "1/s" are queries a second.
"""

import argparse
import gc
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from contenders import Contender, Place, Search
from made_vectors import Made, bandwidth, matrix_peak

from lookalike.index.exact import threads
from lookalike.index.library import library
from lookalike.types import Ids, Vectors

faiss = library()

SPECS = ("HNSW32_SQ8", "IVF2048,SQ8", "OPQ96_384,IVF2048,PQ96x4fsr")
RECALLS = (0.95, 0.99)
BATCH = 256
QUERIES = 4 * BATCH
ROUNDS = 7


@dataclass
class Line:
    """What was measured of one contender at one setting: seconds a query, by round."""

    contender: Contender
    aim: float
    how: str
    search: Search
    recall: float
    single: list[float] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)


def lines(contenders: Sequence[Contender], queries: Vectors, truth: Ids) -> list[Line]:
    """One for each contender and aim; both aims of one that reaches them with the same effort are one."""
    made = []
    for aim in sorted({aim for one in contenders for aim in one.ways}):
        for one in contenders:
            if aim in one.ways:
                how, search = one.ways[aim]
                made.append(Line(one, aim, how, search, one.recall(search, queries, truth)))
    return made


def clocked(search: Search, vectors: Vectors) -> float:
    began = time.perf_counter()
    search(vectors)
    return time.perf_counter() - began


def measure(measured: Sequence[Line], queries: Vectors, singles: int, rounds: int) -> None:
    """By turns: `singles` queries one by one, then one batch, of each."""
    for number in range(rounds):
        some = [queries[(number * singles + at) % QUERIES][None] for at in range(singles)]
        block = queries[np.arange(number * BATCH, (number + 1) * BATCH) % QUERIES]
        for line in measured if number % 2 else measured[::-1]:
            line.search(some[0])
            line.single.append(statistics.median(clocked(line.search, one) for one in some))
            line.batch.append(clocked(line.search, block) / BATCH)


def told(measured: Sequence[Line], rows: int) -> None:
    """A table of one group; ratios are to bare FAISS at the same aim, as it is and refined to true scores."""
    print("| | build, s | CPU s | B a vector | aim | recall@10 | how | 1/s, single | of 256 | ours / faiss | refined |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for line in measured:
        build = line.contender.build
        ratios = " | ".join(_ratios(line, measured, tail) for tail in ("", ", refined"))
        cpu = f"{build.cpu:,.0f}" if build and build.cpu else ""
        built = f"{build.wall:,.0f} | {cpu} | {build.bytes / rows:,.0f}" if build else "| | "
        print(
            f"| {line.contender.name} | {built} | {line.aim:g} | {line.recall:.3f} | {line.how} "
            f"| {1 / statistics.median(line.single):,.4g} | {1 / statistics.median(line.batch):,.4g} | {ratios} |"
        )
    print()


def _ratios(line: Line, measured: Sequence[Line], tail: str) -> str:
    """Ours against FAISS at the same aim, single queries and batches; "" where that is not what the line is about."""
    name = line.contender.name.replace("ours, ", "faiss, ") + tail
    rival = next((one for one in measured if one.contender.name == name and one.aim == line.aim), None)
    if rival is None or not line.contender.name.startswith("ours, "):
        return ""
    return f"{_ratio(line.single, rival.single):.2f}, {_ratio(line.batch, rival.batch):.2f}"


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def exactly(place: Place, flat: Any, queries: Vectors, truth: Ids, rounds: int) -> None:
    """Exact search, and what share it uses of what the machine can do."""
    bare = Contender(
        "faiss, exact", None, {1.0: ("all rows", lambda vectors: flat.search(vectors, 10)[1])}, place.order
    )
    array = place.array()
    measured = lines([place.exactly(), bare], queries[:BATCH], truth[:BATCH])
    speeds: list[float] = []
    peaks: list[float] = []
    for _ in range(rounds):
        # What the memory can do is measured between the searches, not before a neighbour woke up.
        speeds.append(bandwidth(array, 1))
        measure(measured, queries, 5, 1)
        peaks.append(matrix_peak(repeats=1))
    told(measured, place.rows)
    flops = 2 * place.rows * place.dim
    for line in measured:
        shares = [array.nbytes / one / speed for one, speed in zip(line.single, speeds, strict=True)]
        parts = [flops / one / peak for one, peak in zip(line.batch, peaks, strict=True)]
        print(
            f"{line.contender.name}: {statistics.median(shares):.0%} of the memory's {max(speeds) / 1e9:.1f} GB/s for "
            f"single queries, {statistics.median(parts):.0%} of the matrix product's {max(peaks) / 1e9:.0f} GFLOP/s "
            "for batches"
        )
    print()


def graphs_and_codes(place: Place, flat: Any, queries: Vectors, truth: Ids, options: argparse.Namespace) -> None:
    """A group for each kind of index; the libraries that have graphs alone are in the first."""
    for spec in options.index:
        group = [place.ours(spec, RECALLS), *place.bare(spec, RECALLS, flat)]
        if "HNSW" in spec and not options.alone:
            group += [place.hnswlib(RECALLS, queries, truth), place.usearch(RECALLS, queries, truth)]
        measured = lines(group, queries, truth)
        measure(measured, queries, options.singles, options.rounds)
        told(measured, place.rows)
        del group, measured
        gc.collect()


def build(place: Place, specs: Sequence[str], alone: bool) -> None:
    """Everything that is not there yet."""
    for spec in specs:
        place.ours_built(spec)
    if not alone:
        place.hnswlib_built()
        place.usearch_built()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--singles", type=int, default=100)
    parser.add_argument("--index", nargs="+", default=SPECS, help="FAISS specs")
    parser.add_argument("--alone", action="store_true", help="without hnswlib and usearch")
    parser.add_argument("--build", action="store_true", help="build, measure nothing")
    options = parser.parse_args()
    place = Place(options.cache, options.rows, options.dim, options.index)
    build(place, options.index, options.alone)
    if options.build:
        return
    queries, before = Made(options.rows, options.dim).queries(QUERIES), os.getloadavg()[0]
    flat = place.flat()
    truth = place.truth(queries, flat)
    print(f"{options.rows:,} x {options.dim}, {threads()} threads, {QUERIES} queries that are not among the rows\n")
    exactly(place, flat, queries, truth, options.rounds)
    graphs_and_codes(place, flat, queries, truth, options)
    print(f"load average {before:.1f} before, {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
