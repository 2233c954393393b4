"""Other programs' engines: vectors in a search server, embedding on a cluster. A lazy table of URI schemes.

Storage stands below this room and knows no engine: what is here puts itself into its table when it is imported.
"""

from functools import partial
from importlib import import_module
from pathlib import Path

from lookalike.storage.vectors import ENGINES as OPENERS
from lookalike.storage.vectors import EngineRows, SearchingRows

ENGINES = {"milvus": "lookalike.integrations.milvus.row_store"}
"""The scheme of a URI to the module that has `EngineRows(path, uri, dim, dtype)` and `create(uri, owner, …)`."""


def open_row_store(module: str, path: Path, uri: str, dim: int, dtype: str) -> SearchingRows:
    """The vectors of the collection in `path`, in the engine at `uri`."""
    rows: SearchingRows = import_module(module).EngineRows(path, uri, dim, dtype)
    return rows


def create_row_store(module: str, uri: str, owner: str, encoder: str, fingerprint: str, dim: int) -> None:
    """Make the engine's side of a new collection; raises EngineError where it is away or holds another's."""
    import_module(module).create(uri, owner, encoder, fingerprint, dim)


for scheme, module in ENGINES.items():
    OPENERS[scheme] = EngineRows(partial(open_row_store, module), partial(create_row_store, module))
