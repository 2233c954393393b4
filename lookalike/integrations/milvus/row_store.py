"""The rows of a collection in a search server, as `vectors.RowStore` wants them.

What the catalog names is in the server: rows are written, and seen by a strongly consistent count, before the catalog
commits them. Rows that were removed stay until the collection is rebuilt, as in the file, and are passed over here.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import CollectionError, EngineError
from lookalike.integrations.milvus.client import Milvus, ServerRow, Signature, connect
from lookalike.integrations.milvus.expressions import translate
from lookalike.storage.manifest import read_header
from lookalike.storage.vectors import RowPlace, RowStore, crc_rows, encode
from lookalike.types import Ids, Scores, Vectors

Live = NDArray[np.bool_]
PENDING_BYTES = 8 << 20
NAMED = 4096
"""Up to this many rows a selection is put to the server as a list of ids, and the answer is of these alone."""
SLACK = 8


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
        self._pending: dict[int, NDArray[np.float32]] = {}
        self._changed: set[int] = set()
        self._is_checked = self._has_written = False

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
        # Where some are missing, others lie behind: `verify` is to see which.
        behind = self.engine.matching(f"id >= {count}")
        return int(behind.max()) + 1 if len(behind) else count

    # Writing

    def append(self, first: int, vectors: Vectors) -> list[int]:
        """Hold rows until enough have come together, or until `flush`; their checksums."""
        vectors = np.ascontiguousarray(np.atleast_2d(vectors), np.float32)
        assert vectors.shape[1] == self.dim, f"vectors of {self.dim} numbers"
        # The catalog knows of those that came before, and not yet of these.
        if len(self._pending) * 4 * self.dim >= PENDING_BYTES:
            self._push()
        self._pending.update(enumerate(vectors, first))
        return crc_rows(encode(vectors, self.dtype))

    def copy(self, first: int, source: RowStore, ids: Ids) -> list[int]:
        """As float32, however exactly they lie there."""
        return self.append(first, source.rows(ids))

    def touch(self, rows: Sequence[int]) -> None:
        """The catalog's fields of these rows have changed; the server learns of it with the next `flush`."""
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
        """Write what is held, cut what lies behind the last row, and see all of it there; raises EngineError."""
        changed = sorted(row for row in self._changed if row < rows and row not in self._pending)
        if not self._pending and not changed and self._is_checked:
            return
        for start in range(0, len(changed), NAMED):
            part = changed[start : start + NAMED]
            self._upsert(part, self.engine.vectors(np.array(part)))
        self._changed.clear()
        if self._pending:
            self._push()
        held = self.engine.count()
        if held > rows:
            self.engine.delete_from(rows)
            held = self.engine.count()
        if held != rows:
            raise EngineError(f"{self.engine.address} holds {held:,} of {rows:,} vectors; index again with --rebuild")
        self._is_checked = True

    def settle(self) -> None:
        """After a writer's last commit: segments to the server's disks, and the index that suits so many rows."""
        if self._has_written:
            self.engine.flush()
            self.engine.optimise(self.engine.count())
            self._has_written = False

    def release(self) -> None:
        """Forget what was not committed."""
        self._pending.clear()
        self._changed.clear()
        self._is_checked = False

    def close(self) -> None:
        """Let go of the connection."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def drop(self) -> None:
        """Delete the server's collection."""
        connected = connect(self._uri)
        connected.drop()
        connected.close()
        self.close()

    # Reading

    def rows(self, ids: Ids) -> Vectors:
        """The rows `ids` as (len(ids), dim) float32, also those that are not written yet."""
        ids = np.asarray(ids, np.int64)
        found = np.empty((len(ids), self.dim), np.float32)
        held = np.array([id_ in self._pending for id_ in ids.tolist()], np.bool_)
        for at in np.flatnonzero(held):
            found[at] = self._pending[int(ids[at])]
        if not held.all():
            found[~held] = self.engine.vectors(ids[~held])
        return found

    def block(self, start: int, stop: int) -> Vectors:
        """Consecutive rows, fetched."""
        return self.rows(np.arange(start, stop))

    def mapped(self, rows: int) -> None:
        """They have to be fetched."""

    def matches(self, row: int, checksum: int) -> bool:
        """What the server holds is the server's to check; `verify` compares all of it."""
        return True

    def checksums(self, start: int, stop: int) -> list[int]:
        """CRC-32 of each row; -1, which is none, where the server lacks it."""
        there = set(self.engine.matching(f"id >= {int(start)} and id < {int(stop)}").tolist())
        present = [row for row in range(start, stop) if row in there]
        known = dict(zip(present, crc_rows(encode(self.rows(np.array(present, np.int64)), self.dtype)), strict=True))
        return [known.get(row, -1) for row in range(start, stop)]

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

        `where` is the filter that `live` is of; it only makes the answer come sooner.
        """
        said = translate(where) or None if where else None
        count = rows if live is None else int(np.count_nonzero(live))
        if live is not None and 0 < count <= NAMED:
            said = f"id in {np.flatnonzero(live).tolist()}"
        found = self._filtered(vectors, k, rows, live, recall, said)
        if said is not None and (found[1] >= 0).sum(axis=1).min(initial=k) < min(k, count):
            # The server and the catalog see a filter differently (a value that one lacks): the catalog is right.
            found = self._filtered(vectors, k, rows, live, recall, None)
        return found

    def _filtered(
        self, vectors: Vectors, k: int, rows: int, live: Live | None, recall: float | None, where: str | None
    ) -> tuple[Scores, Ids]:
        wanted = min(k, rows if live is None else int(np.count_nonzero(live)))
        scores = np.full((len(vectors), k), -1, np.float32)
        ids = np.full((len(vectors), k), -1, np.int64)
        asked = min(k + SLACK, max(rows, 1))
        while wanted:
            found_scores, found = self.engine.search(vectors, asked, where, careful=(recall or 0) > 0.99)
            counts = _counts(found, rows, live)
            if counts.sum(axis=1).min() >= wanted or (found[:, -1] < 0).all() or asked >= rows + SLACK:
                for at, good in enumerate(counts):
                    kept = np.flatnonzero(good)[:k]
                    scores[at, : len(kept)], ids[at, : len(kept)] = found_scores[at, kept], found[at, kept]
                break
            # Removed rows, and those of a run that goes on, are in the way.
            asked = min(4 * asked, rows + SLACK)
        return scores, ids

    def facts(self) -> dict[str, str]:
        """What `lookalike info` says of the server."""
        return self.engine.facts()


def _counts(found: Ids, rows: int, live: Live | None) -> Live:
    """Which of these ids are rows that count."""
    inside = (found >= 0) & (found < rows)
    if live is not None:
        inside &= live[np.where(inside, found, 0)]
    return np.asarray(inside, np.bool_)
