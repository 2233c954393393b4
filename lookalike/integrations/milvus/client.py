"""Rows and searches of a Milvus collection (a server, a cluster or Milvus Lite), through pymilvus.

Consistency: reads are `Session`, which does not wait. Every `flush` ends in a `Strong` count, so that the query nodes
have seen all rows before the catalog names them. `Strong` for each search would take 200 ms (one time tick of the
server, measured on 2.3.5) instead of 5.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EngineError, IndexSpecError
from lookalike.integrations import tuning
from lookalike.integrations.engine import Care, Selection, ServerRow, Signature, mismatch, superseded
from lookalike.integrations.milvus.address import SCHEME, Address, parse
from lookalike.integrations.milvus.connection import (
    CALL_SECONDS,
    connected,
    import_client,
    is_passing,
    is_refused,
    short_message,
)
from lookalike.integrations.milvus.expressions import RESERVED, storable, translate
from lookalike.integrations.milvus.index_types import (
    EFFORTS,
    EXACT,
    FLAT,
    HNSW,
    KINDS,
    MOST_RESULTS,
    UNTUNED,
    Kind,
    suitable,
)
from lookalike.integrations.retry import Patience, patience_seconds
from lookalike.types import Ids, Scores, Vectors
from lookalike.utils.text import counted

T = TypeVar("T")
FIELD, PROPERTY, EFFORT, GENERATION = "vector", "lookalike", "lookalike.effort", "lookalike.generation"
BATCH_BYTES = 8 << 20
"""Bytes of an upsert: well below the 64 MiB that servers accept in a message."""
FETCHED, DELETED = 2048, 4096
"""Rows fetched, and rows deleted, in a call."""
HEALTH_SECONDS = 2.0
LONG_CALL_SECONDS = 600.0
"""Timeout of a flush or a load, which wait for the server's disks."""
TELL_SECONDS = 300.0
"""Between two lines about an index that is still being built."""
SMALLEST_INDEXED = 1024
"""Milvus builds no index for segments of fewer rows, and compares with every row."""
PATH_BYTES = 65_535
LONGEST_KEY = PATH_BYTES // 4
"""Letters of up to four bytes."""

log = logging.getLogger(__name__)


class Milvus:
    """A collection of Milvus; calls are repeated while the server is unavailable for a short time.

    Meets `engine.Engine`. All methods raise EngineError, in one line, once patience has run out.
    """

    def __init__(self, address: Address) -> None:
        import_client()
        import grpc
        from pymilvus.exceptions import MilvusException

        self.address = address
        errors = (MilvusException, grpc.RpcError, grpc.FutureTimeoutError)
        self._patience = Patience(patience_seconds(), is_passing, self._describe, errors)
        self._client: Any = None
        self._kind = FLAT
        self._effort = UNTUNED
        self._dim = 0
        self._generation: str | None = None

    # Life

    def create(self, signature: Signature) -> None:
        """Make the collection, or go on with one of this very signature; raises EngineError for another's.

        Another's is left alone even if it is empty: its owner may be embedding, and not have written any rows yet.
        """
        existing = self._signature()
        if existing is not None and existing != signature:
            raise EngineError(mismatch(self.address, existing, signature))
        if existing is None:
            self._make(signature)
        self.open(signature)

    def open(self, signature: Signature) -> None:
        """Check that it is the collection that `signature` names, and load it into the server's memory."""
        existing = self._signature()
        if existing is None:
            raise EngineError(f"{self.address}: there is no such collection; index again with --rebuild")
        if existing != signature:
            raise EngineError(mismatch(self.address, existing, signature))
        self._dim = signature.dim
        self._kind = self._index_kind()
        self._effort = self._tuned()
        self._long("load_collection")

    def discard(self, owner: str, generations: Sequence[str]) -> None:
        """Delete the collection, unless it is another's, or its last writer is none of these."""
        existing = self._signature()
        if existing is not None and existing.owner == owner and self.generation() in generations:
            self.drop()

    def drop(self) -> None:
        """Delete the collection and everything in it."""
        self._call("drop_collection")

    def generation(self) -> str:
        """The name that the last writer gave, "" before the first."""
        return str(self._call("describe_collection").get("properties", {}).get(GENERATION, ""))

    def begin(self, generation: str, after: str) -> None:
        """Store a new writer's name; from then on writes of this object are refused once there is another one.

        Milvus has no transactions: of two writers that begin within the same moment the later one goes on.
        """
        if self.generation() not in (after, generation):
            raise EngineError(superseded(self.address))
        self._call("alter_collection_properties", properties={GENERATION: generation})
        self._generation = generation

    def check_generation(self) -> None:
        """Raise EngineError where another writer has begun since."""
        if self._generation is not None and self.generation() != self._generation:
            raise EngineError(superseded(self.address))

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    # Writing

    def upsert(self, rows: Sequence[ServerRow], vectors: Vectors) -> None:
        """Write rows, replacing those of the same id."""
        if vectors.shape != (len(rows), self._dim):
            raise EngineError(f"{self.address}: {vectors.shape[1]} numbers a vector, its collection has {self._dim}")
        size = max(1, BATCH_BYTES // (4 * self._dim))
        for start in range(0, len(rows), size):
            data = [
                {
                    **plain_fields(row.fields),
                    "id": row.id,
                    "key": storable(row.key)[:LONGEST_KEY],
                    "sha256": row.sha256,
                    FIELD: vector,
                }
                for row, vector in zip(rows[start : start + size], vectors[start : start + size], strict=True)
            ]
            self.check_generation()
            self._call("upsert", data=data)

    def describe(self, rows: Sequence[ServerRow]) -> None:
        """Write fields of rows; Milvus replaces whole rows, so their vectors are fetched."""
        for start in range(0, len(rows), FETCHED):
            part = rows[start : start + FETCHED]
            self.upsert(part, self.vectors(np.array([row.id for row in part], np.int64)))

    def mark(self, ids: Sequence[int]) -> None:
        """Does nothing: the catalog knows which rows are removed."""

    def flush(self) -> None:
        """Wait until all written rows are on disk and visible to every later search."""
        self._long("flush")
        self.count()

    def delete(self, ids: Ids) -> None:
        """Delete rows; missing rows are no error."""
        for block in _blocks(ids, DELETED):
            self.check_generation()
            self._call("delete", ids=block.tolist())

    def delete_from(self, id_: int) -> None:
        """Delete every row of this id or above."""
        self.delete(self.matching(f"id >= {int(id_)}"))

    def is_settled(self) -> bool:
        """Whether the index is of a kind that suits."""
        return not self._is_outgrown(suitable(self.count(), self.version))

    def _is_outgrown(self, kind: Kind) -> bool:
        # A kind is only replaced by one of larger collections, so that it does not change back and forth at a limit.
        return list(KINDS).index(kind.name) > list(KINDS).index(self._kind.name)

    def settle(self, count: int) -> None:
        """Flush segments to the server's disks, and build a suitable index."""
        self.flush()
        self.optimise(count)

    def build(self, spec: str) -> tuple[str, int]:
        """Raises IndexSpecError: every index run ends with the index that suits."""
        raise IndexSpecError(f"{self.address} builds its index by itself; `optimize` is for vectors in a file")

    def optimise(self, count: int) -> None:
        """Build the kind of index that suits this many rows, wait until it is loaded, and tune the search.

        While Milvus builds an index it searches a temporary one (recall .39 on random vectors, measured), so a run ends
        only with the final index. A change of kind takes the collection out of service for that time.
        """
        kind = suitable(count, self.version)
        if self._is_outgrown(kind):
            log.info("%s: %s instead of %s for %d rows", self.address, kind.name, self._kind.name, count)
            self._call("release_collection")
            self._call("drop_index", index_name=FIELD)
            self._index(kind)
            self._wait(self._is_built, "built its index")
            self._long("load_collection")
        if self._kind != FLAT:
            self._wait(self._is_loaded, "loaded its index")
        if self._kind == HNSW:
            self._tune(count)

    # Reading

    def count(self) -> int:
        """The exact number of rows; waits for everything that was written before."""
        answer = self._call("query", filter="", output_fields=["count(*)"], consistency_level="Strong")
        return int(answer[0]["count(*)"])

    def stop(self) -> int:
        """One more than the largest id."""
        count = self.count()
        # With missing rows, ids exceed the count; `verify` then lists the missing rows.
        beyond = self.matching(f"id >= {count}")
        return int(beyond.max()) + 1 if len(beyond) else count

    def ids(self, start: int, stop: int) -> Ids:
        """The ids there are from `start` to before `stop`."""
        return self.matching(f"id >= {int(start)} and id < {int(stop)}")

    def vectors(self, ids: Ids) -> Vectors:
        """The stored unit rows (len(ids), dim), in the order of `ids`; raises EngineError for a missing row."""
        fetched: dict[int, NDArray[np.float32]] = {}
        unique_ids = np.unique(np.asarray(ids, np.int64))
        # A replica may be a moment behind the writer; only then it is worth waiting for it.
        for level in ("Session", "Strong"):
            missing = np.array([id_ for id_ in unique_ids.tolist() if id_ not in fetched], np.int64)
            for block in _blocks(missing, FETCHED):
                answer = self._call("get", ids=block.tolist(), output_fields=["id", FIELD], consistency_level=level)
                fetched.update((int(row["id"]), np.asarray(row[FIELD], np.float32)) for row in answer)
        if len(fetched) < len(unique_ids):
            lost = next(id_ for id_ in unique_ids.tolist() if id_ not in fetched)
            count = counted(len(unique_ids) - len(fetched), "vector is", "vectors are")
            raise EngineError(
                f"{self.address}: {count} missing (row {lost}); run `lookalike verify --repair`, then index again"
            )
        return np.stack([fetched[id_] for id_ in np.asarray(ids).tolist()]) if len(ids) else self._empty()

    def nearest(self, vectors: Vectors, k: int, among: Selection, care: Care) -> tuple[Scores, Ids]:
        """As `search`, among a selection; Milvus has no exhaustive search beside its index."""
        return self.search(vectors, k, _expression(among) or None, careful=care != "usual")

    def search(self, vectors: Vectors, k: int, where: str | None = None, careful: bool = False) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and ids, best first; -1 pads. `where` is the server's expression."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        if k > MOST_RESULTS:
            return self._search_all(vectors, k, where)
        scores = np.full((len(vectors), k), -1, np.float32)
        ids = np.full((len(vectors), k), -1, np.int64)
        # The answer of a call stays below a few megabytes, whatever k is.
        for start in range(0, len(vectors), step := max(1, min(256, 262_144 // k))):
            part = vectors[start : start + step]
            for row, hits in enumerate(self._hits(part, k, where, careful), start):
                ids[row, : len(hits)] = [id_ for _, id_ in hits]
                scores[row, : len(hits)] = [score for score, _ in hits]
        np.clip(scores, -1, 1, out=scores)
        return scores, ids

    def matching(self, where: str) -> Ids:
        """The ids that meet the server's expression, ascending."""
        ids: list[int] = []
        last = -1
        while True:
            rest = f"id > {last} and ({where})" if where else f"id > {last}"
            answer = self._call("query", filter=rest, output_fields=["id"], limit=MOST_RESULTS)
            block = sorted(int(row["id"]) for row in answer)
            ids += block
            if len(block) < MOST_RESULTS:
                return np.unique(np.array(ids, np.int64))
            last = block[-1]

    def health(self) -> None:
        """Raise EngineError where the server does not answer within `HEALTH_SECONDS`, without a second attempt."""
        try:
            self._connected(HEALTH_SECONDS).has_collection(self.address.name, timeout=HEALTH_SECONDS)
        except self._patience.errors as error:
            raise EngineError(self._describe(error)) from error

    @property
    def version(self) -> str:
        """The version that the server reports."""
        return str(self._on_server("get_server_version"))

    def facts(self) -> dict[str, Any]:
        """Facts for `lookalike info`."""
        return {
            **{"engine": str(self.address), "server": self.version, "index": self._kind.name},
            **{"engine_rows": self.count(), "load_state": self._load_state()},
            **({"effort": self._effort} if self._kind == HNSW else {}),
        }

    def _load_state(self) -> str:
        if not self._is_built():
            return "its index is being built"
        return "ready" if self._kind == FLAT or self._is_loaded() else "its index is being loaded"

    # Inside

    def _hits(self, vectors: Vectors, k: int, where: str | None, careful: bool) -> Iterator[list[tuple[float, int]]]:
        options: dict[str, Any] = {"output_fields": [FIELD]} if self._kind.rescored else {}
        params = self._kind.search_params(k, careful, self._effort)
        answer = self._call(
            "search", data=list(vectors), limit=k, filter=where or "", anns_field=FIELD, consistency_level="Session",
            search_params={"metric_type": "IP", "params": params}, **options,
        )  # fmt: skip
        for vector, hits in zip(vectors, answer, strict=True):
            if self._kind.rescored and len(hits):
                stored = np.array([hit["entity"][FIELD] for hit in hits], np.float32)
                cosines = (stored @ vector).tolist()
            else:
                cosines = [hit["distance"] for hit in hits]
            yield sorted(zip(cosines, (int(hit["id"]) for hit in hits), strict=True), key=lambda hit: (-hit[0], hit[1]))

    def _search_all(self, vectors: Vectors, k: int, where: str | None) -> tuple[Scores, Ids]:
        """More results than a list of Milvus holds: the best of each range of ids, merged."""
        answer = self._call("query", filter="id >= 0", output_fields=["count(*)"], consistency_level="Strong")
        parts, start, remaining = [], 0, int(answer[0]["count(*)"])
        while remaining > 0:
            inside = f"id >= {start} and id < {start + MOST_RESULTS}"
            parts.append(self.search(vectors, MOST_RESULTS, f"({inside}) and ({where})" if where else inside))
            remaining -= self._count_where(inside)
            start += MOST_RESULTS
        if not parts:
            return np.full((len(vectors), k), -1, np.float32), np.full((len(vectors), k), -1, np.int64)
        scores = np.concatenate([part[0] for part in parts], axis=1)
        ids = np.concatenate([part[1] for part in parts], axis=1)
        order = np.lexsort((ids, -np.where(ids < 0, -np.inf, scores)))[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

    def _count_where(self, where: str) -> int:
        return int(self._call("query", filter=where, output_fields=["count(*)"])[0]["count(*)"])

    def _empty(self) -> Vectors:
        return np.empty((0, self._dim), np.float32)

    def _make(self, signature: Signature) -> None:
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("key", DataType.VARCHAR, max_length=PATH_BYTES)
        schema.add_field("sha256", DataType.VARCHAR, max_length=64)
        schema.add_field(FIELD, DataType.FLOAT_VECTOR, dim=signature.dim)
        # A property, since Milvus Lite does not keep the description.
        # Without the dtype, which is always the same: earlier releases compare the whole.
        identity = {name: value for name, value in asdict(signature).items() if name != "dtype"}
        properties = {PROPERTY: json.dumps(identity)}
        self._call("create_collection", schema=schema, consistency_level="Session", properties=properties)
        self._index(FLAT)

    def _index(self, kind: Kind) -> None:
        from pymilvus import MilvusClient

        params = MilvusClient.prepare_index_params()
        params.add_index(FIELD, index_type=kind.name, index_name=FIELD, metric_type="IP", params=dict(kind.build))
        self._call("create_index", index_params=params, sync=False)
        self._kind = kind

    def _index_kind(self) -> Kind:
        described = self._call("describe_index", index_name=FIELD)
        if not described:
            # A run was interrupted between two indexes.
            self._index(FLAT)
            return FLAT
        return KINDS.get(described["index_type"], Kind(described["index_type"]))

    def _tune(self, count: int) -> None:
        """Measure the effort that suffices for these vectors, and store it in the collection for all clients."""
        ids = np.unique(np.linspace(0, count - 1, min(count, tuning.SAMPLE)).astype(np.int64))
        rows = self._call("get", ids=ids.tolist(), output_fields=[FIELD], consistency_level="Strong")

        def search(vectors: Vectors, k: int, effort: int) -> Ids:
            self._effort = effort
            return self.search(vectors, k)[1]

        queries = np.array([row[FIELD] for row in rows], np.float32)
        self._effort = tuning.least(search, queries, EFFORTS, EXACT) if len(queries) else UNTUNED
        self._call("alter_collection_properties", properties={EFFORT: str(self._effort)})

    def _tuned(self) -> int:
        properties = self._call("describe_collection").get("properties", {})
        return int(properties.get(EFFORT, UNTUNED))

    def _is_built(self) -> bool:
        described = self._call("describe_index", index_name=FIELD)
        return not int(described.get("pending_index_rows", 0))

    def _is_loaded(self) -> bool:
        """Whether the query nodes have loaded the index of every segment that has one."""
        if "milvus_lite" in self.version:
            return True
        loaded = {segment.segment_id for segment in self._call("list_loaded_segments") if segment.index_name}
        flushed = [segment for segment in self._call("list_persistent_segments") if segment.state == "Flushed"]
        return all(segment.segment_id in loaded for segment in flushed if segment.num_rows >= SMALLEST_INDEXED)

    def _wait(self, done: Callable[[], bool], step: str) -> None:
        """Wait however long it takes, and say so: until then results may lack some."""
        begun = last = time.monotonic()
        pause = 0.2
        while not done():
            now = time.monotonic()
            if now - last >= TELL_SECONDS:
                log.warning("%s has not %s after %d s; still waiting", self.address, step, now - begun)
                last = now
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _signature(self) -> Signature | None:
        """The signature of the existing collection, or None; raises EngineError for a collection of other software."""
        if not self._call("has_collection"):
            return None
        described = self._call("describe_collection")
        try:
            return Signature(**json.loads(described["properties"][PROPERTY]))
        except (ValueError, KeyError, TypeError) as error:
            raise EngineError(f"{self.address} was not made by lookalike; give another name") from error

    # The connection

    def _connected(self, seconds: float = CALL_SECONDS) -> Any:
        if self._client is None:
            self._client = connected(self.address, seconds)
        return self._client

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._on_server(method, self.address.name, **arguments)

    def _long(self, method: str) -> None:
        self._on_server(method, self.address.name, seconds=LONG_CALL_SECONDS)

    def _on_server(self, method: str, *place: str, seconds: float = CALL_SECONDS, **arguments: Any) -> Any:
        def action() -> Any:
            return getattr(self._connected(), method)(*place, timeout=seconds, **arguments)

        return self._patience.call(action)

    def _describe(self, error: Exception) -> str:
        text = short_message(error)
        if is_refused(error):
            way = "give user:password in the URI, or LOOKALIKE_MILVUS_TOKEN with LOOKALIKE_MILVUS_SERVER=host:port"
            return f"{self.address} refuses: {text}; {way}"
        if isinstance(error, Exception) and is_passing(error):
            return f"{self.address} cannot be reached or is not ready: {text}"
        return f"{self.address}: {text}"


def plain_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The possible dynamic fields: numbers and text under names that the schema does not have."""
    return {
        name: storable(value) if isinstance(value, str) else value
        for name, value in fields.items()
        if name not in RESERVED and isinstance(value, int | float | str)
    }


def _expression(among: Selection) -> str:
    """A selection as the server's expression, "" for everything."""
    parts = [f"id in {among.ids.tolist()}"] if among.ids is not None else []
    parts += [f"id < {among.stop}"] if among.stop is not None else []
    parts += [f"id not in {among.excluded.tolist()}"] if among.excluded is not None else []
    parts += [f"({translated})"] if among.where and (translated := translate(among.where)) else []
    return " and ".join(parts)


def _blocks(ids: Ids, size: int) -> Iterator[Ids]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def connect(uri: str) -> Milvus:
    """The collection of a URI such as `milvus://host:19530/name`; raises EngineError for another URI."""
    address = parse(uri)
    if address.engine != SCHEME:
        raise EngineError(f"{address}: no such engine; there are {SCHEME}://")
    return Milvus(address)
