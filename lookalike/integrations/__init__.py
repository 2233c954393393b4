"""Other programs' engines: vectors in a search server, embedding on a cluster. A lazy table of URI schemes.

Storage stands below this room and knows no engine: what is here puts itself into its table when it is imported.
"""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, cast

from lookalike.errors import EngineError
from lookalike.storage.vectors import ENGINES as KINDS
from lookalike.storage.vectors import EngineKind, RowPlace, RowStore

if TYPE_CHECKING:
    from lookalike.integrations.engine import Engine

ENGINES = {
    "milvus": "lookalike.integrations.milvus.client:connect",
    "postgresql": "lookalike.integrations.postgres.client:connect",
}
"""The scheme of a URI to the function that makes an `Engine` of it."""
STORED_AS = {"milvus": ("float32",), "postgresql": ("float16", "float32")}
"""The dtypes that an engine keeps; the first is that of a new collection."""


def open_row_store(scheme: str, place: RowPlace, uri: str) -> RowStore:
    """The vectors of a collection in the engine at `uri`; nothing is asked of it yet."""
    from lookalike.integrations.row_store import EngineRowStore

    return EngineRowStore(place, partial(connect, scheme, uri), STORED_AS[scheme])


def create_row_store(scheme: str, uri: str, owner: str, encoder: str, fingerprint: str, dim: int, dtype: str) -> None:
    """Make the engine's side of a new collection; raises EngineError where it is away or holds another's."""
    from lookalike.integrations.engine import Signature

    if dtype not in STORED_AS[scheme]:
        raise EngineError(f"{uri}: this engine keeps vectors as {' or '.join(STORED_AS[scheme])}, not as {dtype}")
    with closing(connect(scheme, uri)) as engine:
        engine.create(Signature(owner, encoder, fingerprint, dim, dtype))


def discard_row_store(scheme: str, uri: str, owner: str, generations: Sequence[str]) -> None:
    """Delete the engine's side of a collection, unless it is another's, or was written by others since."""
    with closing(connect(scheme, uri)) as engine:
        engine.discard(owner, generations)


def connect(scheme: str, uri: str) -> "Engine":
    """The engine at `uri`; nothing is asked of it yet."""
    module, _, name = ENGINES[scheme].partition(":")
    return cast("Engine", getattr(import_module(module), name)(uri))


for scheme in ENGINES:
    KINDS[scheme] = EngineKind(
        partial(open_row_store, scheme),
        partial(create_row_store, scheme),
        partial(discard_row_store, scheme),
        STORED_AS[scheme],
    )
