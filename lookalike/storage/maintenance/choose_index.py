"""The kind of index for a number of rows and the memory that is free: the fastest that was measured and fits."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

EXACT = "exact"
EXACT_BELOW = 100_000
"""Rows; an exact search of so many takes 11 ms (768 dimensions, two cores)."""
MEMORY_SHARE = 0.25
"""The share of free memory that an index may take, which holds all of it while it is built or used."""
MOST_PARTS = 96


@dataclass(frozen=True)
class Kind:
    """A kind of index: its spec, the bytes of a row of so many numbers, and what was measured of a million rows.

    `build` are the seconds that building takes, `query` those of a query at recall@10 of .99; of 768 numbers, on two
    cores (docs/performance.md, Search of a million vectors).
    """

    spec: str
    row_bytes: Callable[[int], float]
    build: float
    query: float


KINDS = (
    Kind("HNSW32_SQ8", lambda dim: dim + 2 * 32 * 4 + 16, 602, 1 / 1632),
    Kind("OPQ{parts}_{width},IVF{lists},PQ{parts}x4fsr", lambda dim: _parts(dim) / 2 + 8, 187, 1 / 882.9),
)
LONGEST = 1800
"""Seconds that building may take at most, where there is a choice."""


def _parts(dim: int) -> int:
    return max(1, min(MOST_PARTS, dim // 4))


def automatic(rows: int, dim: int, memory: int) -> str:
    """The spec for a number of rows: none for few, else of the kind with the fastest queries that can be built.

    It has to fit in a share of `memory` bytes, and to be built in half an hour. Where none does, it is the smallest.
    """
    if rows < EXACT_BELOW:
        return EXACT
    possible = [kind for kind in KINDS if _fits(kind, rows, dim, memory) and rows * kind.build / 1e6 <= LONGEST]
    smallest = min(KINDS, key=lambda kind: kind.row_bytes(dim))
    kind = min(possible, key=lambda kind: kind.query, default=smallest)
    lists = 1 << min(16, max(8, round(math.log2(4 * math.sqrt(rows)))))
    return kind.spec.format(parts=_parts(dim), width=4 * _parts(dim), lists=lists)


def _fits(kind: Kind, rows: int, dim: int, memory: int) -> bool:
    return rows * kind.row_bytes(dim) <= MEMORY_SHARE * memory


def available_memory() -> int:
    """Bytes that are available without swapping, by the kernel and by the control group's limit."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")]
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            limits = [int(line.split()[1]) * 1024]
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].strip().isdecimal():
        limits.append(max(0, int(limit[0]) - int(used[0])))
    return min(limits)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []
