"""How many rows there are, and what the server is, to the kind of index that suits them."""

import re
from dataclasses import dataclass
from typing import Any

FLAT_UP_TO = 10_000
HNSW_UP_TO = 10_000_000
"""About 45 GB of 768 numbers and their graph: what one large node still holds in memory."""
MOST_RESULTS = 16_384
"""Milvus's own limit on the length of one list."""

UNTUNED = 1024
"""ef where nothing was measured yet: recall@10 of 1.00 on 20,000 random vectors of 177 numbers in one segment, of which
256 found .95 (Milvus 2.3.5) and .98 (FAISS); vectors of pictures are easier."""
MOST_EF = 32_768


@dataclass(frozen=True)
class Kind:
    """An index of Milvus: its name there, how it is built, and how wide a search for `k` looks.

    Where `rescored`, the scores of the server are approximate, and are replaced by cosines with the stored vectors.
    """

    name: str
    build: tuple[tuple[str, Any], ...] = ()
    rescored: bool = False

    def search_params(self, k: int, careful: bool = False, effort: int = UNTUNED) -> dict[str, Any]:
        """What a search for `k` results says about its effort; four times that where it is to be `careful`.

        `effort` is HNSW's ef, as it was found to suffice for the collection (see `engines.effort`).
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


def wanted(count: int, version: str) -> Kind:
    """FLAT for a few, HNSW while the graph fits memory, then one bit a number (IVF_RABITQ, refined) or DISKANN.

    IVF_RABITQ came with Milvus 2.6. A build named `-lite` accepts DISKANN, never builds it and then answers from part
    of the rows without a word (measured on 2.3.5-lite), so there it stays HNSW.
    """
    if count <= FLAT_UP_TO:
        return FLAT
    if count <= HNSW_UP_TO or "lite" in version:
        return HNSW
    return RABITQ if released(version) >= (2, 6) else DISKANN


def released(version: str) -> tuple[int, int]:
    """`v2.3.5-lite` as (2, 3); (0, 0) for what has no number."""
    found = re.search(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)
