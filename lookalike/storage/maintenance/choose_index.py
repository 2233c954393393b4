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
    """A kind of index: its spec, the bytes of a row of so many numbers, and how many rows it is for at most."""

    spec: str
    row_bytes: Callable[[int], float]
    most_rows: int


KINDS = (
    Kind("HNSW32_SQ8", lambda dim: dim + 2 * 32 * 4 + 16, 2_000_000),
    Kind("OPQ{parts}_{width},IVF{lists},PQ{parts}x4fsr", lambda dim: _parts(dim) / 2 + 8, 1 << 62),
)
"""Fastest first."""


def _parts(dim: int) -> int:
    return max(1, min(MOST_PARTS, dim // 4))


def automatic(rows: int, dim: int, memory: int) -> str:
    """The spec for a number of rows: none for few, else the first of `KINDS` that fits in a share of the memory."""
    if rows < EXACT_BELOW:
        return EXACT
    fitting = (kind for kind in KINDS if rows <= kind.most_rows and rows * kind.row_bytes(dim) <= MEMORY_SHARE * memory)
    lists = 1 << min(16, max(8, round(math.log2(4 * math.sqrt(rows)))))
    return next(fitting, KINDS[-1]).spec.format(parts=_parts(dim), width=4 * _parts(dim), lists=lists)


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
