"""The number of rows and the version of a server to a suitable kind of index."""

import re
from dataclasses import dataclass
from typing import Any

FLAT_UP_TO = 10_000
HNSW_UP_TO = 10_000_000
"""About 45 GB for vectors of 768 numbers and their graph, which fit the memory of a large node."""
MOST_RESULTS = 16_384
"""Milvus's own limit on the length of a list."""

UNTUNED = 1024
"""ef before it is measured: recall@10 of 1.00 on 20,000 random vectors of 177 numbers in one segment, where ef 256
reaches .95 (Milvus 2.3.5) and .98 (FAISS); vectors of pictures are easier."""
MOST_EF = 32_768
EFFORTS = (64, 128, 256, 512, 1024, 2048)
EXACT = 4096
"""An ef that stands for an exhaustive search: on 20,000 random vectors, the hardest case, 1,024 missed none."""


@dataclass(frozen=True)
class Kind:
    """An index of Milvus: its name there, its build parameters, and the effort of a search for `k` results.

    With `rescored`, the server's scores are approximate, and are replaced by cosines with the stored vectors.
    """

    name: str
    build: tuple[tuple[str, Any], ...] = ()
    rescored: bool = False

    def search_params(self, k: int, careful: bool = False, effort: int = UNTUNED) -> dict[str, Any]:
        """The parameters of a search for `k` results, with four times the effort for a `careful` search.

        `effort` is HNSW's ef that was measured to suffice for the collection (see `tuning`).
        """
        times = 4 if careful else 1
        if self.name == "HNSW":
            return {"ef": min(MOST_EF, times * max(effort, 2 * k))}
        if self.name == "IVF_RABITQ":
            return {"nprobe": 64 * times, "refine_k": 4}
        if self.name == "DISKANN":
            return {"search_list": times * max(128, 2 * k)}
        return {}


FLAT = Kind("FLAT")
HNSW = Kind("HNSW", (("M", 32), ("efConstruction", 200)))
RABITQ = Kind("IVF_RABITQ", (("nlist", 8192), ("refine", True), ("refine_type", "SQ8")), rescored=True)
DISKANN = Kind("DISKANN")
KINDS = {kind.name: kind for kind in (FLAT, HNSW, RABITQ, DISKANN)}


def suitable(count: int, version: str) -> Kind:
    """FLAT for few rows, HNSW while the graph fits memory, then one bit a number (IVF_RABITQ, refined) or DISKANN.

    IVF_RABITQ exists since Milvus 2.6. A build named `-lite` accepts DISKANN, never builds it, and then silently
    searches only part of the rows (measured on 2.3.5-lite), so there HNSW stays.
    """
    if count <= FLAT_UP_TO:
        return FLAT
    if count <= HNSW_UP_TO or "lite" in version:
        return HNSW
    return RABITQ if released(version) >= (2, 6) else DISKANN


def released(version: str) -> tuple[int, int]:
    """`v2.3.5-lite` as (2, 3); (0, 0) for a version without numbers."""
    match = re.search(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)
