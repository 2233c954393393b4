"""What `benchmarks/search.py` compares: this package's search, bare FAISS at the same settings, hnswlib and usearch.

Everything is built once and kept in a folder, with what building took; an interrupted run goes on where it stopped.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from made_vectors import named, written

from lookalike.index.ann import FOLDER, IndexRecord, SearchSetting, is_graph, parameters
from lookalike.index.ann import read as read_built
from lookalike.index.exact import share_of
from lookalike.index.library import library
from lookalike.search.gallery import StoredGallery
from lookalike.storage.maintenance.build_index import CONSTRUCTION, EFFORTS, optimize
from lookalike.storage.maintenance.transfer import import_vectors
from lookalike.storage.store import Store, is_collection
from lookalike.types import Ids, Vectors

faiss = library()

K = 10
LINKS = 32
"""M of hnswlib and usearch, which have 2 M links at the lowest level, as FAISS's HNSW32 has."""
FILL = 16_384


@dataclass(frozen=True)
class Build:
    """What building took: seconds by the clock, seconds of processor time where they are known, bytes on disk."""

    wall: float
    cpu: float | None
    bytes: int


Search = Callable[[Vectors], Ids]


@dataclass(frozen=True)
class Contender:
    """One that searches at some effort: its name, what it took to build, and recall to (how, search).

    `order` says which row is meant by what it finds; None: the row of that number.
    """

    name: str
    build: Build | None
    ways: dict[float, tuple[str, Search]]
    order: Ids | None = None

    def recall(self, search: Search, queries: Vectors, truth: Ids) -> float:
        """Which share of the true nearest rows one of its ways finds."""
        found = search(queries)
        return share_of(found if self.order is None else self.order[found], truth)


def built(note: Path, make: Callable[[], int]) -> Build:
    """Run `make`, which gives bytes, unless `note` says what it took."""
    if note.is_file():
        return Build(**json.loads(note.read_text(encoding="ascii")))
    wall, cpu = time.perf_counter(), time.process_time()
    size = make()
    took = Build(time.perf_counter() - wall, time.process_time() - cpu, size)
    note.write_text(json.dumps(asdict(took)), encoding="ascii")
    return took


class Place:
    """The folder of one size: rows, names, the collection, and everything that is built of them."""

    def __init__(self, cache: Path, rows: int, dim: int, specs: Sequence[str]) -> None:
        self.rows, self.dim, self.specs = rows, dim, specs
        self.path = cache / f"{rows}x{dim}"
        self.path.mkdir(parents=True, exist_ok=True)
        self.vectors = written(self.path / "vectors.npy", rows, dim)
        self.collection = self.path / "collection"
        if not is_collection(self.collection):
            import_vectors(self.vectors, self.collection, named(self.path / "names.txt", rows))

    def array(self) -> Vectors:
        """All rows, memory-mapped."""
        return np.asarray(np.load(self.vectors, mmap_mode="r"))

    def file(self, name: str) -> Path:
        """Where something lies that is called by a FAISS spec."""
        return self.path / name.replace(",", "_").replace(" ", "_")

    # Ours

    def ours_built(self, spec: str) -> Build:
        """`optimize` of a collection that shares the files of the first one."""
        place = self.file(f"ours {spec}")
        if not is_collection(place):
            place.mkdir(exist_ok=True)
            for name in ("catalog.sqlite", "vectors.f32", "collection.json"):
                os.link(self.collection / name, place / name)
        with closing(Store(place)) as store:
            return built(self.file(f"ours {spec}.json"), lambda: optimize(store, spec).bytes)

    def ours(self, spec: str, recalls: Sequence[float]) -> Contender:
        """What a search of a collection does, from a vector to rows and cosines."""
        gallery = StoredGallery(Store(self.file(f"ours {spec}")))

        def search(recall: float) -> Search:
            aiming = gallery.view(recall=recall)
            return lambda vectors: aiming.search(vectors, K)[1]

        settings = {recall: self.told_of(spec).setting(recall) for recall in recalls}
        ways = {recall: (_told(setting), search(recall)) for recall, setting in settings.items() if setting}
        return Contender(f"ours, {spec}", self.ours_built(spec), ways)

    def told_of(self, spec: str) -> IndexRecord:
        """What our index says of itself."""
        found = read_built(self.file(f"ours {spec}"))
        assert found, f"{spec} was built"
        return found

    def exactly(self) -> Contender:
        """Our search without an index."""
        gallery = StoredGallery(Store(self.collection)).view(recall=1.0)
        return Contender("ours, exact", None, {1.0: ("all rows", lambda vectors: gallery.search(vectors, K)[1])})

    # Bare FAISS

    def bare(self, spec: str, recalls: Sequence[float], flat: Any) -> list[Contender]:
        """The very index that ours is, at its settings: as it is where that suffices, and refined with true scores."""
        built = self.told_of(spec)
        index = faiss.read_index(str(self.file(f"ours {spec}") / FOLDER / built.file))
        build = Build(built.seconds, None, built.bytes)
        settings = {recall: setting for recall in recalls if (setting := built.setting(recall))}
        plain = {r: (_told(one), _plain(index, one)) for r, one in settings.items() if one.factor == 1}
        refined = {r: (_told(one), _refined(index, flat, one)) for r, one in settings.items()}
        return [
            Contender(f"faiss, {spec}", build, plain, self.order),
            Contender(f"faiss, {spec}, refined", build, refined, self.order),
        ]

    @cached_property
    def order(self) -> Ids:
        """The row at each position of our indexes, which all hold the same rows back and put them last."""
        held = np.array(self.told_of(self.specs[0]).held, np.int64)
        return np.concatenate([np.setdiff1d(np.arange(self.rows), held), held])

    def flat(self) -> Any:
        """IndexFlatIP of all rows, in memory, in the order of our indexes."""
        rows, index = self.array(), faiss.IndexFlatIP(self.dim)
        for start in range(0, len(rows), FILL):
            index.add(np.ascontiguousarray(rows[self.order[start : start + FILL]]))
        return index

    # Others

    def hnswlib_built(self) -> Build:
        """A graph over float32 rows."""
        return built(self.file("hnswlib.json"), self._hnswlib)

    def _hnswlib(self) -> int:
        import hnswlib

        path, rows = self.file("hnswlib.bin"), self.array()
        index = hnswlib.Index("ip", self.dim)
        index.init_index(self.rows, ef_construction=CONSTRUCTION, M=LINKS)
        for start in range(0, len(rows), FILL):
            index.add_items(rows[start : start + FILL], num_threads=faiss.omp_get_max_threads())
        index.save_index(str(path))
        return path.stat().st_size

    def hnswlib(self, recalls: Sequence[float], queries: Vectors, truth: Ids) -> Contender:
        """At the least effort that reaches each recall on these very queries."""
        import hnswlib

        index = hnswlib.Index("ip", self.dim)
        index.load_index(str(self.file("hnswlib.bin")))

        def at(effort: int) -> Search:
            def search(vectors: Vectors) -> Ids:
                index.set_ef(effort)
                found, _ = index.knn_query(vectors, K, num_threads=faiss.omp_get_max_threads())
                return np.asarray(found, np.int64)

            return search

        return Contender(f"hnswlib, M={LINKS}, f32", self.hnswlib_built(), _tuned(at, recalls, queries, truth))

    def usearch_built(self) -> Build:
        """A graph over float32 rows."""
        return built(self.file("usearch.json"), self._usearch)

    def _usearch(self) -> int:
        path, rows, index = self.file("usearch.bin"), self.array(), self._empty_usearch()
        for start in range(0, len(rows), FILL):
            block = np.ascontiguousarray(rows[start : start + FILL])
            index.add(np.arange(start, start + len(block)), block, threads=faiss.omp_get_max_threads())
        index.save(str(path))
        return path.stat().st_size

    def _empty_usearch(self) -> Any:
        from usearch.index import Index

        return Index(ndim=self.dim, metric="ip", dtype="f32", connectivity=LINKS, expansion_add=CONSTRUCTION)

    def usearch(self, recalls: Sequence[float], queries: Vectors, truth: Ids) -> Contender:
        """As hnswlib."""
        index = self._empty_usearch()
        index.load(str(self.file("usearch.bin")))

        def at(effort: int) -> Search:
            def search(vectors: Vectors) -> Ids:
                index.expansion_search = effort
                keys = index.search(vectors, K, threads=faiss.omp_get_max_threads()).keys
                return np.asarray(np.atleast_2d(keys), np.int64)

            return search

        return Contender(f"usearch, M={LINKS}, f32", self.usearch_built(), _tuned(at, recalls, queries, truth))

    # Truth

    def truth(self, queries: Vectors, flat: Any) -> Ids:
        """The nearest rows by IndexFlatIP, kept."""
        path = self.path / "truth.npy"
        if not path.is_file():
            np.save(path, self.order[flat.search(queries, K)[1]])
        found: Ids = np.load(path)
        return found


def _plain(index: Any, setting: SearchSetting) -> Search:
    told = parameters(index, max(setting.effort, K) if is_graph(index) else setting.effort)
    return lambda vectors: np.asarray(index.search(vectors, K, params=told)[1])


def _refined(index: Any, flat: Any, setting: SearchSetting) -> Search:
    refined = faiss.IndexRefine(index, flat)
    fetch = K * setting.factor
    inner = parameters(index, max(setting.effort, fetch) if is_graph(index) else setting.effort)
    told = library().IndexRefineSearchParameters(k_factor=setting.factor, base_index_params=inner)
    return lambda vectors: np.asarray(refined.search(vectors, K, params=told)[1])


def _tuned(
    at: Callable[[int], Search], recalls: Sequence[float], queries: Vectors, truth: Ids
) -> dict[float, tuple[str, Search]]:
    reached = {}
    for effort in EFFORTS:
        reached[effort] = share_of(at(effort)(queries), truth)
        if reached[effort] >= max(recalls):
            break
    ways = {}
    for recall in recalls:
        effort = next((one for one, found in reached.items() if found >= recall), max(reached))
        ways[recall] = (f"ef {effort}", at(effort))
    return ways


def _told(setting: SearchSetting) -> str:
    return f"effort {setting.effort}" + (f", {setting.factor} candidates a result" if setting.factor > 1 else "")
