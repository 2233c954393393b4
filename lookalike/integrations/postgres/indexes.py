"""The number of rows and of numbers in a vector to an index of pgvector, and to the settings of a search with it."""

import math
from dataclasses import dataclass

from lookalike.integrations.tuning import MEASURED

EXACT_UP_TO = 10_000
"""Rows that are compared one by one: some milliseconds."""
MOST_DIMS = {"float32": 2000, "float16": 4000}
"""pgvector's limits on what an index takes, a `vector` and a `halfvec`."""
MOST_EF = 1000
"""pgvector's limit on hnsw.ef_search; beyond it an iterative scan reads on."""
MOST_MEMORY = 1 << 30
"""Bytes of maintenance_work_mem at most: a graph that does not fit is built several times slower."""


@dataclass(frozen=True)
class Kind:
    """A kind of index: its name in PostgreSQL, the efforts that are tried, and the one of a collection untuned."""

    name: str
    efforts: tuple[int, ...] = ()
    untuned: int = 0

    def options(self, count: int) -> str:
        """The WITH clause of CREATE INDEX."""
        if self.name == "ivfflat":
            return f"WITH (lists = {lists(count)})"
        return "WITH (m = 16, ef_construction = 128)"

    def reads(self, k: int, effort: int, share: float = 1.0) -> int:
        """How many rows a search for the best `k` reads: more where ef_search ends before the effort does.

        They are rows that meet a filter: `share` of those that the scan passes.
        """
        wide = self._wide(k, effort, share)
        return max(k, math.ceil(wide * share)) if self.name == "hnsw" and wide > MOST_EF else k

    def _wide(self, k: int, effort: int, share: float) -> int:
        """The effort for `k` results, of one measured with `MEASURED`: a hundred lie in more lists than ten.

        So do ten of every tenth row, which are as far away.
        """
        depth = k / share
        return (
            max(effort, math.ceil(2 * depth)) if self.name == "hnsw" else math.ceil(effort * max(1, depth / MEASURED))
        )

    def settings(self, k: int, effort: int, count: int, share: float = 1.0) -> dict[str, str]:
        """The settings of a search of this effort: an iterative scan goes on where a filter leaves too few."""
        if self.name == "ivfflat":
            probes = str(max(1, min(self._wide(k, effort, share), lists(count))))
            return {
                "ivfflat.probes": probes,
                "ivfflat.iterative_scan": "relaxed_order",
                "ivfflat.max_probes": str(max(int(probes), lists(count))),
            }
        return {
            "hnsw.ef_search": str(min(self._wide(k, effort, share), MOST_EF)),
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.max_scan_tuples": str(max(20_000, count // 4)),
        }


EXACT = Kind("exact")
# Not less than 64: with 40 that passed on stored vectors, new ones got a recall of .98 (12,000 x 384).
HNSW = Kind("hnsw", (64, 128, 256, 512, 1000, 2000, 4000), 400)
IVFFLAT = Kind("ivfflat", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512), 32)
KINDS = {kind.name: kind for kind in (EXACT, HNSW, IVFFLAT)}


def lists(count: int) -> int:
    """Lists of an inverted file, as pgvector's documentation advises."""
    return max(10, min(32_768, count // 1000 if count <= 1_000_000 else round(math.sqrt(count))))


def suitable(count: int, dim: int, dtype: str) -> Kind:
    """No index for few rows, or for vectors that are too long for one; else a graph."""
    return HNSW if count > EXACT_UP_TO and dim <= MOST_DIMS[dtype] else EXACT


def building_memory(count: int, dim: int, dtype: str) -> int:
    """Bytes of maintenance_work_mem for a graph: vectors, links and 200 bytes besides."""
    size = dim * (4 if dtype == "float32" else 2) + 2 * 16 * 12 + 200
    return min(MOST_MEMORY, max(64 << 20, round(1.2 * count * size)))
