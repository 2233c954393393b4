"""A collection to a FAISS index of it: chosen, trained on a sample, filled block by block, and measured."""

import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.errors import CollectionError, IndexSpecError, LookalikeError
from lookalike.index.ann import (
    FILE,
    FOLDER,
    Candidates,
    IndexRecord,
    SearchSetting,
    core,
    drop,
    faiss_reason,
    is_graph,
    is_trusted,
    rescore,
)
from lookalike.index.exact import ExactIndex, share_of
from lookalike.index.library import library
from lookalike.storage.maintenance.choose_index import EXACT, automatic, available_memory
from lookalike.storage.maintenance.train_index import BLOCK, finite_rows, train
from lookalike.storage.store import Store
from lookalike.types import Ids, Progress, Vectors
from lookalike.utils.files import reason, sha256_of, sync_folder, write_whole
from lookalike.utils.text import counted

HELD_BACK = 200
"""Rows that are added last and serve as queries for measuring recall."""
DEPTHS = (10, 100, 1000)
"""Results for which recall is measured: what a search shows, what a page leafs through, what a re-ranker looks at."""
QUERIES = {10: 200, 100: 200, 1000: 50}
"""Rows that are asked for, of those held back; a thousand neighbours of 50 are a sample as large."""
RESULTS = DEPTHS[0]
EFFORTS = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
HARDEST = 4
"""The greatest effort with a graph, in results, beside 512."""
PROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288)
MOST_PROBED, SHARE_PROBED = 512, 4
"""The greatest effort with an inverted file: so many lists, or one in four where these are more."""
FACTORS = (1, 2, 4, 8, 16, 32)
MOST_CANDIDATES = 8000
"""Candidates a query of which recall is measured; with more, exact search is as fast."""
TIMED = 3
"""Repetitions, of which the fastest counts: other load on the machine must not decide between settings."""
ENOUGH_SECONDS = 0.5
"""A setting is not measured again after this time in all."""
PERFECT = 0.9995
WHOLE = 8
"""Where more than one in so many of the rows is a result, an index saves nothing."""
LEAST_GAIN = 0.001
"""Recall: where twice the candidates add less, four times as many are not tried."""
SLACK = 0.02
"""Recall: the noise with 200 queries."""
CONSTRUCTION = 80
"""efConstruction: at 40 recall stays below .99 on a million vectors, at 160 building takes twice as long."""


@dataclass(frozen=True)
class IndexBuild:
    """The index that `optimize` built: spec, rows, seconds, bytes, and the curves of recall and time."""

    spec: str
    rows: int
    seconds: float
    bytes: int
    curve: tuple[SearchSetting, ...]


def optimize(store: Store, spec: str = "auto", progress: Progress | None = None) -> IndexBuild:
    """Build the index of an open collection, and replace the one that it has, if any.

    `spec` is a FAISS factory string, `auto`, or `exact` for none. The collection can be searched and written to
    meanwhile; new rows are searched exactly beside the index. An interruption leaves the old index, or none.
    Raises IndexSpecError for a spec that FAISS or this collection cannot use.
    """
    if store.header.engine:
        return _in_engine(store, spec)
    rows = store.catalog.count_rows()
    if spec == "auto":
        spec = automatic(rows, store.header.dim, available_memory())
    if spec == EXACT:
        drop(store.path)
        return IndexBuild(EXACT, rows, 0.0, 0, ())
    return _build(store, spec, rows, progress)


def _in_engine(store: Store, spec: str) -> IndexBuild:
    """Have the engine build an index of its own; it measures the effort of searches by itself."""
    with store.writing():
        started, rows = time.perf_counter(), store.catalog.count_rows()
        name, size = store.vectors.build(spec)
    return IndexBuild(name, rows, time.perf_counter() - started, size, ())


def _build(store: Store, spec: str, rows: int, progress: Progress | None) -> IndexBuild:
    folder = store.path / FOLDER
    draft = folder / f"{uuid.uuid4().hex}.faiss.new"
    started = time.perf_counter()
    index = _empty(spec, store.header.dim)
    live = np.ones(rows, np.bool_)
    live[[row for row in store.catalog.removed_rows().tolist() if row < rows]] = False
    if np.count_nonzero(live) < 2 * RESULTS:
        raise IndexSpecError(
            f"{store.path}: {counted(int(np.count_nonzero(live)), 'image is', 'images are')} too few for an index"
        )
    held_back = _held_back(live)
    try:
        train(index, spec, store, np.setdiff1d(np.flatnonzero(live), held_back, assume_unique=True))
        _fill(index, store, rows, held_back, progress)
        seconds = time.perf_counter() - started
        built = IndexRecord(
            *(spec, store.header.id, rows, store.digest(rows), tuple(held_back.tolist())),
            *("", "", 0, round(seconds, 3)),
        )
        built = replace(built, curve=curve(store, built, index, live))
        built = replace(built, selects=_selects(store, built, index, live))
        _add(index, store, held_back)
        folder.mkdir(exist_ok=True)
        _write(index, draft)
        sha256 = sha256_of(draft)
        built = replace(built, file=f"{sha256[:16]}.faiss", sha256=sha256, bytes=draft.stat().st_size)
        if store.replaced:
            raise CollectionError(f"{store.path} was replaced by another process meanwhile; optimise it again")
        _install(folder, draft, built)
    except OSError as error:
        raise CollectionError(f"{folder}: {reason(error)}") from error
    finally:
        draft.unlink(missing_ok=True)
    return IndexBuild(spec, rows, built.seconds, built.bytes, built.curve)


def _empty(spec: str, dim: int) -> Any:
    faiss = library()

    if "IDMap" in spec:
        raise IndexSpecError(f"{spec}: rows are numbered by their positions; leave the IDMap out")
    try:
        index = faiss.index_factory(dim, spec, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise IndexSpecError(f"{spec}: no FAISS index of {dim} numbers ({faiss_reason(error)})") from error
    if is_graph(index):
        core(index).hnsw.efConstruction = CONSTRUCTION
    return index


def _held_back(live: Any) -> Ids:
    rows = np.flatnonzero(live)
    count = min(HELD_BACK, len(rows) // 4)
    return np.sort(np.random.default_rng(0).choice(rows, count, replace=False)).astype(np.int64)


def _fill(index: Any, store: Store, rows: int, held_back: Ids, progress: Progress | None) -> None:
    """Add all rows but those held back, removed ones too, since positions are row numbers."""
    for start in range(0, rows, BLOCK):
        ids = np.setdiff1d(np.arange(start, min(start + BLOCK, rows)), held_back, assume_unique=True)
        _add(index, store, ids)
        if progress:
            progress(min(start + BLOCK, rows), rows)


def _add(index: Any, store: Store, ids: Ids) -> None:
    try:
        index.add(finite_rows(store, ids))
    except RuntimeError as error:
        raise IndexSpecError(f"rows cannot be added to this index ({faiss_reason(error)})") from error


def _write(index: Any, path: Path) -> None:
    faiss = library()

    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise CollectionError(f"{path.parent}: the index cannot be written ({faiss_reason(error)})") from error
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _install(folder: Path, draft: Path, built: IndexRecord) -> None:
    """Rename the index, then write index.json, which names it; then delete the old index."""
    draft.replace(folder / built.file)
    write_whole(folder / FILE, built.to_text())
    sync_folder(folder)
    for other in folder.glob("*.faiss*"):
        if other.name != built.file:
            other.unlink(missing_ok=True)
    is_trusted(folder / built.file, built.sha256)  # caches the checksum for the first search


def curve(store: Store, built: IndexRecord, index: Any, live: Any) -> tuple[SearchSetting, ...]:
    """Recall and time by effort and number of results, of the rows held back, against exact search of the others."""
    queries, truth = _queries_and_truth(store, built, live, DEPTHS[-1])
    candidates = Candidates(built, index, None if live.all() else live)
    # With more results than one of so many rows a search is exact.
    most = max(RESULTS, int(np.count_nonzero(live)) // WHOLE)
    return tuple(
        point
        for depth in DEPTHS
        if depth <= most
        for point in _curve_at(store, candidates, queries[: QUERIES[depth]], truth[: QUERIES[depth], :depth])
    )


def _curve_at(store: Store, candidates: Candidates, queries: Vectors, truth: Ids) -> list[SearchSetting]:
    """The settings of which none is both faster and better, fastest first, for as many results as `truth` has."""
    settings: list[SearchSetting] = []
    for effort in _efforts(candidates.index, truth.shape[1]):
        settings += _measured(store, candidates, queries, truth, effort)
        if settings[-1].recall >= PERFECT:
            break
    best: list[SearchSetting] = []
    for setting in sorted(settings, key=lambda setting: (setting.seconds, -setting.recall)):
        if not best or setting.recall > best[-1].recall:
            best.append(setting)
    return best


def _queries_and_truth(store: Store, built: IndexRecord, live: Any, results: int) -> tuple[Vectors, Ids]:
    """The rows that were held back, as queries, and the true nearest of them among the rows of the index."""
    searched = live.copy()
    searched[list(built.held)] = False
    queries = store.vectors.rows(np.array(built.held))
    count = min(results, int(np.count_nonzero(searched)))
    return queries, ExactIndex(store.vectors, searched, built.rows).search(queries, count)[1]


def _selects(store: Store, built: IndexRecord, index: Any, live: Any) -> bool:
    """Whether FAISS finds as much with a selector as by dropping rows afterwards, measured on half of the rows."""
    even = live & (np.arange(len(live)) % 2 == 0)
    queries, truth = _queries_and_truth(store, built, even, RESULTS)
    setting = built.setting(None)
    if setting is None or not truth.size:
        return False
    recalls = []
    for selects in (True, False):
        try:
            ids = Candidates(replace(built, selects=selects), index, even).find(queries, truth.shape[1], setting)
        except LookalikeError:
            return False
        recalls.append(share_of(ids, truth))
    return recalls[0] >= recalls[1] - SLACK


def _efforts(index: Any, results: int) -> Sequence[int]:
    faiss = library()

    if is_graph(index):
        # With less than the number of results FAISS finds nothing else than with as much.
        return sorted({results, *(effort for effort in EFFORTS if results < effort <= max(512, HARDEST * results))})
    if not isinstance(core(index), faiss.IndexIVF):
        return (0,)
    lists = int(core(index).nlist)
    most = min(lists, max(MOST_PROBED, lists // SHARE_PROBED))
    return [*(probes for probes in PROBES if probes < most), most]


def _measured(store: Store, candidates: Candidates, queries: Vectors, truth: Ids, effort: int) -> list[SearchSetting]:
    """An effort with more and more candidates per result."""
    settings: list[SearchSetting] = []
    count = truth.shape[1]
    mapped = store.vectors.block(0, candidates.built.rows) if store.header.dtype == "float32" else None
    for factor in (factor for factor in FACTORS if factor == 1 or count * factor <= MOST_CANDIDATES):
        setting = SearchSetting(effort, factor, 0.0, 0.0, count)
        times: list[float] = []
        while len(times) < TIMED and sum(times) < ENOUGH_SECONDS:
            started = time.perf_counter()
            ids = candidates.find(queries, count, setting)
            rescore(queries, ids, store.vectors.rows, mapped)
            times.append(time.perf_counter() - started)
        seconds = min(times) / len(queries)
        before = settings[-1].recall if settings else -1.0
        recall = min(share_of(ids, truth), share_of(ids, truth[:, :1]) if count <= RESULTS else 1.0)
        settings.append(replace(setting, recall=round(recall, 4), seconds=seconds))
        if settings[-1].recall >= PERFECT or settings[-1].recall < before + LEAST_GAIN:
            break
    return settings
