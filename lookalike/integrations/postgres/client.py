"""Rows and searches of a collection in PostgreSQL with pgvector, through psycopg.

Every write is a transaction that first locks the collection's row of `lookalike.collections` and looks whether this is
still the one that may write. Vectors are compared by cosine: halves are not of unit length to the last digit.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import EngineError, IndexSpecError
from lookalike.integrations import tuning
from lookalike.integrations.engine import WHOLE, Care, Selection, ServerRow, Signature, mismatch, superseded
from lookalike.integrations.postgres import tables
from lookalike.integrations.postgres.address import Address, parse
from lookalike.integrations.postgres.connection import CALL_SECONDS, Connections, described, import_client, is_passing
from lookalike.integrations.postgres.expressions import Condition, document, storable, translate
from lookalike.integrations.postgres.indexes import EXACT, KINDS, MOST_DIMS, Kind, building_memory, suitable
from lookalike.integrations.postgres.tables import SCHEMA, TYPES, table
from lookalike.integrations.retry import Patience, patience_seconds
from lookalike.storage.vectors import DTYPES
from lookalike.types import Ids, Scores, Vectors
from lookalike.utils.text import counted

if TYPE_CHECKING:
    from psycopg import Connection

T = TypeVar("T")
HEALTH_SECONDS = 2.0
LONG_CALL_SECONDS = 600.0
"""Without an answer to a write, a count, or a comparison with every row."""
FETCHED = 4096
"""Rows fetched in a statement."""
COLUMNS = ("id", "key", "sha256", "removed", "meta", "embedding")
LOOK_SECONDS = 30.0
"""Between two looks at which index there is: another process may build one while a service is open."""
CAREFUL = 4
"""Times the effort of a careful search."""
TUNED_AGAIN = 1.2
"""Searches are measured again where the collection has grown by so much."""

log = logging.getLogger(__name__)


class Postgres:
    """A collection in PostgreSQL; calls are repeated while the server is unavailable for a short time.

    Meets `engine.Engine`. All methods raise EngineError, in one line, once patience has run out.
    """

    def __init__(self, address: Address) -> None:
        import_client()
        import psycopg

        self.address = address
        self._connections = Connections(address)
        describe = lambda error: described(address, error)  # noqa: E731
        self._patience = Patience(patience_seconds(), is_passing, describe, (psycopg.Error,))
        self._signature = Signature("", "", "", 0)
        self._table = table(address.name)
        self._generation: str | None = None
        self._kind, self._effort, self._count = EXACT, 0, 0
        self._looked = 0.0

    # Life

    def create(self, signature: Signature) -> None:
        """Make the collection, or go on with one of this very signature; raises EngineError for another's.

        Another's is left alone even if it is empty: its owner may be embedding, and not have written any rows yet.
        """
        with_dims = f"{TYPES[signature.dtype]} of {signature.dim} numbers"
        if signature.dim > 16_000:
            raise EngineError(f"{self.address}: pgvector has no {with_dims}; it takes 16,000")
        self._connections.may_create = True
        self._in_transaction(lambda connection: self._create(connection, signature))
        self.open(signature)

    def _create(self, connection: "Connection[Any]", signature: Signature) -> None:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [tables.LOCK])
        if not tables.exist(connection):
            connection.execute(tables.COLLECTIONS)
        existing = tables.signature(connection, self.address.name)
        if existing is not None and existing != signature:
            raise EngineError(mismatch(self.address, existing, signature))
        if existing is None:
            tables.make(connection, self.address.name, signature)

    def open(self, signature: Signature) -> None:
        """Check that it is the collection that `signature` names."""
        existing = self._do(lambda connection: tables.signature(connection, self.address.name))
        if existing is None:
            raise EngineError(f"{self.address}: there is no such collection; index again with --rebuild")
        if existing != signature:
            raise EngineError(mismatch(self.address, existing, signature))
        self._signature = signature
        self._look()

    def _look(self) -> None:
        """What index there is, and the effort that was measured for it."""
        self._looked = time.monotonic()
        sql = (
            "SELECT a.amname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "
            "JOIN pg_catalog.pg_am a ON a.oid = c.relam WHERE i.indrelid = to_regclass(%s) AND i.indisvalid"
        )
        names = [row[0] for row in self._rows(sql, [self._table])]
        self._kind = next((KINDS[name] for name in names if name in KINDS), EXACT)
        facts = self._rows(
            f"SELECT effort, tuned_rows FROM {SCHEMA}.collections WHERE name = %s",  # noqa: S608
            [self.address.name],
        )
        self._effort, self._count = (facts[0][0] or self._kind.untuned, facts[0][1]) if facts else (0, 0)

    def generation(self) -> str:
        """The name that the last writer gave, "" before the first."""
        sql = f"SELECT generation FROM {SCHEMA}.collections WHERE name = %s AND owner = %s"  # noqa: S608
        rows = self._rows(sql, [self.address.name, self._signature.owner])
        if not rows:
            raise EngineError(f"{self.address}: it is another collection's by now; index again with --rebuild")
        return str(rows[0][0])

    def begin(self, generation: str, after: str) -> None:
        """Store a new writer's name, which every later write compares in its transaction."""

        def take(connection: "Connection[Any]") -> None:
            # Its own name where the answer to a first attempt was lost.
            if self._locked(connection) not in (after, generation):
                raise EngineError(superseded(self.address))
            sql = f"UPDATE {SCHEMA}.collections SET generation = %s WHERE name = %s"  # noqa: S608
            connection.execute(sql, [generation, self.address.name])

        self._in_transaction(take)
        self._generation = generation

    def check_generation(self) -> None:
        """Raise EngineError where another writer has begun since."""
        if self._generation is not None and self.generation() != self._generation:
            raise EngineError(superseded(self.address))

    def discard(self, owner: str, generations: Sequence[str]) -> None:
        """Delete the collection, unless it is another's, or its last writer is none of these."""

        def delete(connection: "Connection[Any]") -> None:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [tables.LOCK])
            if tables.owned(connection, self.address.name, owner, generations):
                tables.delete(connection, self.address.name)

        self._in_transaction(delete)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    # Writing

    def upsert(self, rows: Sequence[ServerRow], vectors: NDArray[Any]) -> None:
        """Write rows, replacing those of the same id; all of them or none."""
        if vectors.shape != (len(rows), self._signature.dim):
            dim = self._signature.dim
            raise EngineError(f"{self.address}: {vectors.shape[1]} numbers a vector, its collection has {dim}")
        from pgvector import HalfVector, Vector

        wrap = Vector if self._signature.dtype == "float32" else HalfVector

        def write(connection: "Connection[Any]") -> None:
            self._delete(connection, [row.id for row in rows])
            statement = f"COPY {self._table} ({', '.join(COLUMNS)}) FROM STDIN WITH (FORMAT BINARY)"
            with connection.cursor().copy(statement) as copy:
                kind = TYPES[self._signature.dtype]
                copy.set_types(["int8", "text", "text", "bool", "jsonb", kind])
                for row, vector in zip(rows, vectors, strict=True):
                    copy.write_row((*_facts(row), wrap(vector)))

        self._write(write)

    def describe(self, rows: Sequence[ServerRow]) -> None:
        """Write what is known of rows that are there, without their vectors."""
        sql = (
            f"UPDATE {self._table} SET key = %s, sha256 = %s, removed = %s, meta = %s "  # noqa: S608
            "WHERE id = %s"
        )
        values = [(*_facts(row)[1:], row.id) for row in rows]
        self._write(lambda connection: connection.cursor().executemany(sql, values))

    def mark(self, ids: Sequence[int]) -> None:
        """Mark rows as removed."""
        sql = f"UPDATE {self._table} SET removed = true WHERE id = ANY(%s) AND NOT removed"  # noqa: S608
        self._write(lambda connection: connection.execute(sql, [list(ids)]))

    def _delete(self, connection: "Connection[Any]", ids: list[int]) -> None:
        connection.execute(f"DELETE FROM {self._table} WHERE id = ANY(%s)", [ids])  # noqa: S608

    def delete_from(self, id_: int) -> None:
        """Delete every row of this id or above."""
        sql = f"DELETE FROM {self._table} WHERE id >= %s"  # noqa: S608
        self._write(lambda connection: connection.execute(sql, [int(id_)]))

    def is_settled(self) -> bool:
        """Whether there is an index where one suits, and its effort was measured."""
        return suitable(self.stop(), self._signature.dim, self._signature.dtype) is EXACT or (
            self._kind is not EXACT and self._count > 0
        )

    def settle(self, count: int) -> None:
        """Build the index that suits this many rows, and tune searches where the collection has grown."""
        kind = suitable(count, self._signature.dim, self._signature.dtype)
        if self._kind is EXACT and kind is not EXACT:
            self._index(kind, count)
        elif self._kind is not EXACT and count > TUNED_AGAIN * self._count:
            self._tune(count)

    def build(self, spec: str) -> tuple[str, int]:
        """Build an index now: auto, exact (none), hnsw or ivfflat; its name and its bytes."""
        count, name = self.count(), spec.lower()
        kind = suitable(count, self._signature.dim, self._signature.dtype) if name == "auto" else KINDS.get(name)
        if kind is None:
            raise IndexSpecError(f"{spec}: PostgreSQL has auto, exact (none), hnsw and ivfflat")
        if kind is not EXACT and self._signature.dim > MOST_DIMS[self._signature.dtype]:
            most = MOST_DIMS[self._signature.dtype]
            raise IndexSpecError(f"{spec}: pgvector indexes at most {most} numbers of {self._signature.dtype}")
        self._index(kind, count)
        size = self._rows("SELECT pg_total_relation_size(to_regclass(%s))", [self._index_name])
        return kind.name, int(size[0][0] or 0)

    @property
    def _index_name(self) -> str:
        return f"{self._table}_embedding"

    def _index(self, kind: Kind, count: int) -> None:
        """Replace the index; a killed server is as it was before. Writers wait meanwhile, searches do not."""
        import psycopg

        log.info("%s: %s over %d rows", self.address, kind.name, count)
        try:
            self._write(lambda connection: self._build(connection, kind, count), None)
        except EngineError as error:
            cause = error.__cause__
            if not isinstance(cause, psycopg.Error) or "shared memory" not in str(cause):
                raise
            # A container's /dev/shm is small; one process needs none of it.
            self._write(lambda connection: self._build(connection, kind, count, workers=0), None)
        self._do(lambda connection: connection.execute(f"ANALYZE {self._table}"), None)
        self._kind = kind
        if kind is not EXACT:
            self._tune(count)

    def _build(self, connection: "Connection[Any]", kind: Kind, count: int, workers: int | None = None) -> None:
        connection.execute(f"DROP INDEX IF EXISTS {self._index_name}")
        if kind is EXACT:
            return
        memory = building_memory(count, self._signature.dim, self._signature.dtype)
        _set(connection, {"maintenance_work_mem": f"{memory >> 10}kB"})
        if workers is not None:
            _set(connection, {"max_parallel_maintenance_workers": str(workers)})
        operators = f"{TYPES[self._signature.dtype]}_cosine_ops"
        name = self._index_name.partition(".")[2]
        options = kind.options(count)
        connection.execute(f"CREATE INDEX {name} ON {self._table} USING {kind.name} (embedding {operators}) {options}")

    def _tune(self, count: int) -> None:
        """Measure the effort that suffices for these vectors, and store it for all clients."""
        sample = np.unique(np.linspace(0, self.stop() - 1, tuning.SAMPLE).astype(np.int64))
        queries = np.asarray(self._fetched(sample)[1], np.float32)
        self._count = count

        def search(vectors: Vectors, k: int, effort: int) -> Ids:
            return self._nearest(vectors, k, WHOLE, effort)[1]

        self._effort = tuning.least(search, queries, self._kind.efforts, 0) if len(queries) else self._kind.untuned
        sql = f"UPDATE {SCHEMA}.collections SET effort = %s, tuned_rows = %s WHERE name = %s"  # noqa: S608
        self._write(lambda connection: connection.execute(sql, [self._effort, count, self.address.name]))

    # Reading

    def count(self) -> int:
        """The exact number of rows."""
        return int(self._rows(f"SELECT count(*) FROM {self._table}", (), LONG_CALL_SECONDS)[0][0])  # noqa: S608

    def stop(self) -> int:
        """One more than the largest id; 0 without rows."""
        return int(self._rows(f"SELECT coalesce(max(id) + 1, 0) FROM {self._table}")[0][0])  # noqa: S608

    def ids(self, start: int, stop: int) -> Ids:
        """The ids there are from `start` to before `stop`, ascending."""
        sql = f"SELECT id FROM {self._table} WHERE id >= %s AND id < %s ORDER BY id"  # noqa: S608
        return np.array([row[0] for row in self._rows(sql, [int(start), int(stop)], LONG_CALL_SECONDS)], np.int64)

    def vectors(self, ids: Ids) -> NDArray[Any]:
        """The stored rows (len(ids), dim), in the order of `ids`; raises EngineError for a missing row."""
        ids = np.asarray(ids, np.int64)
        unique = np.unique(ids)
        present, numbers = self._fetched(unique)
        if len(present) < len(unique):
            lost = np.setdiff1d(unique, present)
            raise EngineError(
                f"{self.address}: {counted(len(lost), 'vector is', 'vectors are')} missing (row {lost[0]}); "
                "run `lookalike verify --repair`, then index again"
            )
        return np.asarray(numbers[np.searchsorted(present, ids)])

    def _fetched(self, ids: Ids) -> tuple[Ids, NDArray[Any]]:
        """Those of some ids that there are, ascending, and their vectors."""
        kind = TYPES[self._signature.dtype]
        sql = f"SELECT id, {kind}_send(embedding) FROM {self._table} WHERE id = ANY(%s) ORDER BY id"  # noqa: S608
        rows = [
            row
            for start in range(0, len(ids), FETCHED)
            for row in self._rows(sql, [ids[start : start + FETCHED].tolist()])
        ]
        dtype = DTYPES[self._signature.dtype][1]
        # Two bytes of length and two that are unused come before the numbers, which are sent with the high byte first.
        sent = np.frombuffer(b"".join(row[1][4:] for row in rows), np.dtype(dtype).newbyteorder(">"))
        return (
            np.array([row[0] for row in rows], np.int64),
            sent.astype(dtype).reshape(len(rows), self._signature.dim),
        )

    def nearest(self, vectors: Vectors, k: int, among: Selection, care: Care) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and ids, best first; -1 pads."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._look()
        effort = {"usual": self._effort, "careful": CAREFUL * self._effort, "exact": 0}[care]
        return self._nearest(vectors, k, among, effort)

    def _nearest(self, vectors: Vectors, k: int, among: Selection, effort: int) -> tuple[Scores, Ids]:
        """As `nearest`; without an effort every row is compared."""
        from pgvector import HalfVector, Vector

        is_exact = self._kind is EXACT or among.ids is not None or not effort
        condition = _condition(among)
        inner = k if is_exact else self._kind.reads(k, effort, among.share)
        settings = {} if is_exact else self._kind.settings(k, effort, max(self._count, 1), among.share)
        wrap = Vector if self._signature.dtype == "float32" else HalfVector
        stored = np.asarray(vectors, DTYPES[self._signature.dtype][1])
        values = [
            (*condition.values, wrap(numbers), inner, Vector(vector), k)
            for vector, numbers in zip(vectors, stored, strict=True)
        ]
        statement, seconds = self._statement(condition, is_exact), LONG_CALL_SECONDS if is_exact else CALL_SECONDS
        scores = np.full((len(vectors), k), -1, np.float32)
        ids = np.full((len(vectors), k), -1, np.int64)
        for at, rows in enumerate(self._answers(statement, values, settings, seconds)):
            ids[at, : len(rows)] = [row[0] for row in rows]
            scores[at, : len(rows)] = [1 - row[1] for row in rows]
        return np.clip(scores, -1, 1, out=scores), ids

    def _statement(self, condition: Condition, is_exact: bool) -> str:
        """The nearest of the rows that meet a condition, with the cosine distance of the query as it is, not as halves.

        The sum keeps the planner from the index.
        """
        kind = f"{TYPES[self._signature.dtype]}({self._signature.dim})"
        order = f"(embedding <=> %s::{kind})" + (" + 0" if is_exact else "")
        return (
            f"WITH near AS MATERIALIZED (SELECT id, embedding FROM {self._table} "  # noqa: S608
            f"{_where(condition)} ORDER BY {order} LIMIT %s) "
            "SELECT id, embedding::vector <=> %s AS distance FROM near ORDER BY distance, id LIMIT %s"
        )

    def _answers(
        self, statement: str, values: list[tuple[Any, ...]], settings: dict[str, str], seconds: float
    ) -> list[list[Any]]:
        def ask(connection: "Connection[Any]") -> list[list[Any]]:
            with connection.pipeline(), connection.transaction():
                _set(connection, settings)
                cursors = [connection.execute(statement, value, binary=True) for value in values]
                return [cursor.fetchall() for cursor in cursors]

        return self._do(ask, seconds)

    def health(self) -> None:
        """Raise EngineError where the server does not answer within `HEALTH_SECONDS`, without a second attempt."""
        try:
            with self._connections.borrowed(HEALTH_SECONDS) as connection:
                connection.execute("SELECT 1")
        except self._patience.errors as error:
            raise EngineError(self._patience.describe(error)) from error

    def bytes(self) -> int:
        """What the rows and all their indexes take on the server's disk."""
        return int(self._rows("SELECT pg_total_relation_size(to_regclass(%s))", [self._table])[0][0])

    def facts(self) -> dict[str, Any]:
        """Facts for `lookalike info`."""
        sql = (
            "SELECT current_setting('server_version'), extversion FROM pg_catalog.pg_extension WHERE extname = 'vector'"
        )
        ((server, extension),) = self._rows(sql)
        server = f"PostgreSQL {server.split()[0]}, pgvector {extension}"
        return {
            **{"engine": str(self.address), "server": server, "index": self._kind.name},
            **{"engine_rows": self.count(), "engine_bytes": self.bytes()},
            "load_state": "ready" if self.is_settled() else "without the index that suits; the next run builds it",
            **({"effort": self._effort} if self._kind is not EXACT else {}),
        }

    # The connection

    def _rows(self, sql: str, values: Sequence[Any] = (), seconds: float = CALL_SECONDS) -> list[Any]:
        return self._do(lambda connection: connection.execute(sql, values, binary=True).fetchall(), seconds)

    def _do(self, action: "Callable[[Connection[Any]], T]", seconds: float | None = CALL_SECONDS) -> T:
        def attempt() -> T:
            with self._connections.borrowed(seconds) as connection:
                return action(connection)

        return self._patience.call(attempt)

    def _in_transaction(self, action: "Callable[[Connection[Any]], T]", seconds: float | None = LONG_CALL_SECONDS) -> T:
        def whole(connection: "Connection[Any]") -> T:
            with connection.transaction():
                return action(connection)

        return self._do(whole, seconds)

    def _write(self, action: "Callable[[Connection[Any]], object]", seconds: float | None = LONG_CALL_SECONDS) -> None:
        """A transaction of the writer that has begun; nobody else begins before it ends."""

        def write(connection: "Connection[Any]") -> None:
            if self._locked(connection) != self._generation and self._generation is not None:
                raise EngineError(superseded(self.address))
            action(connection)

        self._in_transaction(write, seconds)

    def _locked(self, connection: "Connection[Any]") -> str:
        """The generation of writing that the collection is in; nobody changes it until the transaction ends."""
        sql = f"SELECT owner, generation FROM {SCHEMA}.collections WHERE name = %s FOR UPDATE"  # noqa: S608
        row = connection.execute(sql, [self.address.name]).fetchone()
        if row is None or row[0] != self._signature.owner:
            raise EngineError(f"{self.address}: it is another collection's by now; index again with --rebuild")
        return str(row[1])


def _set(connection: "Connection[Any]", settings: dict[str, str]) -> None:
    """Settings until the end of the transaction."""
    if settings:
        calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
        connection.execute(f"SELECT {calls}", [part for pair in settings.items() for part in pair])


def _facts(row: ServerRow) -> tuple[Any, ...]:
    """The columns of a row before its vector."""
    from psycopg.types.json import Jsonb

    meta = Jsonb(row.fields, dumps=document)
    return row.id, storable(row.key), row.sha256, row.removed, meta


def _condition(among: Selection) -> Condition:
    """A selection in SQL."""
    condition = translate(among.where) if among.where else Condition()
    if among.ids is not None:
        condition &= Condition("id = ANY(%s)", (among.ids.tolist(),))
    if among.stop is not None:
        condition &= Condition("id < %s", (among.stop,))
    if among.excluded is not None:
        condition &= Condition("id <> ALL(%s)", (among.excluded.tolist(),))
    return condition


def _where(condition: Condition) -> str:
    return f"WHERE {condition.sql}" if condition.sql else ""


def connect(uri: str) -> Postgres:
    """The collection of a URI such as `postgresql://host/db?table=name`; raises EngineError for another URI."""
    return Postgres(parse(uri))
