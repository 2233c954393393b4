"""A FAISS index beside the vectors: kept in `<collection>/index`, checked before it is read, asked for candidates.

It is a cache: where it is missing, damaged or of other vectors, the search is exact. The rows that were held out for
measuring have the last positions in it; the position of any other row is its number less the held-out rows below it.
Candidates are rescored from the stored vectors, since compressed indexes return distorted scores.
"""

import json
import logging
import math
import zlib
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import LookalikeError
from lookalike.index.library import library
from lookalike.types import Ids, Scores, Vectors
from lookalike.utils.files import known_sha256, sha256_of

FOLDER = "index"
FILE = "index.json"
DEFAULT_RECALL = 0.99
"""The recall of a search that names none; where no setting reaches it, the best one that was measured is used."""
LEAST_SHARE = 0.2
"""Where a smaller share of the rows is live, a graph or an inverted file finds too little, and exact search is fast."""

KEPT_SETTINGS = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchSetting:
    """A point of the curve: `effort` (efSearch, nprobe), candidates per result (`factor`), recall, s per query.

    `recall` is of `depth` results, and at the least depth of the first result too, whichever is lower. Fewer results
    than `depth` are chosen from as many candidates: a tenth of these would find less.
    """

    effort: int
    factor: int
    recall: float
    seconds: float
    depth: int = 10


@dataclass(frozen=True)
class IndexRecord:
    """The content of index.json: the vectors that the index is of, its file, and its measured recall; see `Candidates`.

    `held` are the rows that were held out for measuring.
    """

    spec: str
    collection: str
    rows: int
    vectors_crc: int
    held: tuple[int, ...]
    file: str
    sha256: str
    bytes: int
    seconds: float
    curve: tuple[SearchSetting, ...] = field(default=())
    selects: bool = True
    """Whether a FAISS selector returns the candidates of a full search without the rows that it excludes."""

    def setting(self, recall: float | None, k: int = 10) -> SearchSetting | None:
        """The fastest setting that reaches `recall` with k results; None where only exact search does."""
        curve = self.points(k)
        reaching = [point for point in curve if point.recall >= (DEFAULT_RECALL if recall is None else recall)]
        if reaching:
            return min(reaching, key=lambda point: point.seconds)
        return max(curve, key=lambda point: point.recall, default=None) if recall is None else None

    @property
    def depths(self) -> list[int]:
        """The numbers of results for which recall was measured, least first."""
        return sorted({point.depth for point in self.curve})

    def points(self, k: int) -> list[SearchSetting]:
        """The curve of the least depth that holds k results, or of the greatest."""
        depth = next((depth for depth in self.depths if k <= depth), max(self.depths, default=0))
        return [point for point in self.curve if point.depth == depth]

    def to_text(self) -> str:
        """The content of index.json."""
        values = asdict(self)
        return json.dumps({**values, "checksum": _checksum(values)}, indent=1) + "\n"


def _checksum(values: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


def read(path: Path) -> IndexRecord | None:
    """The index.json of the collection in `path`; None where there is none or it is damaged, which is logged."""
    try:
        values = json.loads((path / FOLDER / FILE).read_text(encoding="utf-8"))
        checksum = values.pop("checksum")
        # Of the values as they are written: an older release wrote fewer of them.
        is_whole = checksum == _checksum(values)
        curve, held_out = [SearchSetting(**point) for point in values.pop("curve")], tuple(values.pop("held"))
        record = IndexRecord(**values, held=held_out, curve=tuple(curve))
        if is_whole:
            return record
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    log.warning("%s is damaged; searching exactly until `lookalike optimize` makes it anew", path / FOLDER / FILE)
    return None


def stamp(file: Path) -> tuple[int, int] | None:
    """A value that changes whenever `file` (an index.json) is replaced; None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def facts(path: Path, collection: str, rows: int) -> dict[str, Any]:
    """What `info` says of the index; empty where there is none of this collection."""
    record = read(path)
    if record is None or record.collection != collection or record.rows > rows:
        return {}
    used = record.setting(None)
    reached = {depth: point.recall for depth in record.depths if (point := record.setting(None, depth))}
    return {
        "spec": record.spec,
        "rows": record.rows,
        "rows beside": rows - record.rows,
        **{f"recall@{depth}": recall for depth, recall in reached.items()},
        "ms a query": round(1000 * used.seconds, 3) if used else None,
        "bytes a vector": round(record.bytes / max(1, record.rows), 1),
        "seconds to build": record.seconds,
    }


def damage(path: Path, repair: bool = False) -> list[str]:
    """The faults of a collection's index; with `repair` a damaged index is deleted."""
    if not (path / FOLDER / FILE).is_file():
        return []
    record = read(path)
    fault = None
    if record is None:
        fault = f"{FOLDER}/{FILE} is damaged"
    elif not _matches(path / FOLDER / record.file, record.sha256):
        fault = f"{FOLDER}/{record.file} does not match its checksum"
    if fault and repair:
        drop(path)
    return [fault] if fault else []


def drop(path: Path) -> None:
    """Delete the index, index.json first."""
    (path / FOLDER / FILE).unlink(missing_ok=True)
    for file in (path / FOLDER).glob("*.faiss*"):
        file.unlink(missing_ok=True)


def _matches(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except OSError:
        return False


def is_trusted(path: Path, sha256: str) -> bool:
    """Whether a file has this SHA-256; read through again only where it changed (see `known_sha256`)."""
    try:
        return known_sha256(path) == sha256
    except OSError:
        return False


@lru_cache(maxsize=4)
def _load(path: Path, sha256: str) -> Any:
    """The FAISS index, memory-mapped; None where the file does not have its checksum or cannot be read."""
    faiss = library()

    if not is_trusted(path, sha256):
        log.warning("%s is damaged; searching exactly until `lookalike optimize` makes it anew", path)
        return None
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        log.warning("%s cannot be read (%s); searching exactly", path, faiss_reason(error))
        return None


def parameters(index: Any, effort: int, selector: Any = None) -> Any:
    """Search parameters for any kind of index: `effort` (efSearch, nprobe), and a selector of positions."""
    faiss = library()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=parameters(index.index, effort, selector))
    if isinstance(index, faiss.IndexRefine):
        inner = parameters(index.base_index, effort, selector)
        return faiss.IndexRefineSearchParameters(k_factor=1, base_index_params=inner)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(sel=selector, efSearch=effort)
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(sel=selector, nprobe=effort)
    return faiss.SearchParameters(sel=selector)


def core(index: Any) -> Any:
    """The index inside transforms and refinements."""
    faiss = library()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return core(index.index)
    return core(index.base_index) if isinstance(index, faiss.IndexRefine) else index


def is_graph(index: Any) -> bool:
    """Whether it is an HNSW graph, whose effort must be at least the number of results."""
    return isinstance(core(index), library().IndexHNSW)


class Candidates:
    """A built index, searched among the rows for which `live` (n,) holds; None: all rows."""

    def __init__(self, built: IndexRecord, index: Any, live: NDArray[np.bool_] | None) -> None:
        self.built, self.index = built, index
        self._held_out = np.array(built.held, np.int64)
        self._main = built.rows - len(self._held_out)
        self._shift = self._held_out - np.arange(len(self._held_out))
        self._is_graph = is_graph(index)
        # FAISS 1.15.1 returns wrong results where fast-scan codes are searched with nprobe above the number of lists.
        self._most = int(getattr(core(index), "nlist", 1 << 30))
        # Going through the curve takes as long as rescoring some results.
        self.setting = lru_cache(maxsize=KEPT_SETTINGS)(built.setting)
        self._select(live)

    def among(self, live: NDArray[np.bool_] | None) -> "Candidates":
        """The same index, searched among other rows."""
        if live is self._live:
            return self
        narrowed = copy(self)
        narrowed._select(live)
        return narrowed

    def _select(self, live: NDArray[np.bool_] | None) -> None:
        self._parameters: dict[int, Any] = {}
        self._selector, self._live, self.share = None, live, 1.0
        if live is None:
            return
        counted = live[: self.built.rows]
        self.share = np.count_nonzero(counted) / len(counted) if len(counted) else 0.0
        if self.built.selects:
            faiss = library()
            self._bits = np.packbits(self._in_positions(counted), bitorder="little")
            self._selector = faiss.IDSelectorBitmap(len(self._bits) * 8, faiss.swig_ptr(self._bits))

    def _in_positions(self, counted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask of rows (n,) as a mask of positions (n,)."""
        return np.concatenate([np.delete(counted, self._held_out), counted[self._held_out]])

    def find(self, vectors: Vectors, k: int, setting: SearchSetting) -> Ids:
        """(m, dim) queries to (m, c) rows in any order, c at least k; -1 where there are fewer. Raises LookalikeError.

        With more results than the setting was measured for, the effort grows with them.
        """
        # Where few rows are live, most of what FAISS visits is not: fetch more, and search harder.
        share, results = max(self.share, 1e-6), max(k, setting.depth)
        fetch = min(int(results * setting.factor / (1.0 if self.built.selects else share)), int(self.index.ntotal))
        effort = math.ceil(setting.effort * results / setting.depth / share)
        effort = max(effort, fetch) if self._is_graph else min(effort, self._most)
        try:
            _, positions = self.index.search(vectors, fetch, params=self._of_effort(effort))
        except (RuntimeError, AssertionError) as error:
            raise LookalikeError(f"the index {self.built.spec} cannot answer ({faiss_reason(error)})") from error
        rows = self.rows(positions)
        if self._live is not None and not self.built.selects:
            rows = np.where(self._live[np.maximum(rows, 0)], rows, -1)
        return rows

    def is_full(self, ids: Ids) -> bool:
        """Whether `ids` (1, c) from `find` hold no -1; FAISS puts these last."""
        return bool(ids[0, -1] >= 0) and (self._live is None or self.built.selects)

    def _of_effort(self, effort: int) -> Any:
        """The search parameters of an effort, made once: making them takes longer than many a search."""
        if effort not in self._parameters:
            self._parameters[effort] = parameters(self.index, effort, self._selector)
        return self._parameters[effort]

    def rows(self, positions: Ids) -> Ids:
        """Positions in the index to rows of the collection."""
        if not len(self._held_out):
            return positions
        rows = positions + self._shift.searchsorted(positions.ravel(), side="right").reshape(positions.shape)
        if positions.max() >= self._main:
            rows = np.where(positions < self._main, rows, self._held_out[np.maximum(positions - self._main, 0)])
        return rows


def open_candidates(path: Path, collection: str, rows: int, vectors_crc: Callable[[int], int]) -> Candidates | None:
    """The index of a collection; None where there is none of these vectors.

    `vectors_crc(rows)` is compared with `IndexRecord.vectors_crc`.
    """
    record = read(path)
    if record is None or record.collection != collection or record.rows > rows or not record.curve:
        return None
    if record.vectors_crc != vectors_crc(record.rows):
        log.warning("the index in %s is of other vectors; searching exactly", path / FOLDER)
        return None
    index = _load(path / FOLDER / Path(record.file).name, record.sha256)
    if index is None:
        return None
    if index.ntotal != record.rows:
        log.warning(
            "the index in %s is an older version's; searching exactly until `lookalike optimize`", path / FOLDER
        )
        return None
    return Candidates(record, index, None)


def ranked(vector: Vectors, ids: Ids, mapped: Vectors, k: int) -> tuple[Scores, Ids]:
    """(1, k) cosines and rows, best first, of one query (dim,) and its candidates `ids` (c,), none of them -1.

    Does for a single query, as most searches are, what `rescore` and `exact.best` do, in a tenth of the time of a graph
    search: waking the threads of FAISS would take as long as the search itself.
    """
    scores = mapped.take(ids, axis=0, mode="clip").dot(vector)
    order = np.lexsort((ids, -scores))[:k]
    return np.minimum(np.maximum(scores[order], -1), 1)[None], ids[order][None]


def rescore(vectors: Vectors, ids: Ids, stored: Callable[[Ids], Vectors], mapped: Vectors | None) -> Scores:
    """Cosines of each query (m, dim) to its candidates `ids` (m, c), -1 where there is none.

    `mapped` (n, dim) are all rows where they are stored as float32: FAISS reads them in place. Otherwise `stored(ids)`
    reads the candidates.
    """
    if mapped is None:
        scores = np.concatenate([_scores_of(vectors[at], ids[at], stored) for at in _groups(ids)])
    else:
        faiss = library()
        scores = np.empty(ids.shape, np.float32)
        ids = np.ascontiguousarray(ids)
        pointer = faiss.swig_ptr
        faiss.fvec_inner_products_by_idx(
            pointer(scores), pointer(vectors), pointer(mapped), pointer(ids), vectors.shape[1], *ids.shape
        )
    np.minimum(np.maximum(scores, -1, out=scores), 1, out=scores)
    scores[ids < 0] = -1
    return scores


def _groups(ids: Ids) -> Sequence[slice]:
    size = max(1, 8192 // max(1, ids.shape[1]))
    return [slice(at, at + size) for at in range(0, len(ids), size)]


def _scores_of(vectors: Vectors, ids: Ids, stored: Callable[[Ids], Vectors]) -> Scores:
    rows = stored(np.maximum(ids, 0).ravel()).reshape(*ids.shape, -1)
    return np.asarray(np.matmul(rows, vectors[:, :, None])[:, :, 0], np.float32)


def faiss_reason(error: Exception) -> str:
    """What FAISS says of an error, without the place in its sources and the condition that failed."""
    line = str(error).splitlines()[-1].strip()
    return line.rpartition("failed: ")[2] or line
