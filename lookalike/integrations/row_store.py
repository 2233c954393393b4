"""The rows of a collection in a search server; meets `vectors.RowStore`.

Rows are written, and counted, before the catalog commits them, so the server has every row of the catalog. Removed rows
stay until the collection is rebuilt, as in the file, and are left out of results here. The catalog alone says which
rows a search may return; what is sent to the server of a filter only makes the search faster.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import CollectionError, EngineError
from lookalike.index.exact import merged
from lookalike.integrations.engine import Care, Engine, Selection, ServerRow, Signature
from lookalike.storage.manifest import read_header
from lookalike.storage.vectors import DTYPES, RowPlace, RowStore, crc_rows, decode, encode
from lookalike.types import Ids, Scores, Vectors

Live = NDArray[np.bool_]
Numbers = NDArray[Any]
"""(n, dim) as they are stored: float32 or float16."""
PENDING_BYTES = 8 << 20
NAMED = 4096
"""A selection of up to this many rows is sent to the server as a list of ids."""
PART = 16_384
"""Rows that are named in a call where there are more."""
SLACK = 8
ATTEMPTS = 2
"""Searches with growing k, before the live rows are named."""
MOST_FETCHED = 16_384
"""Candidates of a search that is repeated; more would read most rows of a server."""


class EngineRowStore:
    """A `RowStore` in an `Engine`; nothing is asked of the server before it is needed."""

    def __init__(self, place: RowPlace, connect: Callable[[], Engine], dtypes: Sequence[str]) -> None:
        if place.dtype not in dtypes:
            there = " or ".join(dtypes)
            raise CollectionError(f"{place.path}: this engine keeps vectors as {there}, not as {place.dtype}")
        self.dim, self.dtype, self._place = place.dim, place.dtype, place
        header = read_header(place.path)
        self._signature = Signature(header.id, header.encoder, header.fingerprint, header.dim, header.dtype)
        self._connect = connect
        self._engine: Engine | None = None
        self._watcher: Engine | None = None
        self._pending: dict[int, Numbers] = {}
        self._changed: set[int] = set()
        self._removed: set[int] = set()
        self._is_checked = self._has_written = False

    @property
    def engine(self) -> Engine:
        """The server's collection, checked to be this one's; raises EngineError."""
        if self._engine is None:
            engine = self._connect()
            engine.open(self._signature)
            self._engine = engine
        return self._engine

    def __len__(self) -> int:
        return self.engine.stop()

    # Writing

    @property
    def generation(self) -> str:
        """The last writer's name, "" before the first."""
        return self.engine.generation()

    def begin(self, generation: str, after: str) -> None:
        """Store a new writer's name on the server; every write first checks that it is still there."""
        self.engine.begin(generation, after)

    def append(self, first: int, vectors: Vectors) -> list[int]:
        """Collect rows until there are enough of them, or until `flush`; returns their checksums."""
        vectors = np.atleast_2d(vectors)
        assert vectors.shape[1] == self.dim, f"vectors of {self.dim} numbers"
        numbers = encode(vectors, self.dtype).view(DTYPES[self.dtype][1])
        # Only earlier rows are written: the catalog does not describe these yet.
        if len(self._pending) * 4 * self.dim >= PENDING_BYTES:
            self._push()
        self._pending.update(enumerate(numbers, first))
        return crc_rows(numbers)

    def copy(self, first: int, source: RowStore, ids: Ids) -> list[int]:
        """Append rows of another store."""
        return self.append(first, source.rows(ids))

    def touch(self, rows: Sequence[int]) -> None:
        """Write the catalog's changed fields of these rows with the next `flush`."""
        self._changed.update(int(row) for row in rows)

    def mark(self, rows: Sequence[int]) -> None:
        """Mark these rows as removed with the next `flush`."""
        self._removed.update(int(row) for row in rows)

    def _push(self) -> None:
        rows = sorted(self._pending)
        self.engine.upsert(self._described(rows), np.stack([self._pending[row] for row in rows]))
        self._pending.clear()
        self._has_written = True

    def _described(self, rows: Sequence[int]) -> list[ServerRow]:
        described, removed = self._place.describe(rows), self._place.removed(rows)
        return [
            ServerRow(row, key, sha256, fields, row in removed)
            for row, (key, sha256, fields) in zip(rows, described, strict=True)
        ]

    def flush(self, rows: int) -> None:
        """Write what was collected, delete rows behind the last one, and check the count; raises EngineError."""
        self._pending = {row: numbers for row, numbers in self._pending.items() if row < rows}
        changed = sorted(row for row in self._changed if row < rows and row not in self._pending)
        removed = sorted(row for row in self._removed - self._changed if row < rows and row not in self._pending)
        if not self._pending and not changed and not removed and self._is_checked:
            return
        if changed:
            self.engine.describe(self._described(changed))
        if removed:
            self.engine.mark(removed)
        self._changed.clear()
        self._removed.clear()
        if self._pending:
            self._push()
        self._even(rows)

    def _even(self, rows: int) -> None:
        """Cut what the server has beyond `rows`, and fill what it lacks below, where the catalog can do without."""
        self.engine.check_generation()
        stop = self.engine.stop()
        if stop > rows:
            self.engine.delete_from(rows)
            stop = self.engine.stop()
        if (stop if self._is_checked else self.engine.count()) != rows:
            self._fill(rows)
        self._is_checked = True

    def _fill(self, rows: int) -> None:
        """Write fillers for missing rows that are removed, as a file has zeros; raises EngineError for any other."""
        missing = np.setdiff1d(np.arange(rows), self.engine.ids(0, rows)).tolist()
        lost = sorted(set(missing) - self._place.removed(missing))
        if lost:
            raise EngineError(
                f"{self._place.path}: {len(lost):,} of {rows:,} vectors are missing in its engine (row {lost[0]}); "
                "run `lookalike verify --repair`, then index again"
            )
        filler = np.zeros((1, self.dim), DTYPES[self.dtype][1])
        filler[0, 0] = 1
        self.engine.upsert([ServerRow(row, "", "", {}, True) for row in missing], np.repeat(filler, len(missing), 0))

    def settle(self) -> None:
        """After a writer's last commit: make rows durable on the server, and build a suitable index."""
        if self._has_written or not self.engine.is_settled():
            self.engine.settle(self.engine.count())
            self._has_written = False

    def build(self, spec: str) -> tuple[str, int]:
        """Build the index `spec` of the engine now; its name and its bytes."""
        return self.engine.build(spec)

    def release(self) -> None:
        """Drop what was not committed."""
        self._pending.clear()
        self._changed.clear()
        self._removed.clear()
        self._is_checked = False

    def close(self) -> None:
        """Close the connection."""
        for engine in (self._engine, self._watcher):
            if engine is not None:
                engine.close()
        self._engine = self._watcher = None

    # Reading

    def rows(self, ids: Ids) -> Vectors:
        """The rows `ids` as (len(ids), dim) float32, with those that are not written yet."""
        numbers = self._numbers(np.asarray(ids, np.int64))
        return decode(numbers.view(np.uint8), self.dtype)

    def _numbers(self, ids: Ids) -> Numbers:
        numbers = np.empty((len(ids), self.dim), DTYPES[self.dtype][1])
        is_pending = np.array([id_ in self._pending for id_ in ids.tolist()], np.bool_)
        for at in np.flatnonzero(is_pending):
            numbers[at] = self._pending[int(ids[at])]
        if not is_pending.all():
            numbers[~is_pending] = self.engine.vectors(ids[~is_pending])
        return numbers

    def block(self, start: int, stop: int) -> Vectors:
        """Consecutive rows, fetched."""
        return self.rows(np.arange(start, stop))

    def mapped(self, rows: int) -> None:
        """None: rows have to be fetched."""

    def prefetch(self, ids: Ids) -> None:
        """Does nothing: there is no file."""

    def matches(self, row: int, checksum: int) -> bool:
        """True: the server checks its own rows, and `verify` compares all of them."""
        return True

    def checksums(self, start: int, stop: int) -> list[int]:
        """CRC-32 of each row; -1, which is no CRC-32, for rows that the server lacks."""
        present = self.engine.ids(start, stop)
        crcs = dict(zip(present.tolist(), crc_rows(self._numbers(present)), strict=True))
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
        count = rows if live is None else int(np.count_nonzero(live))
        among = Selection(where=where, share=max(count, 1) / max(rows, 1))
        if live is not None and 0 < count <= NAMED:
            among = Selection(ids=np.flatnonzero(live))
        scores, ids = self._filtered(vectors, k, rows, live, among, _care(recall))
        if (ids >= 0).sum(axis=1).min(initial=k) < min(k, count):
            # The live rows are far from the query and the index ended early, or server and catalog judge the filter
            # differently (a value that the server lacks): the catalog is right. The cost grows with their number alone.
            return merged([self.engine.nearest(vectors, k, part, "exact") for part in _named(rows, live)], k)
        return scores, ids

    def _filtered(
        self, vectors: Vectors, k: int, rows: int, live: Live | None, among: Selection, care: Care
    ) -> tuple[Scores, Ids]:
        needed = min(k, rows if live is None else int(np.count_nonzero(live)))
        scores = np.full((len(vectors), k), -1, np.float32)
        ids = np.full((len(vectors), k), -1, np.int64)
        fetch = min(k + SLACK, max(rows, 1))
        for _ in range(ATTEMPTS if needed else 0):
            candidate_scores, candidates = self.engine.nearest(vectors, fetch, among, care)
            is_valid = _are_valid(candidates, rows, live)
            if is_valid.sum(axis=1).min() >= needed or (candidates[:, -1] < 0).all() or fetch >= rows + SLACK:
                for at, valid in enumerate(is_valid):
                    best = np.flatnonzero(valid)[:k]
                    scores[at, : len(best)], ids[at, : len(best)] = candidate_scores[at, best], candidates[at, best]
                break
            # Candidates include removed rows and those of a run that has not committed: fetch more.
            fetch = min(4 * fetch, rows + SLACK, max(MOST_FETCHED, k + SLACK))
        return scores, ids

    def health(self) -> None:
        """Raise EngineError where the server does not answer a small question in time; asked by a client of its own."""
        if self._watcher is None:
            self._watcher = self._connect()
        self._watcher.health()

    def facts(self) -> dict[str, Any]:
        """Facts about the server for `lookalike info`."""
        return self.engine.facts()


def _care(recall: float | None) -> Care:
    """How far a search for this recall goes."""
    if (recall or 0) >= 1:
        return "exact"
    return "careful" if (recall or 0) > 0.99 else "usual"


def _named(rows: int, live: Live | None) -> list[Selection]:
    """The live rows, named to a server in parts."""
    if live is None:
        return [Selection(stop=rows)]
    excluded = np.flatnonzero(~live)
    if len(excluded) <= NAMED:
        return [Selection(stop=rows, excluded=excluded)]
    ids = np.flatnonzero(live)
    return [Selection(ids=ids[start : start + PART]) for start in range(0, len(ids), PART)]


def _are_valid(ids: Ids, rows: int, live: Live | None) -> Live:
    """Which of these ids are committed rows for which `live` holds."""
    valid = (ids >= 0) & (ids < rows)
    if live is not None:
        valid &= live[np.where(valid, ids, 0)]
    return np.asarray(valid, np.bool_)
