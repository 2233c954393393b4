"""The places where a collection's vectors may lie, one after the other for every test of this folder.

A real Milvus server needs seconds for each run of a writer, so of whole collections only a few tests ask it too.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lookalike import integrations
from lookalike.collection.collection import Collection
from lookalike.collection.collection import open as open_collection
from lookalike.errors import EngineError
from lookalike.integrations.engine import Engine, Signature
from lookalike.integrations.row_store import EngineRowStore
from tests.integrations.milvus.milvus_servers import impatient
from tests.integrations.milvus.milvus_servers import server as milvus_server
from tests.integrations.postgres.postgres_server import server as postgres_server
from tests.support.pictures import PixelEncoder

__all__ = ["impatient", "milvus_server", "postgres_server"]

FILES = ("file", "file16")
ENGINES = ("milvus", "postgresql", "postgresql32")
SERVER = pytest.param("milvus-server", marks=pytest.mark.server)


@dataclass
class Place:
    """Where vectors lie: `engine` is None for a file."""

    name: str
    engine: str | None
    dtype: str | None

    @property
    def loss(self) -> float:
        """By how much a cosine may differ from that of the float32 vectors."""
        return 1e-3 if self.name in ("file16", "postgresql") else 2e-6


def address(request: pytest.FixtureRequest, name: str, folder: Path) -> str:
    """The address of a collection in an engine that does not exist yet."""
    if name == "milvus":
        return f"milvus://{folder}/lite.db/photos"
    if name == "milvus-server":
        return f"{request.getfixturevalue('milvus_server').uri}/t{uuid.uuid4().hex}"
    return str(request.getfixturevalue("postgres_server").fresh_uri())


every_place = pytest.mark.parametrize("place", [*FILES, *ENGINES, SERVER], indirect=True)
"""Of a test that a Milvus server takes too."""
every_engine = pytest.mark.parametrize("uri", ["milvus", "postgresql", SERVER], indirect=True)


@pytest.fixture(params=(*FILES, *ENGINES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    name = request.param
    if name in FILES:
        return Place(name, None, "float16" if name == "file16" else None)
    return Place(name, address(request, name, tmp_path), "float32" if name == "postgresql32" else None)


@pytest.fixture(params=("milvus", "postgresql"))
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(request, request.param, tmp_path)


def connect(uri: str) -> Engine:
    """The engine at an address."""
    return integrations.connect(uri.partition(":")[0], uri)


NOBODY = Signature("nobody", "none", "0" * 64, 1)


def exists(uri: str) -> bool:
    """Whether there is a collection of anybody's at an address."""
    engine = connect(uri)
    with pytest.raises(EngineError) as refusal:
        engine.open(NOBODY)
    engine.close()
    return "no such collection" not in str(refusal.value)


def engine_of(collection: Collection) -> Engine:
    """The engine that has a collection's vectors."""
    assert isinstance(collection.store.vectors, EngineRowStore)
    return collection.store.vectors.engine


@pytest.fixture
def opened(place: Place, photos: Path, encoder: PixelEncoder) -> Callable[[], Collection]:
    """Opens the collection of `photos` anew, as another process would."""
    return lambda: open_collection(photos, encoder=encoder, engine=place.engine)


@pytest.fixture
def indexed(place: Place, opened: Callable[[], Collection]) -> Collection:
    collection = opened()
    collection.index(dtype=place.dtype)
    return collection
