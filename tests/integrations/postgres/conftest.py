from pathlib import Path

import pytest

from lookalike.collection.collection import Collection
from lookalike.collection.collection import open as open_collection
from tests.integrations.milvus.milvus_servers import impatient
from tests.integrations.postgres.postgres_server import Server, database, mortal, server, uri
from tests.support.pictures import PixelEncoder

__all__ = ["database", "impatient", "mortal", "server", "uri"]


@pytest.fixture
def indexed(photos: Path, server: Server, database: str, encoder: PixelEncoder) -> Collection:
    """The collection of `photos`, in a database of its own."""
    collection = open_collection(photos, encoder=encoder, engine=server.uri(database))
    collection.index()
    return collection
