"""Other programs' engines: vectors in a search server, embedding on a cluster. A lazy table of URI schemes.

Storage stands below this room and knows no engine: what is here puts itself into its table when it is imported.
"""

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

from lookalike.storage.vectors import ENGINES as KINDS
from lookalike.storage.vectors import EngineKind, RowPlace, RowStore

ENGINES = {"milvus": "lookalike.integrations.milvus.row_store:MilvusRows"}
"""The scheme of a URI to the row store that keeps vectors there."""


def open_row_store(scheme: str, place: RowPlace, uri: str) -> RowStore:
    """The vectors of a collection in the engine at `uri`; nothing is asked of it yet."""
    rows: RowStore = _row_store(scheme)(place, uri)
    return rows


def create_row_store(scheme: str, uri: str, owner: str, encoder: str, fingerprint: str, dim: int) -> None:
    """Make the engine's side of a new collection; raises EngineError where it is away or holds another's."""
    _row_store(scheme).create(uri, owner, encoder, fingerprint, dim)


def discard_row_store(scheme: str, uri: str, owner: str, generations: Sequence[str]) -> None:
    """Delete the engine's side of a collection, unless it is another's, or was written by others since."""
    _row_store(scheme).discard(uri, owner, generations)


def _row_store(scheme: str) -> Any:
    module, _, name = ENGINES[scheme].partition(":")
    return getattr(import_module(module), name)


for scheme in ENGINES:
    KINDS[scheme] = EngineKind(
        partial(open_row_store, scheme), partial(create_row_store, scheme), partial(discard_row_store, scheme)
    )
