"""What a search server has to do for a collection: rows in, rows out, the nearest of a selection of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from lookalike.types import Ids, Scores, Vectors

Care = Literal["usual", "careful", "exact"]
"""How far a search goes: as measured to suffice, several times as far, or to every row where the engine can."""


@dataclass(frozen=True)
class Signature:
    """The identity of a server's collection: `owner`, a random id of the local collection, and its kind of vectors."""

    owner: str
    encoder: str
    fingerprint: str
    dim: int
    dtype: str = "float32"


@dataclass(frozen=True)
class ServerRow:
    """An image on the server without its vector; `fields` become what filters can name."""

    id: int
    key: str
    sha256: str
    fields: dict[str, Any]
    removed: bool = False


@dataclass(frozen=True)
class Selection:
    """The rows that are searched: all that meet each part which is not None.

    These `ids`, those below `stop`, all but the `excluded` ones, and those for which the filter `where` may hold. It is
    as the user wrote it (see `storage.filters`), and each engine translates it; rows for which it does not hold may be
    left in, and the caller drops them. `share` is how many of all rows meet it, above 0 to 1: the ten nearest of a
    hundredth of the rows lie as far away as the thousand nearest of all, and an approximate search has to go that far.
    """

    ids: Ids | None = None
    stop: int | None = None
    excluded: Ids | None = None
    where: str | None = None
    share: float = 1.0


WHOLE = Selection()


class Engine(Protocol):
    """A server's collection. All methods raise EngineError, in one line, once patience has run out.

    Vectors come and go as the numbers that are stored: float32, or float16 where the engine keeps that.
    """

    def create(self, signature: Signature) -> None:
        """Make the collection, or go on with one of this very signature; raises EngineError for another's."""
        ...

    def open(self, signature: Signature) -> None:
        """Check that it is the collection that `signature` names."""
        ...

    def discard(self, owner: str, generations: Sequence[str]) -> None:
        """Delete the collection, unless it is another's, or its last writer is none of these; missing is no error."""
        ...

    def generation(self) -> str:
        """The name that the last writer gave, "" before the first."""
        ...

    def begin(self, generation: str, after: str) -> None:
        """Store a new writer's name; from then on writes of this object are refused once there is another one.

        Raises EngineError where another writer than `after` has begun in the meantime.
        """
        ...

    def check_generation(self) -> None:
        """Raise EngineError where another writer has begun since."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...

    def upsert(self, rows: Sequence[ServerRow], vectors: NDArray[Any]) -> None:
        """Write rows, replacing those of the same id."""
        ...

    def describe(self, rows: Sequence[ServerRow]) -> None:
        """Write what is known of rows that are there, without their vectors."""
        ...

    def mark(self, ids: Sequence[int]) -> None:
        """Mark rows as removed, where the engine keeps that."""
        ...

    def delete_from(self, id_: int) -> None:
        """Delete every row of this id or above."""
        ...

    def is_settled(self) -> bool:
        """Whether there is the index that suits; not where a run was killed before it was built."""
        ...

    def settle(self, count: int) -> None:
        """Make all written rows durable, build the index that suits this many, and tune searches."""
        ...

    def build(self, spec: str) -> tuple[str, int]:
        """Build the index `spec` (auto, exact, or one of the engine's) now; its name and its bytes."""
        ...

    def count(self) -> int:
        """The exact number of rows."""
        ...

    def stop(self) -> int:
        """One more than the largest id; 0 without rows."""
        ...

    def ids(self, start: int, stop: int) -> Ids:
        """The ids there are from `start` to before `stop`, ascending."""
        ...

    def vectors(self, ids: Ids) -> NDArray[Any]:
        """The stored rows (len(ids), dim), in the order of `ids`; raises EngineError for a missing row."""
        ...

    def nearest(self, vectors: Vectors, k: int, among: Selection, care: Care) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and ids, best first; -1 pads. All the server's rows count."""
        ...

    def health(self) -> None:
        """Raise EngineError where the server does not answer within two seconds or so; asked once."""
        ...

    def facts(self) -> dict[str, Any]:
        """Facts for `lookalike info`: engine, server, index, engine_rows (all of them), load_state; effort of a graph.

        load_state is "ready", or what a search has to do without.
        """
        ...


def mismatch(address: object, existing: Signature, signature: Signature) -> str:
    """Why the collection at an address is not the one that `signature` names."""
    if existing.dim != signature.dim:
        return f"{address} holds vectors of {existing.dim} numbers, not {signature.dim}; give another name"
    if existing.fingerprint != signature.fingerprint:
        return (
            f"{address} was made with {existing.encoder} ({existing.fingerprint[:12]}), not {signature.encoder} "
            f"({signature.fingerprint[:12]}); give another name"
        )
    return f"{address} belongs to another collection; give another name"


def superseded(address: object) -> str:
    """Why nothing more is written to the collection at an address."""
    return f"{address}: another folder has begun to write this collection; nothing more is written"
