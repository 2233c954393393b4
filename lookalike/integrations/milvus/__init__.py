"""Search servers that hold the vectors of a collection that has outgrown one machine: a lazy table of URI schemes.

An engine stands where the vector file and the index stand; the catalog stays with the collection. The same row number
names an image in both, so writing a row twice leaves one row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from lookalike.errors import EngineError
from lookalike.integrations.milvus.address import Address, is_same, parse, remember, renamed
from lookalike.types import Ids, Scores, Vectors

__all__ = ["ENGINES", "Address", "Engine", "Row", "Signature", "connect", "is_same", "parse", "renamed", "stored"]

ENGINES = {"milvus": "lookalike.integrations.milvus.client:Milvus"}


@dataclass(frozen=True)
class Signature:
    """What a server's collection holds: whose rows (`owner`, drawn when the local collection was made) and vectors."""

    owner: str
    encoder: str
    fingerprint: str
    dim: int


@dataclass(frozen=True)
class Row:
    """What the server knows of an image beside its vector; `fields` become dynamic fields that filters can name."""

    id: int
    key: str
    sha256: str
    fields: dict[str, Any]


class Engine(Protocol):
    """A server's collection of vectors; every method is retried with back-off while the server is away for a moment.

    All raise EngineError, in one line, once patience has run out.
    """

    @property
    def address(self) -> Address:
        """Where it is, without secrets."""
        ...

    def create(self, signature: Signature) -> None:
        """Make the collection, or take over an empty one; raises EngineError where it holds another's rows."""
        ...

    def open(self, signature: Signature) -> None:
        """Check that it is the collection that `signature` names, and make it ready to be searched."""
        ...

    def upsert(self, rows: Sequence[Row], vectors: Vectors) -> None:
        """Write rows, replacing those of the same id."""
        ...

    def flush(self) -> None:
        """Wait until everything written is safe on disk and seen by every search that starts from now on."""
        ...

    def delete(self, ids: Ids) -> None:
        """Forget rows; those that are not there are no error."""
        ...

    def delete_from(self, id_: int) -> None:
        """Forget every row of this id or above."""
        ...

    def vectors(self, ids: Ids) -> Vectors:
        """The stored unit rows (len(ids), dim), in the order of `ids`; raises EngineError where one is missing."""
        ...

    def search(self, vectors: Vectors, k: int, where: str | None = None, careful: bool = False) -> tuple[Scores, Ids]:
        """(m, dim) unit rows to (m, k) cosines and ids, best first; -1 pads. `where` is the server's expression.

        `careful` takes more time for fewer misses.
        """
        ...

    def matching(self, where: str) -> Ids:
        """The ids that meet the server's expression, ascending."""
        ...

    def count(self) -> int:
        """How many rows there are, exactly."""
        ...

    def optimise(self, count: int) -> None:
        """Give the index the kind that suits this many rows, where it has another."""
        ...

    def facts(self) -> dict[str, str]:
        """What `lookalike info` says of it."""
        ...

    def drop(self) -> None:
        """Delete the collection and everything in it."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


def stored(uri: str) -> str:
    """A URI as it may be written down; what gives entry is kept for this process alone. Raises EngineError."""
    address = parse(uri)
    remember(address)
    return str(address)


def connect(uri: str) -> Engine:
    """The engine of a URI such as `milvus://host:19530/name`; raises EngineError where it is not one or not there."""
    address = parse(uri)
    if address.engine not in ENGINES:
        raise EngineError(f"{address}: no such engine; there are {', '.join(f'{name}://' for name in ENGINES)}")
    module, _, attribute = ENGINES[address.engine].partition(":")
    factory: Callable[[Address], Engine] = getattr(import_module(module), attribute)
    return factory(address)
