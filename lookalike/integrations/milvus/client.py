"""Rows and questions to a Milvus collection (a server, a cluster or Milvus Lite), through pymilvus.

Consistency: reads are `Session`, which costs no waiting; every `flush` ends in a `Strong` count, so that what a writer
says is there has been seen by the query nodes before the catalog names it. `Strong` on each search would cost 200 ms
(one time tick of the server, measured on 2.3.5) against 5.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EngineError
from lookalike.integrations.milvus import tuning as effort
from lookalike.integrations.milvus.address import SCHEME, Address, parse
from lookalike.integrations.milvus.connection import CALL_SECONDS, REFUSED, connected, import_client, is_passing, plain
from lookalike.integrations.milvus.expressions import RESERVED, storable
from lookalike.integrations.milvus.index_types import FLAT, HNSW, KINDS, MOST_RESULTS, UNTUNED, Kind, wanted
from lookalike.integrations.milvus.retry import Patience, patience_seconds
from lookalike.types import Ids, Scores, Vectors

T = TypeVar("T")
FIELD, PROPERTY, EFFORT = "vector", "lookalike", "lookalike.effort"
BATCH_BYTES = 8 << 20
"""Of one upsert: well below the 64 MiB that servers take in one message."""
FETCHED, DELETED = 2048, 4096
"""Rows asked for, and rows deleted, in one call."""
LONG_CALL_SECONDS = 600.0
"""Of a flush or a load, which wait for the server's disks."""
SETTLE_SECONDS = 1800.0
SMALLEST_INDEXED = 1024
"""Rows of a segment below which Milvus builds no index and looks at every row."""
PATH_BYTES = 65_535
LONGEST_KEY = PATH_BYTES // 4
"""Letters, of four bytes at most."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Signature:
    """What a server's collection holds: whose rows (`owner`, drawn when the local collection was made) and vectors."""

    owner: str
    encoder: str
    fingerprint: str
    dim: int


@dataclass(frozen=True)
class ServerRow:
    """What the server knows of an image beside its vector; `fields` become dynamic fields that filters can name."""

    id: int
    key: str
    sha256: str
    fields: dict[str, Any]


class Milvus:
    """One collection of Milvus; every method is tried again while the server is away for a moment.

    All raise EngineError, in one line, once patience has run out.
    """

    def __init__(self, address: Address) -> None:
        import_client()
        import grpc
        from pymilvus.exceptions import MilvusException

        self.address = address
        errors = (MilvusException, grpc.RpcError, grpc.FutureTimeoutError)
        self._patience = Patience(patience_seconds(), is_passing, self._told, errors)
        self._client: Any = None
        self._kind = FLAT
        self._effort = UNTUNED
        self._dim = 0

    # Life

    def create(self, signature: Signature) -> None:
        """Make the collection, or take over an empty one; raises EngineError where it holds another's rows."""
        held = self._signature()
        if held is not None:
            if held != signature and self._rows_of_stranger():
                raise EngineError(_mismatch(self.address, held, signature))
            if held != signature:
                self.drop()
        if held != signature:
            self._make(signature)
        self.open(signature)

    def open(self, signature: Signature) -> None:
        """Check that it is the collection that `signature` names, and load it where it is not."""
        held = self._signature()
        if held is None:
            raise EngineError(f"{self.address}: there is no such collection; index again with --rebuild")
        if held != signature:
            raise EngineError(_mismatch(self.address, held, signature))
        self._dim = signature.dim
        self._kind = self._index_kind()
        self._effort = self._tuned()
        self._long("load_collection")

    def drop(self) -> None:
        """Delete the collection and everything in it."""
        self._call("drop_collection")

    def close(self) -> None:
        """Let go of the connection."""
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
            self._call("upsert", data=data)

    def flush(self) -> None:
        """Wait until everything written is safe on disk and seen by every search that starts from now on."""
        self._long("flush")
        self.count()

    def delete(self, ids: Ids) -> None:
        """Forget rows; those that are not there are no error."""
        for block in _blocks(ids, DELETED):
            self._call("delete", ids=block.tolist())

    def delete_from(self, id_: int) -> None:
        """Forget every row of this id or above."""
        self.delete(self.matching(f"id >= {int(id_)}"))

    def optimise(self, count: int) -> None:
        """Give the index the kind that suits this many rows, wait until it is built and loaded, and tune the search.

        While Milvus builds one it answers from a makeshift (recall .39 on random vectors, measured), so an index run
        ends only with the real one; a change of kind also takes the collection out of service for that long.
        """
        kind = wanted(count, self.version)
        # No going back and forth about a border: a kind is only ever exchanged for one of larger collections.
        if list(KINDS).index(kind.name) > list(KINDS).index(self._kind.name):
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
        """How many rows there are, exactly; waits for everything that was written before."""
        answer = self._call("query", filter="", output_fields=["count(*)"], consistency_level="Strong")
        return int(answer[0]["count(*)"])

    def vectors(self, ids: Ids) -> Vectors:
        """The stored unit rows (len(ids), dim), in the order of `ids`; raises EngineError where one is missing."""
        found: dict[int, NDArray[np.float32]] = {}
        wanted_ids = np.unique(np.asarray(ids, np.int64))
        # A replica may be a moment behind the writer; then, and only then, it is worth waiting for it.
        for level in ("Session", "Strong"):
            missing = np.array([id_ for id_ in wanted_ids.tolist() if id_ not in found], np.int64)
            for block in _blocks(missing, FETCHED):
                answer = self._call("get", ids=block.tolist(), output_fields=["id", FIELD], consistency_level=level)
                found.update((int(row["id"]), np.asarray(row[FIELD], np.float32)) for row in answer)
        if len(found) < len(wanted_ids):
            lost = next(id_ for id_ in wanted_ids.tolist() if id_ not in found)
            raise EngineError(
                f"{self.address}: {len(wanted_ids) - len(found):,} vectors are missing (row {lost}); "
                "run `lookalike verify --repair`, then index again"
            )
        return np.stack([found[id_] for id_ in np.asarray(ids).tolist()]) if len(ids) else self._empty()

    def search(self, vectors: Vectors, k: int, where: str | None = None, careful: bool = False) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and ids, best first; -1 pads. `where` is the server's expression."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        if k > MOST_RESULTS:
            return self._search_all(vectors, k, where)
        scores = np.full((len(vectors), k), -1, np.float32)
        ids = np.full((len(vectors), k), -1, np.int64)
        # Answers of a call stay below a few megabytes, whatever k is.
        for start in range(0, len(vectors), step := max(1, min(256, 262_144 // k))):
            part = vectors[start : start + step]
            for row, hits in enumerate(self._hits(part, k, where, careful), start):
                found = [(hit[1], hit[0]) for hit in hits]
                ids[row, : len(found)] = [id_ for id_, _ in found]
                scores[row, : len(found)] = [score for _, score in found]
        np.clip(scores, -1, 1, out=scores)
        return scores, ids

    def matching(self, where: str) -> Ids:
        """The ids that meet the server's expression, ascending."""
        found: list[int] = []
        last = -1
        while True:
            asked = f"id > {last} and ({where})" if where else f"id > {last}"
            answer = self._call("query", filter=asked, output_fields=["id"], limit=MOST_RESULTS)
            block = sorted(int(row["id"]) for row in answer)
            found += block
            if len(block) < MOST_RESULTS:
                return np.unique(np.array(found, np.int64))
            last = block[-1]

    @property
    def version(self) -> str:
        """What the server says it is."""
        return str(self._on_server("get_server_version"))

    def facts(self) -> dict[str, str]:
        """What `lookalike info` says of it."""
        return {"engine": str(self.address), "server": self.version, "index": self._kind.name}

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
        """More results than Milvus gives in one list: the best of each range of ids, put together."""
        last = self._call("query", filter="id >= 0", output_fields=["count(*)"], consistency_level="Strong")
        parts, start, held = [], 0, int(last[0]["count(*)"])
        while held > 0:
            inside = f"id >= {start} and id < {start + MOST_RESULTS}"
            parts.append(self.search(vectors, MOST_RESULTS, f"({inside}) and ({where})" if where else inside))
            held -= self._count_where(inside)
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
        # A property and not the description, which Milvus Lite forgets.
        properties = {PROPERTY: json.dumps(asdict(signature))}
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
        """Find the effort that suffices for these vectors, and leave it with the collection for all who search it."""
        ids = np.unique(np.linspace(0, count - 1, min(count, effort.SAMPLE)).astype(np.int64))
        rows = self._call("get", ids=ids.tolist(), output_fields=[FIELD], consistency_level="Strong")

        def search(vectors: Vectors, k: int, looked_at: int) -> Ids:
            self._effort = looked_at
            return self.search(vectors, k)[1]

        self._effort = effort.least(search, np.array([row[FIELD] for row in rows], np.float32))
        self._call("alter_collection_properties", properties={EFFORT: str(self._effort)})

    def _tuned(self) -> int:
        properties = self._call("describe_collection").get("properties", {})
        return int(properties.get(EFFORT, UNTUNED))

    def _is_built(self) -> bool:
        described = self._call("describe_index", index_name=FIELD)
        return not int(described.get("pending_index_rows", 0))

    def _is_loaded(self) -> bool:
        """Whether the query nodes hold the index of every segment that gets one."""
        if "milvus_lite" in self.version:
            return True
        loaded = {segment.segment_id for segment in self._call("list_loaded_segments") if segment.index_name}
        flushed = [segment for segment in self._call("list_persistent_segments") if segment.state == "Flushed"]
        return all(segment.segment_id in loaded for segment in flushed if segment.num_rows >= SMALLEST_INDEXED)

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        deadline, pause = time.monotonic() + SETTLE_SECONDS, 0.2
        while not done():
            if time.monotonic() > deadline:
                log.warning(
                    "%s has not %s in %d s; until then results may lack some", self.address, what, SETTLE_SECONDS
                )
                return
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _rows_of_stranger(self) -> int:
        """How many rows a collection of another owner holds, at least; an empty one may be taken over."""
        if flushed := int(self._call("get_collection_stats").get("row_count", 0)):
            return flushed
        # Statistics know nothing of what a run that goes on has written and not flushed yet.
        self._index_kind()
        self._long("load_collection")
        return self.count()

    def _signature(self) -> Signature | None:
        """Of the collection that is there; raises EngineError where that is not one of ours."""
        if not self._call("has_collection"):
            return None
        described = self._call("describe_collection")
        try:
            return Signature(**json.loads(described["properties"][PROPERTY]))
        except (ValueError, KeyError, TypeError) as error:
            raise EngineError(f"{self.address} was not made by lookalike; give another name") from error

    # The connection

    def _connected(self) -> Any:
        if self._client is None:
            self._client = connected(self.address)
        return self._client

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._on_server(method, self.address.name, **arguments)

    def _long(self, method: str) -> None:
        self._on_server(method, self.address.name, seconds=LONG_CALL_SECONDS)

    def _on_server(self, method: str, *place: str, seconds: float = CALL_SECONDS, **arguments: Any) -> Any:
        def action() -> Any:
            return getattr(self._connected(), method)(*place, timeout=seconds, **arguments)

        return self._patience.call(action)

    def _told(self, error: Exception) -> str:
        text = plain(error)
        if any(word in text.lower() for word in REFUSED):
            return f"{self.address} refuses: {text}; give user:password in the URI or LOOKALIKE_MILVUS_TOKEN"
        if isinstance(error, Exception) and is_passing(error):
            return f"{self.address} cannot be reached or is not ready: {text}"
        return f"{self.address}: {text}"


def plain_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """What can be a dynamic field: numbers and text, under names that the schema does not have."""
    return {
        name: storable(value) if isinstance(value, str) else value
        for name, value in fields.items()
        if name not in RESERVED and isinstance(value, int | float | str)
    }


def _mismatch(address: Address, held: Signature, given: Signature) -> str:
    if held.dim != given.dim:
        return f"{address} holds vectors of {held.dim} numbers, not {given.dim}; give another name"
    if held.fingerprint != given.fingerprint:
        return (
            f"{address} was made with {held.encoder} ({held.fingerprint[:12]}), not {given.encoder} "
            f"({given.fingerprint[:12]}); give another name"
        )
    return f"{address} belongs to another collection; give another name"


def _blocks(ids: Ids, size: int) -> Iterator[Ids]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def connect(uri: str) -> Milvus:
    """The collection of a URI such as `milvus://host:19530/name`; raises EngineError where it is none, or is away."""
    address = parse(uri)
    if address.engine != SCHEME:
        raise EngineError(f"{address}: no such engine; there are {SCHEME}://")
    return Milvus(address)
