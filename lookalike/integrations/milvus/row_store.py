"""The rows of a collection in a search server; meets `vectors.RowStore`.

Rows are written, and counted with strong consistency, before the catalog commits them, so the server has every row of
the catalog. Removed rows stay until the collection is rebuilt, as in the file, and are left out of results here.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import CollectionError, EngineError
from lookalike.index.exact import merged
from lookalike.integrations.milvus.client import Milvus, ServerRow, Signature, connect
from lookalike.integrations.milvus.expressions import translate
from lookalike.integrations.milvus.index_types import MOST_RESULTS
from lookalike.storage.manifest import read_header
from lookalike.storage.vectors import RowPlace, RowStore, crc_rows, encode
from lookalike.types import Ids, Scores, Vectors

Live = NDArray[np.bool_]
PENDING_BYTES = 8 << 20
NAMED = 4096
"""A selection of up to this many rows is sent to the server as a list of ids."""
PART = 16_384
"""Rows that an expression names where there are more: a call for each."""
SLACK = 8
ATTEMPTS = 2
"""Searches with growing k, before the live rows are named."""


class MilvusRows:
    """A `RowStore` in a collection of Milvus; nothing is asked of the server before it is needed."""

    dtype = "float32"

    def __init__(self, place: RowPlace, uri: str) -> None:
        if place.dtype != self.dtype:
            raise CollectionError(f"{place.path}: an engine keeps vectors as float32, not as {place.dtype}")
        self.dim, self._describe = place.dim, place.describe
        header = read_header(place.path)
        self._signature = Signature(header.id, header.encoder, header.fingerprint, header.dim)
        self._uri = uri
        self._engine: Milvus | None = None
        self._watcher: Milvus | None = None
        self._pending: dict[int, NDArray[np.float32]] = {}
        self._changed: set[int] = set()
        self._is_checked = self._has_written = False

    @staticmethod
    def discard(uri: str, owner: str, generations: Sequence[str]) -> None:
        """Delete the server's side of this owner's collection, unless another folder has written there since."""
        engine = connect(uri)
        if engine.owner() == owner and engine.generation() in generations:
            engine.drop()
        engine.close()

    @staticmethod
    def create(uri: str, owner: str, encoder: str, fingerprint: str, dim: int) -> None:
        """Make the server's side of a new collection; raises EngineError where it is away or holds another's."""
        engine = connect(uri)
        engine.create(Signature(owner, encoder, fingerprint, dim))
        engine.close()

    @property
    def engine(self) -> Milvus:
        """The server's collection, checked to be this one's; raises EngineError."""
        if self._engine is None:
            engine = connect(self._uri)
            engine.open(self._signature)
            self._engine = engine
        return self._engine

    def __len__(self) -> int:
        count = self.engine.count()
        # With missing rows, ids exceed the count; `verify` then lists the missing rows.
        beyond = self.engine.matching(f"id >= {count}")
        return int(beyond.max()) + 1 if len(beyond) else count

    # Writing

    @property
    def generation(self) -> str:
        """The last writer's name, "" before the first."""
        return self.engine.generation()

    def begin(self, generation: str) -> None:
        """Store a new writer's name on the server; every write first checks that it is still there."""
        self.engine.begin(generation)

    def append(self, first: int, vectors: Vectors) -> list[int]:
        """Collect rows until there are enough of them, or until `flush`; returns their checksums."""
        vectors = np.ascontiguousarray(np.atleast_2d(vectors), np.float32)
        assert vectors.shape[1] == self.dim, f"vectors of {self.dim} numbers"
        # Only earlier rows are written: the catalog does not describe these yet.
        if len(self._pending) * 4 * self.dim >= PENDING_BYTES:
            self._push()
        self._pending.update(enumerate(vectors, first))
        return crc_rows(encode(vectors, self.dtype))

    def copy(self, first: int, source: RowStore, ids: Ids) -> list[int]:
        """Append rows of another store, as float32."""
        return self.append(first, source.rows(ids))

    def touch(self, rows: Sequence[int]) -> None:
        """Write the catalog's changed fields of these rows with the next `flush`."""
        self._changed.update(int(row) for row in rows)

    def _push(self) -> None:
        rows = sorted(self._pending)
        self._upsert(rows, np.stack([self._pending[row] for row in rows]))
        self._pending.clear()
        self._has_written = True

    def _upsert(self, rows: Sequence[int], vectors: Vectors) -> None:
        described = zip(rows, self._describe(rows), strict=True)
        self.engine.upsert([ServerRow(row, key, sha256, fields) for row, (key, sha256, fields) in described], vectors)

    def flush(self, rows: int) -> None:
        """Write collected rows, delete those behind the last row, and check the count; raises EngineError."""
        changed = sorted(row for row in self._changed if row < rows and row not in self._pending)
        if not self._pending and not changed and self._is_checked:
            return
        for start in range(0, len(changed), NAMED):
            part = changed[start : start + NAMED]
            self._upsert(part, self.engine.vectors(np.array(part)))
        self._changed.clear()
        if self._pending:
            self._push()
        count = self.engine.count()
        self.engine.check_generation()
        if count > rows:
            self.engine.delete_from(rows)
            count = self.engine.count()
        if count != rows:
            raise EngineError(f"{self.engine.address} holds {count:,} of {rows:,} vectors; index again with --rebuild")
        self._is_checked = True

    def settle(self) -> None:
        """After a writer's last commit: flush segments to the server's disks, and build a suitable index."""
        if self._has_written:
            self.engine.flush()
            self.engine.optimise(self.engine.count())
            self._has_written = False

    def release(self) -> None:
        """Drop what was not committed."""
        self._pending.clear()
        self._changed.clear()
        self._is_checked = False

    def close(self) -> None:
        """Close the connection."""
        for client in (self._engine, self._watcher):
            if client is not None:
                client.close()
        self._engine = self._watcher = None

    # Reading

    def rows(self, ids: Ids) -> Vectors:
        """The rows `ids` as (len(ids), dim) float32, with those that are not written yet."""
        ids = np.asarray(ids, np.int64)
        vectors = np.empty((len(ids), self.dim), np.float32)
        is_pending = np.array([id_ in self._pending for id_ in ids.tolist()], np.bool_)
        for at in np.flatnonzero(is_pending):
            vectors[at] = self._pending[int(ids[at])]
        if not is_pending.all():
            vectors[~is_pending] = self.engine.vectors(ids[~is_pending])
        return vectors

    def block(self, start: int, stop: int) -> Vectors:
        """Consecutive rows, fetched."""
        return self.rows(np.arange(start, stop))

    def mapped(self, rows: int) -> None:
        """None: rows have to be fetched."""

    def matches(self, row: int, checksum: int) -> bool:
        """True: the server checks its own rows, and `verify` compares all of them."""
        return True

    def checksums(self, start: int, stop: int) -> list[int]:
        """CRC-32 of each row; -1, which is no CRC-32, for rows that the server lacks."""
        ids = set(self.engine.matching(f"id >= {int(start)} and id < {int(stop)}").tolist())
        present = [row for row in range(start, stop) if row in ids]
        crcs = dict(zip(present, crc_rows(encode(self.rows(np.array(present, np.int64)), self.dtype)), strict=True))
        return [crcs.get(row, -1) for row in range(start, stop)]

    def search(
        self,
        vectors: Vectors,
        k: int,
        rows: int,
        live: Live | None,
        recall: float | None = None,
        where: str | None = None,
    ) -> tuple[Scores, Ids]:
        """(m, dim) to (m, k) scores and rows, best first, -1 pads; only rows below `rows` for which `live` holds.

        `where` is the filter that selected `live`; it only makes the search faster.
        """
        expression = translate(where) or None if where else None
        count = rows if live is None else int(np.count_nonzero(live))
        if live is not None and 0 < count <= NAMED:
            expression = f"id in {np.flatnonzero(live).tolist()}"
        scores, ids = self._filtered(vectors, k, rows, live, recall, expression)
        if (ids >= 0).sum(axis=1).min(initial=k) < min(k, count):
            # The live rows are far from the query, or server and catalog judge the filter differently (a value that the
            # server lacks): the catalog is right.
            return self._named(vectors, k, rows, live, recall)
        return scores, ids

    def _named(
        self, vectors: Vectors, k: int, rows: int, live: Live | None, recall: float | None
    ) -> tuple[Scores, Ids]:
        """As `search`, with the live rows named to the server in parts: the cost grows with their number alone."""
        careful = (recall or 0) > 0.99
        parts = [self.engine.search(vectors, k, where, careful) for where in _expressions(rows, live)]
        return merged(parts, k)

    def _filtered(
        self, vectors: Vectors, k: int, rows: int, live: Live | None, recall: float | None, where: str | None
    ) -> tuple[Scores, Ids]:
        needed = min(k, rows if live is None else int(np.count_nonzero(live)))
        scores = np.full((len(vectors), k), -1, np.float32)
        ids = np.full((len(vectors), k), -1, np.int64)
        fetch = min(k + SLACK, max(rows, 1))
        for _ in range(ATTEMPTS if needed else 0):
            candidate_scores, candidates = self.engine.search(vectors, fetch, where, careful=(recall or 0) > 0.99)
            is_valid = _are_valid(candidates, rows, live)
            if is_valid.sum(axis=1).min() >= needed or (candidates[:, -1] < 0).all() or fetch >= rows + SLACK:
                for at, valid in enumerate(is_valid):
                    best = np.flatnonzero(valid)[:k]
                    scores[at, : len(best)], ids[at, : len(best)] = candidate_scores[at, best], candidates[at, best]
                break
            # Candidates include removed rows and those of a run that has not committed: fetch more.
            # Not beyond the length of a list of the server, which would read all rows.
            fetch = min(4 * fetch, rows + SLACK, max(MOST_RESULTS, k + SLACK))
        return scores, ids

    def health(self) -> None:
        """Raise EngineError where the server does not answer a small question in time; asked by a client of its own."""
        if self._watcher is None:
            self._watcher = connect(self._uri)
        self._watcher.health()

    def facts(self) -> dict[str, str]:
        """Facts about the server for `lookalike info`."""
        return self.engine.facts()


def _expressions(rows: int, live: Live | None) -> list[str]:
    """The live rows as the server's expressions, each at most some 100 kB long."""
    if live is None:
        return [f"id < {rows}"]
    excluded = np.flatnonzero(~live)
    if len(excluded) <= NAMED:
        return [f"id < {rows} and id not in {excluded.tolist()}"]
    ids = np.flatnonzero(live)
    return [f"id in {ids[start : start + PART].tolist()}" for start in range(0, len(ids), PART)]


def _are_valid(ids: Ids, rows: int, live: Live | None) -> Live:
    """Which of these ids are committed rows for which `live` holds."""
    valid = (ids >= 0) & (ids < rows)
    if live is not None:
        valid &= live[np.where(valid, ids, 0)]
    return np.asarray(valid, np.bool_)
